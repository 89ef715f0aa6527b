import type { RuleOutcome } from '../enrichment/rule.ts';
import type { Answer } from '../exchange/exchange.ts';
import type { Problem, Verdict } from '../exchange/problem.ts';
import type { ProcessingResponse } from '../wire.ts';

/** Sends a reply to Envoy. `isLast`: with it the response is complete, so the stream may end. */
export type Write = (message: ProcessingResponse | Buffer, isLast: boolean) => void;

/** How an exchange ended, as far as its audit row wants to know. */
export interface Ending {
  readonly verdict: Verdict;
  readonly reason?: string | undefined;
  readonly upstreamStatus?: number | undefined;
  readonly isError?: boolean | undefined;
  readonly httpStatus?: number | undefined;
  readonly bytesOut?: number | undefined;
  /** The `result` or `error` value of the upstream's answer, where it was seen whole. */
  readonly result?: Buffer | undefined;
  /** What became of the rules that fit the call. */
  readonly enrichment?: readonly RuleOutcome[] | undefined;
}

/** What a conversation lends to its response side. */
export interface Mouth {
  readonly write: Write;
  /** A rule ran; times as of `performance.now()`. */
  ran(outcome: RuleOutcome, began: number, ended: number): void;
  record(ending: Ending): void;
  refuse(problem: Problem, ending: Partial<Ending>): void;
  answer(answer: Answer, ending: Ending): void;
}
