/** Starts what a leg examines and runs its sets, one after the other. */
import type { Test } from 'tap';
import { examine } from './examine.ts';
import type { Leg } from './legs.ts';
import type { SetName } from './sets.ts';
import type { Suite } from './suite.ts';
import type { Row } from './verdict.ts';

/** A leg that does not start fails all of its sets. */
export async function runLeg(t: Test, suite: Suite, leg: Leg, sets: readonly SetName[]): Promise<Row[]> {
  const subject = await leg.start(t).catch(toError);
  const rows: Row[] = [];
  for (const set of sets) {
    const outcome = subject instanceof Error ? subject : await examine(suite, set, subject).catch(toError);
    rows.push({ leg: leg.name, set, outcome });
  }
  return rows;
}

const toError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)));
