/** What the audit is to know of an answer that another process made: verdict, code and reason of a problem. */
import type { Problem, Verdict } from './problem.ts';

export interface Judgement {
  readonly verdict: Verdict;
  readonly reason: string;
}

/** As a header's value. */
export const judgementOf = ({ verdict, code, reason }: Problem): string =>
  Buffer.from(JSON.stringify([verdict, reason ?? code])).toString('base64url');

/** undefined: not one that a relay wrote. */
export function readJudgement(header: string | undefined): Judgement | undefined {
  if (header === undefined) return undefined;
  const [verdict, reason] = JSON.parse(Buffer.from(header, 'base64url').toString('utf8')) as [Verdict, string];
  return { verdict, reason };
}
