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
  readonly failures: readonly { readonly scenario: string; readonly reason: string; readonly exception?: Exception }[];
  /** Exceptions for scenarios that passed. */
  readonly stale: readonly Exception[];
  /** Nothing failed that is not excused, and no exception is stale. */
  readonly holds: boolean;
}

export function verdictOn({ leg, set, outcome }: Row, exceptions: readonly Exception[]): Verdict {
  if (outcome instanceof Error) {
    return { failures: [{ scenario: '(all)', reason: outcome.message }], stale: [], holds: false };
  }
  const mine = exceptions.filter((one) => one.legs.includes(leg) && one.set === set);
  const failures = outcome
    .filter(({ passed }) => !passed)
    .map(({ name, reason }) => {
      const exception = mine.find(({ scenario }) => scenario === name);
      return { scenario: name, reason, ...(exception && { exception }) };
    });
  const stale = mine.filter(({ scenario }) => !failures.some((failure) => failure.scenario === scenario));
  return { failures, stale, holds: stale.length === 0 && failures.every(({ exception }) => exception !== undefined) };
}
