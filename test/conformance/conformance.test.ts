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
const LEGS = ['direct', 'gateway', 'modern-on-legacy', 'legacy-on-modern'];
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

t.test('an exception excuses what fails, and is wrong when nothing does', async (t) => {
  const checks = { passed: 1, failed: 0, warned: 0 };
  const scenario = (name: string, passed: boolean) => ({
    name,
    kind: 'scored' as const,
    passed,
    checks,
    reason: 'why',
  });
  const row = { leg: 'a', set: '2025-11-25' as const, outcome: [scenario('ping', true), scenario('auth/x', false)] };
  const exception = { legs: ['a'], set: '2025-11-25' as const, scenario: 'auth/*', reason: 'no OAuth' };
  t.notOk(verdictOn(row, []).holds, 'a failure that nobody excuses');
  t.notOk(verdictOn(row, [{ ...exception, legs: ['b'] }]).holds, 'one that is excused elsewhere');
  t.ok(verdictOn(row, [exception]).holds, 'one that is excused');
  t.notOk(verdictOn(row, [exception, { ...exception, scenario: 'ping' }]).holds, 'an excuse that nobody needs');
  t.notOk(verdictOn({ ...row, outcome: new Error('did not start') }, [exception]).holds, 'a leg that does not start');
});

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
