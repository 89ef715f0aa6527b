/**
 * Regular expressions of rules: RE2, so no pattern takes exponential time. Linear time still has a factor as large as the
 * compiled pattern (`(a|ab|abc){300}` on 64 KiB takes ten seconds), so length times size is bounded as well.
 */
import { RE2JS, RE2JSException } from '@bufbuild/re2';

/** Characters times instructions of the compiled pattern; the worst take 60 ns each, so 25 ms. */
export const MOST_PATTERN_WORK = 400_000;
const LONGEST = 1_000;
/** With more, texts of 400 characters would be too long. */
const LARGEST = 1_000;

export interface Pattern {
  /** Whether the text contains a match; `undefined`: the text is too long for this pattern. */
  test(text: string): boolean | undefined;
  /** What a test costs at most: MOST_PATTERN_WORK is the most that is allowed. */
  work(text: string): number;
}

export function compilePattern(text: string): Pattern | { readonly fault: string } {
  if (text.length > LONGEST)
    return { fault: `a pattern has at most ${LONGEST} characters; this one has ${text.length}` };
  let compiled: RE2JS;
  try {
    compiled = new RE2JS(text);
  } catch (error) {
    if (error instanceof RE2JSException) return { fault: `${error.message}; patterns are written as RE2 has them` };
    throw error;
  }
  const size = compiled.re2().prog.numInst();
  if (size > LARGEST) return { fault: 'the pattern is too large; lower its repetitions `{n,m}`' };
  const work = (text: string) => text.length * size;
  return { work, test: (text) => (work(text) <= MOST_PATTERN_WORK ? compiled.test(text) : undefined) };
}
