/**
 * SQL text as tokens, as the lexers of Trino (SqlBase.g4) and PostgreSQL (scan.l) see it: what matters is that nobody
 * sees another end of a string, a quoted name or a comment than the server does. What the two would read differently
 * from a careful reader (numbers with letters behind, strings that continue on another line) is refused.
 */
import type { Span } from '../../mcp/json.ts';

export type Dialect = 'trino' | 'postgres';

export interface Token extends Span {
  /** `name`: a quoted one; `value`: `:name`. */
  readonly kind: 'word' | 'name' | 'string' | 'number' | 'symbol' | 'value';
  /** A word or a quoted name in upper case, a symbol as written, the name of a value; of all else nothing. */
  readonly text: string;
}

/** Text that is no SQL in this dialect. */
export class LexicalFault extends Error {
  readonly offset: number;
  constructor(offset: number, message: string) {
    super(message);
    this.offset = offset;
  }
}

const VALUE = /:([A-Za-z_][A-Za-z0-9_]*)/y;
const NUMBER =
  /0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?/y;
const UNICODE_STRING = /^[uU]&'/;
const DOLLAR_QUOTE = /\$(?:[A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*)?\$/y;

interface Rules {
  readonly space: RegExp;
  readonly word: RegExp;
  /** What may stand by itself. */
  readonly symbol: RegExp;
  /** What begins with a colon and is no value. */
  readonly operator: RegExp;
  readonly hasNestedComments: boolean;
  readonly hasEscapes: boolean;
}

const RULES: Record<Dialect, Rules> = {
  trino: {
    space: /[ \t\r\n]+/y,
    word: /[A-Za-z_][A-Za-z0-9_]*/y,
    symbol: /[-+*/%=<>!|.,;()[\]{}^$]/,
    operator: /::/y,
    hasNestedComments: false,
    hasEscapes: false,
  },
  postgres: {
    space: /[ \t\r\n\f]+/y,
    word: /[A-Za-z_\u0080-\uffff][A-Za-z0-9_$\u0080-\uffff]*/y,
    symbol: /[-+*/%=<>!|.,;()[\]^~@#&?]/,
    operator: /::|:=/y,
    hasNestedComments: true,
    hasEscapes: true,
  },
};

/** Comments and space are left out. Throws LexicalFault. */
export function tokenize(text: string, dialect: Dialect): readonly Token[] {
  const rules = RULES[dialect];
  const tokens: Token[] = [];
  const add = (kind: Token['kind'], start: number, end: number, shown = ''): number => {
    tokens.push({ kind, start, end, text: shown });
    return end;
  };
  let at = 0;
  while (at < text.length) {
    const here = text[at] as string;
    const next = text[at + 1];
    const space = match(rules.space, text, at);
    if (space !== undefined) at += space.length;
    else if (here === '-' && next === '-') at = endOfLine(text, at);
    else if (here === '/' && next === '*') at = endOfComment(text, at, rules.hasNestedComments);
    else if (here === "'") at = add('string', at, string(text, at, tokens.at(-1), rules));
    else if (here === '"') at = name(text, at, add);
    else if (here === ':') at = colon(text, at, rules, add);
    else if (here === '$' && rules.hasEscapes) at = add('string', at, dollarQuoted(text, at));
    else at = plain(text, at, rules, add);
  }
  return tokens;
}

type Add = (kind: Token['kind'], start: number, end: number, text?: string) => number;

function plain(text: string, at: number, rules: Rules, add: Add): number {
  if (UNICODE_STRING.test(text.slice(at, at + 3))) return add('string', at, quoted(text, at + 2, "'", 'string'));
  const word = match(rules.word, text, at);
  if (word !== undefined) return add('word', at, at + word.length, word.toUpperCase());
  const number = match(NUMBER, text, at);
  if (number !== undefined) {
    const end = at + number.length;
    if (match(rules.word, text, end) !== undefined || text[end] === "'" || text[end] === '"')
      throw new LexicalFault(end, 'a number ends here and something else begins: put a space between them');
    return add('number', at, end);
  }
  const here = text[at] as string;
  if (rules.symbol.test(here)) return add('symbol', at, at + 1, here);
  if (here === '`') throw new LexicalFault(at, 'backticks do not quote here: write "name" in double quotes');
  if (here === '?') throw new LexicalFault(at, '? is no value here: write :name and bind it');
  const shown = String.fromCodePoint(text.codePointAt(at) ?? 0);
  throw new LexicalFault(at, `${JSON.stringify(shown)} cannot stand here: only inside quotes`);
}

function name(text: string, at: number, add: Add): number {
  if (/[uU]&$/.test(text.slice(Math.max(0, at - 2), at)))
    throw new LexicalFault(at - 2, 'U& names hide what they name: write it plainly in double quotes');
  const end = quoted(text, at, '"', 'quoted name');
  return add(
    'name',
    at,
    end,
    text
      .slice(at + 1, end - 1)
      .replaceAll('""', '"')
      .toUpperCase(),
  );
}

function colon(text: string, at: number, rules: Rules, add: Add): number {
  const operator = match(rules.operator, text, at);
  if (operator !== undefined) return add('symbol', at, at + operator.length, operator);
  const value = match(VALUE, text, at);
  return value === undefined ? add('symbol', at, at + 1, ':') : add('value', at, at + value.length, value.slice(1));
}

function string(text: string, at: number, before: Token | undefined, rules: Rules): number {
  if (!rules.hasEscapes) return quoted(text, at, "'", 'string');
  // PostgreSQL joins strings with a line end between them, and reads the second as the first was written.
  if (before?.kind === 'string')
    throw new LexicalFault(at, 'a string right after a string: write one, or join them by ||');
  const isEscape = before?.kind === 'word' && before.text === 'E' && before.end === at;
  return isEscape ? escaped(text, at) : quoted(text, at, "'", 'string');
}

/** Where what begins at `at` ends: at a quote that is not doubled. */
function quoted(text: string, at: number, quote: string, what: string): number {
  let end = text.indexOf(quote, at + 1);
  while (end !== -1 && text[end + 1] === quote) end = text.indexOf(quote, end + 2);
  if (end === -1) throw new LexicalFault(at, `this ${what} does not end: close it with ${quote}`);
  return end + 1;
}

function escaped(text: string, at: number): number {
  for (let i = at + 1; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === "'") {
      if (text[i + 1] !== "'") return i + 1;
      i++;
    }
  }
  throw new LexicalFault(at, "this string does not end: close it with '");
}

function dollarQuoted(text: string, at: number): number {
  const tag = match(DOLLAR_QUOTE, text, at);
  if (tag === undefined) throw new LexicalFault(at, '$ begins neither a value nor a string: write :name for a value');
  const end = text.indexOf(tag, at + tag.length);
  if (end === -1) throw new LexicalFault(at, `this string does not end: close it with ${tag}`);
  return end + tag.length;
}

function endOfLine(text: string, at: number): number {
  const length = text.slice(at).search(/[\r\n]/);
  return length === -1 ? text.length : at + length;
}

function endOfComment(text: string, at: number, isNesting: boolean): number {
  const edge = isNesting ? /\/\*|\*\//g : /\*\//g;
  edge.lastIndex = at + 2;
  let depth = 1;
  for (let found = edge.exec(text); found !== null; found = edge.exec(text)) {
    depth += found[0] === '*/' ? -1 : 1;
    if (depth === 0) return edge.lastIndex;
  }
  throw new LexicalFault(at, 'this comment does not end: close it with */');
}

function match(pattern: RegExp, text: string, at: number): string | undefined {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0];
}
