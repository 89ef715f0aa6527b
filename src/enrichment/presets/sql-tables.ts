/** Which tables a statement of Trino names. It is read for that alone: what it does, and whether it is right, does not matter. */
import { LexicalFault, type Token, tokenize } from '../../sources/sql/tokens.ts';

/** `extract(year FROM x)`: no table follows. */
const FUNCTIONS_WITH_FROM = new Set(['EXTRACT', 'TRIM', 'SUBSTRING', 'OVERLAY', 'LTRIM', 'RTRIM']);
const CLAUSES = new Set(
  'SELECT WHERE GROUP ORDER HAVING LIMIT OFFSET FETCH UNION INTERSECT EXCEPT WINDOW VALUES SET WITH'.split(' '),
);
/** What may stand before a table's name. */
const SKIPPED = new Set(['IF', 'NOT', 'EXISTS', 'ONLY']);

/** What is between two parentheses, or the whole statement. */
interface Frame {
  readonly opener: Token | undefined;
  /** A relation comes next. */
  expects: boolean;
  /** A comma is followed by another relation. */
  isFrom: boolean;
}

/** Parts of names as written, each name once; those of `WITH` are left out. */
export function tablesOfStatement(text: string): readonly (readonly string[])[] {
  let tokens: readonly Token[];
  try {
    tokens = tokenize(text, 'trino');
  } catch (error) {
    if (error instanceof LexicalFault) return [];
    throw error;
  }
  const found = new Map<string, readonly string[]>();
  const local = localNames(text, tokens);
  let first = 0;
  let frames: Frame[] = [{ opener: undefined, expects: false, isFrom: false }];
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i] as Token;
    const frame = frames.at(-1) as Frame;
    if (token.kind === 'symbol') {
      if (token.text === '(') {
        frames.push({ opener: tokens[i - 1], expects: frame.expects, isFrom: frame.expects });
        frame.expects = false;
      } else if (token.text === ')' && frames.length > 1) frames.pop();
      else frame.expects = token.text === ',' && frame.isFrom;
      if (token.text === ';') {
        first = i + 1;
        frames = [{ opener: undefined, expects: false, isFrom: false }];
      }
      continue;
    }
    // `t.table`: no keyword.
    if (isSymbol(tokens[i - 1], '.')) continue;
    if (token.kind === 'word' && turn(tokens, i, first, frame)) continue;
    if (!frame.expects) continue;
    frame.expects = false;
    if (token.kind !== 'word' && token.kind !== 'name') continue;
    const end = endOfName(tokens, i);
    const parts = tokens.slice(i, end).flatMap((part) => (part.kind === 'symbol' ? [] : [nameOf(text, part)]));
    i = end - 1;
    const isFunction = isSymbol(tokens[end], '(');
    const [name = ''] = parts;
    if (!isFunction && !(parts.length === 1 && local.has(name.toLowerCase()))) found.set(parts.join('\0'), parts);
  }
  return [...found.values()];
}

/** Whether the word is one that says what comes next. */
function turn(tokens: readonly Token[], i: number, first: number, frame: Frame): boolean {
  const { text } = tokens[i] as Token;
  const [command, object] = [tokens[first]?.text, tokens[first + 1]?.text];
  const before = tokens[i - 1]?.text;
  const expect = (isFrom: boolean): true => {
    frame.expects = true;
    frame.isFrom = isFrom;
    return true;
  };
  const nothing = (): true => {
    frame.expects = false;
    return true;
  };
  switch (text) {
    case 'FROM':
      if (before === 'DISTINCT' && ['IS', 'NOT'].includes(tokens[i - 2]?.text ?? '')) return true;
      if (FUNCTIONS_WITH_FROM.has(frame.opener?.text ?? '')) return true;
      // `SHOW TABLES FROM schema`.
      return command === 'SHOW' && object !== 'COLUMNS' ? true : expect(command !== 'SHOW');
    case 'JOIN':
      return expect(true);
    case 'IN':
      return command === 'SHOW' && object === 'COLUMNS' ? expect(false) : false;
    case 'INTO':
      return expect(false);
    case 'USING':
      return command === 'MERGE' && !isSymbol(tokens[i + 1], ',') && frame.opener === undefined ? expect(false) : false;
    case 'FOR':
      return before === 'STATS' ? expect(false) : false;
    case 'TABLE':
      // `TABLE(function(…))`.
      return isSymbol(tokens[i + 1], '(') ? nothing() : expect(false);
    case 'VIEW':
      return command === 'SHOW' ? expect(false) : false;
    case 'LATERAL':
    case 'UNNEST':
      return nothing();
    case 'UPDATE':
    case 'DESCRIBE':
    case 'DESC':
    case 'ANALYZE':
      return i === first ? expect(false) : false;
  }
  if (frame.expects && SKIPPED.has(text)) return true;
  if (!CLAUSES.has(text)) return false;
  frame.expects = false;
  frame.isFrom = false;
  return true;
}

/** Names that the statement itself gives: `WITH name AS (…)`, `WITH name (columns) AS (…)`. In lower case. */
function localNames(text: string, tokens: readonly Token[]): ReadonlySet<string> {
  const names = new Set<string>();
  const openers: number[] = [];
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i] as Token;
    if (isSymbol(token, '(')) openers.push(i);
    const opener = isSymbol(token, ')') ? openers.pop() : undefined;
    if (tokens[i + 1]?.text !== 'AS' || !isSymbol(tokens[i + 2], '(')) continue;
    const at = opener === undefined ? i : opener - 1;
    const name = tokens[at];
    // `CREATE TABLE name AS (…)` names a table.
    if (name !== undefined && tokens[at - 1]?.text !== 'TABLE') names.add(nameOf(text, name).toLowerCase());
  }
  return names;
}

function endOfName(tokens: readonly Token[], start: number): number {
  let end = start + 1;
  while (isSymbol(tokens[end], '.') && ['word', 'name'].includes(tokens[end + 1]?.kind ?? '')) end += 2;
  return end;
}

const isSymbol = (token: Token | undefined, text: string): boolean => token?.kind === 'symbol' && token.text === text;

function nameOf(text: string, { kind, start, end }: Token): string {
  return kind === 'name' ? text.slice(start + 1, end - 1).replaceAll('""', '"') : text.slice(start, end);
}
