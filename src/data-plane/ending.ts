import type { Verdict } from '../exchange/problem.ts';

/** How an exchange ended, as far as its audit row wants to know. */
export interface Ending {
  readonly verdict: Verdict;
  readonly reason?: string | undefined;
  readonly upstreamStatus?: number | undefined;
  readonly isError?: boolean | undefined;
  readonly httpStatus?: number | undefined;
  readonly bytesOut?: number | undefined;
}
