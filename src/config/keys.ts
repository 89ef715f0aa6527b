/**
 * Words for keys that a schema does not know: a typo gets a suggestion, a key of the design that this version does
 * not have yet gets told so.
 */

/** Fragment after the last words of every refusal of something that is designed but not built. */
export const NOT_YET = 'is not supported by this version yet';

/** The sentence for one unknown key. `later` are keys that a coming version will know. */
export function unknownKeySentence(key: string, known: readonly string[], later: readonly string[]): string {
  if (later.includes(key)) return `"${key}" ${NOT_YET}`;
  const near = nearest(key, known);
  if (near) return `unknown key "${key}": did you mean "${near}"?`;
  return `unknown key "${key}": expected one of ${known.join(', ')}`;
}

/** The candidate that a person probably meant, if one is near enough. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  const lower = word.toLowerCase();
  let best: string | undefined;
  let least = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(lower, candidate.toLowerCase());
    if (distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

/** Insertions, deletions, substitutions and swaps of neighbours. */
function editDistance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 8) return Number.POSITIVE_INFINITY;
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      let least = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + cost);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, (beforeLast[j - 2] ?? 0) + 1);
      }
      row.push(least);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length] ?? 0;
}
