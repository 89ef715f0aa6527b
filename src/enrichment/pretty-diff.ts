/** What changed from one JSON text to another, for people. */
import { createTwoFilesPatch, FILE_HEADERS_ONLY } from 'diff';

/** Comparing takes time that grows with the differences; longer nobody waits. Milliseconds. */
const LIMIT_MS = 2000;

/** A unified diff of both with a member a line; empty where they say the same, undefined where it would take too long. */
export function jsonDiff(before: string, after: string): string | undefined {
  const [a, b] = [prettyJson(before), prettyJson(after)];
  if (a === b) return '';
  const options = { context: 3, timeout: LIMIT_MS, headerOptions: FILE_HEADERS_ONLY };
  return createTwoFilesPatch('before', 'after', `${a}\n`, `${b}\n`, undefined, undefined, options);
}

const TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\],:]|[^\s{}[\],:"]+/g;

/** A member a line. Numbers and text stay as they are written: parsing would round and rephrase them. */
export function prettyJson(text: string): string {
  const parts: string[] = [];
  let depth = 0;
  let last = '';
  const line = (): string => `\n${'  '.repeat(depth)}`;
  for (const [token] of text.matchAll(TOKEN)) {
    const closes = token === '}' || token === ']';
    const isEmpty = closes && (last === '{' || last === '[');
    if (closes) depth -= 1;
    const begins = last === '{' || last === '[' || last === ',';
    if ((closes && !isEmpty) || (begins && !closes)) parts.push(line());
    if (token === '{' || token === '[') depth += 1;
    parts.push(token === ':' ? ': ' : token);
    last = token;
  }
  return parts.join('');
}
