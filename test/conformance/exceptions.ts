/** Scenarios that may fail, each with the reason. One that passes must be taken off the list. */
import type { SetName } from './sets.ts';

export interface Exception {
  /** Names of the legs. */
  readonly legs: readonly string[];
  readonly set: SetName;
  readonly scenario: string;
  readonly reason: string;
}

export const EXCEPTIONS: readonly Exception[] = [
  {
    legs: ['direct', 'direct-legacy'],
    set: '0.1.16 all',
    scenario: 'server-sse-polling',
    reason:
      'this version of the suite says that it speaks 2025-03-26, where streams do not begin with an empty event; 0.2 says 2025-11-25 and passes',
  },
];
