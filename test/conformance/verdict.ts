/** What a run means: which failures nobody has excused, and which excuses nobody needs. */
import type { ScenarioResult } from './examine.ts';
import type { Exception } from './exceptions.ts';
import type { SetName } from './sets.ts';

/** One row of the table: a leg and a set. */
export interface Row {
  readonly leg: string;
  readonly set: SetName;
  /** The scenarios, or why there are none: the subject did not start, or the suite broke off. */
  readonly outcome: readonly ScenarioResult[] | Error;
}

export interface Verdict {
  readonly failures: readonly { readonly scenario: string; readonly reason: string }[];
  readonly excused: readonly { readonly exception: Exception; readonly scenarios: readonly string[] }[];
  /** Exceptions for scenarios that passed, all of them. */
  readonly stale: readonly Exception[];
  /** Nothing failed that is not excused, and no exception is stale. */
  readonly holds: boolean;
}

export function verdictOn({ leg, set, outcome }: Row, exceptions: readonly Exception[]): Verdict {
  if (outcome instanceof Error) {
    return { failures: [{ scenario: '(all)', reason: outcome.message }], excused: [], stale: [], holds: false };
  }
  const mine = exceptions.filter((one) => one.legs.includes(leg) && one.set === set);
  const failed = outcome.filter(({ passed }) => !passed);
  const failures = failed
    .filter(({ name }) => !mine.some((exception) => covers(exception, name)))
    .map(({ name, reason }) => ({ scenario: name, reason }));
  const excused = mine.map((exception) => ({
    exception,
    scenarios: failed.map(({ name }) => name).filter((name) => covers(exception, name)),
  }));
  const stale = excused.filter(({ scenarios }) => scenarios.length === 0).map(({ exception }) => exception);
  return { failures, excused, stale, holds: failures.length === 0 && stale.length === 0 };
}

function covers({ scenario }: Exception, name: string): boolean {
  return scenario.endsWith('*') ? name.startsWith(scenario.slice(0, -1)) : name === scenario;
}
