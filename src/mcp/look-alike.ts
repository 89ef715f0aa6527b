/**
 * Keys that some parsers take for others: Go's `encoding/json` compares them without case, by Unicode's folding (`\u017f` is an
 * `s`, `\u212a` a `k`), and lets the last one count. What was judged under one name must not be read under another.
 */

const fold = (key: string): string => key.toUpperCase().toLowerCase();

/** The name that the key could be taken for; undefined for one that is none of them, nor like any. */
export function lookAlike(key: string, names: ReadonlySet<string>): string | undefined {
  // No letter folds to two: what is longer than every name is like none.
  if (key.length > MAX_CHARS || names.has(key)) return undefined;
  const folded = fold(key);
  for (const name of names) if (fold(name) === folded) return name;
  return undefined;
}

const MAX_CHARS = 32;
