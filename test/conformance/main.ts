/** `npm run conformance [-- LEG…]`: runs the legs, prints the table, and ends with 1 if it is not as it should be. */
import type { Test } from 'tap';
import { EXCEPTIONS } from './exceptions.ts';
import { legsNamed } from './legs.ts';
import { runLeg } from './run-leg.ts';
import { installSuite } from './suite.ts';
import { toTable } from './table.ts';
import { verdictOn } from './verdict.ts';

const legs = legsNamed(process.argv.slice(2));
const suite = await installSuite();
const rows = [];
for (const leg of legs) {
  process.stderr.write(`${leg.name}: ${leg.what}\n`);
  // Legs are started as tests start them. Here is no test: only its end is needed, where all is ended in reverse.
  const endings: (() => unknown)[] = [];
  const scope = { teardown: (end: () => unknown) => void endings.unshift(end) } as unknown as Test;
  try {
    for (const row of await runLeg(scope, suite, leg)) rows.push({ row, verdict: verdictOn(row, EXCEPTIONS) });
  } finally {
    for (const end of endings) await end();
  }
}
process.stdout.write(`\n${toTable(rows)}`);
process.exitCode = rows.every(({ verdict }) => verdict.holds) ? 0 : 1;
