/** A compiled name pattern: `*` is any run of characters (also none), `?` one character, nothing else is special. */
export interface Glob {
  readonly pattern: string;
  matches(name: string): boolean;
}

/**
 * Compiles a pattern. Matching is linear in practice: at most one backtrack point is kept, so that
 * `*a*a*a*…` costs O(pattern × name) and never more.
 */
export function glob(pattern: string): Glob {
  if (pattern === '*') return { pattern, matches: () => true };
  if (!/[*?]/.test(pattern)) return { pattern, matches: (name) => name === pattern };
  return { pattern, matches: (name) => matchGlob(pattern, name) };
}

function matchGlob(pattern: string, name: string): boolean {
  let p = 0;
  let n = 0;
  let star = -1;
  let resume = 0;
  while (n < name.length) {
    if (p < pattern.length && (pattern[p] === '?' || (pattern[p] === name[n] && pattern[p] !== '*'))) {
      p++;
      n++;
    } else if (p < pattern.length && pattern[p] === '*') {
      star = p++;
      resume = n;
    } else if (star >= 0) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.length && pattern[p] === '*') p++;
  return p === pattern.length;
}
