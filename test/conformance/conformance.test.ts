/** The official conformance suite. `npm run conformance` runs all legs, with a table. */
import t from 'tap';
import { examine } from './examine.ts';
import { EXCEPTIONS } from './exceptions.ts';
import { legsNamed } from './legs.ts';
import { runLeg } from './run-leg.ts';
import { installSuite } from './suite.ts';
import { toTable } from './table.ts';
import { verdictOn } from './verdict.ts';

/** What `npm test` runs: a set costs two to three seconds. */
const LEGS = ['direct'];
const SETS = ['2026-07-28', '2025-11-25'] as const;

const suite = await installSuite();

for (const leg of legsNamed(LEGS)) {
  t.test(`${leg.what} is conformant`, async (t) => {
    const sets = SETS.filter((set) => leg.sets.includes(set));
    for (const row of await runLeg(t, suite, leg, sets)) {
      const verdict = verdictOn(row, EXCEPTIONS);
      t.ok(verdict.holds, `${row.set}\n${toTable([{ row, verdict }])}`);
    }
  });
}

t.test('a server that is not there passes nothing', async (t) => {
  for (const set of SETS) {
    const results = await examine(suite, set, { url: 'http://127.0.0.1:1/mcp' });
    t.ok(results.length >= 30, `${set} asks for ${results.length} scenarios`);
    t.same(
      results.filter(({ passed }) => passed).map(({ name }) => name),
      [],
      `none of ${set} passes`,
    );
  }
});
