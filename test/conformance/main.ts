/**
 * `npm run conformance -- [LEG…] [--set SET]`: runs the legs, prints the table, and ends with 1 if a scenario fails that
 * is not excused, or passes and is.
 */
import { parseArgs } from 'node:util';
import type { Test } from 'tap';
import { EXCEPTIONS } from './exceptions.ts';
import { legsNamed } from './legs.ts';
import { runLeg } from './run-leg.ts';
import { SETS } from './sets.ts';
import { installSuite } from './suite.ts';
import { toTable } from './table.ts';
import { verdictOn } from './verdict.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { set: { type: 'string', multiple: true, default: Object.keys(SETS) } },
});
const legs = legsNamed(positionals);
const unknown = values.set.find((set) => !(set in SETS));
if (unknown !== undefined) throw new Error(`There is no set ${unknown}; there are ${Object.keys(SETS).join(', ')}.`);

const suite = await installSuite();
const rows = [];
for (const leg of legs) {
  const sets = leg.sets.filter((set) => values.set.includes(set));
  if (sets.length === 0) continue;
  process.stderr.write(`${leg.name}: ${leg.what}\n`);
  // Legs are started as tests start them. Here is no test: only its end is needed, where all is ended in reverse.
  const endings: (() => unknown)[] = [];
  const scope = { teardown: (end: () => unknown) => void endings.unshift(end) } as unknown as Test;
  try {
    for (const row of await runLeg(scope, suite, leg, sets)) rows.push({ row, verdict: verdictOn(row, EXCEPTIONS) });
  } finally {
    for (const end of endings) await end();
  }
}
process.stdout.write(`\n${toTable(rows)}`);
process.exitCode = rows.length > 0 && rows.every(({ verdict }) => verdict.holds) ? 0 : 1;
