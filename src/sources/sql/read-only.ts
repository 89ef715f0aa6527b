/**
 * What makes a statement one that reads: it begins as a query does, so does every body of its WITH, and nothing in it
 * writes or locks. A list of what may begin, not of what may not: a statement nobody has thought of is refused.
 * The server enforces the same by itself; this tells the author, with the place, when the rule is saved.
 */
import { type Dialect, LexicalFault, type Token } from './tokens.ts';

const QUERY = new Set(['SELECT', 'WITH', 'VALUES', 'TABLE']);
const BEGINS: Record<Dialect, ReadonlySet<string>> = {
  postgres: QUERY,
  trino: new Set([...QUERY, 'SHOW', 'DESCRIBE', 'DESC']),
};
const CHANGES = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE', 'TRUNCATE']);
const LOCKS = new Set(['UPDATE', 'SHARE', 'NO', 'KEY']);

/** `tokens`: of one statement, without its `;`. Throws LexicalFault. */
export function assertReadOnly(tokens: readonly Token[], dialect: Dialect): void {
  assertBegins(tokens, 0, dialect);
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i] as Token;
    if (isSymbol(token, ';')) throw new LexicalFault(token.start, 'a second statement cannot follow: write one SELECT');
    const next = tokens[i + 1];
    if (dialect === 'trino' && isPassThrough(tokens, i))
      throw new LexicalFault(
        token.start,
        'this runs a statement in another database, where nothing keeps it from writing: select from its tables instead',
      );
    if (token.kind !== 'word') continue;
    if (token.text === 'INTO')
      throw new LexicalFault(
        token.start,
        'INTO writes: select without it (a column of that name goes in double quotes)',
      );
    if (token.text === 'FOR' && next?.kind === 'word' && LOCKS.has(next.text))
      throw new LexicalFault(token.start, `FOR ${next.text} locks rows: leave it out`);
    if (
      CHANGES.has(token.text) &&
      isWhereOneCouldBegin(tokens[i - 1]) &&
      (next?.kind === 'word' || next?.kind === 'name')
    )
      throw new LexicalFault(token.start, changes(token.text));
    if (token.text === 'WITH' && (i === 0 || isSymbol(tokens[i - 1], '('))) assertWith(tokens, i + 1, dialect);
  }
}

/** `TABLE(pg.system.query(query => '…'))`: what connectors hand on as it is, past Trino's read-only transaction. */
function isPassThrough(tokens: readonly Token[], i: number): boolean {
  const { kind, text } = tokens[i] as Token;
  const isNamed = (kind === 'word' || kind === 'name') && (text === 'QUERY' || text === 'PROCEDURE');
  return isNamed && isSymbol(tokens[i - 1], '.') && isSymbol(tokens[i + 1], '(');
}

function isWhereOneCouldBegin(before: Token | undefined): boolean {
  return before === undefined || isSymbol(before, '(') || isSymbol(before, ')');
}

function changes(word: string): string {
  return `${word} changes data: only a query can be asked here (a column of that name goes in double quotes)`;
}

/** A query begins at `at`, perhaps in brackets. */
function assertBegins(tokens: readonly Token[], at: number, dialect: Dialect, begins = BEGINS[dialect]): void {
  let i = at;
  while (isSymbol(tokens[i], '(')) i++;
  const first = tokens[i];
  const isBracketed = i > at;
  if (first?.kind === 'word' && (isBracketed ? QUERY : begins).has(first.text)) return;
  const offset = first?.start ?? tokens.at(-1)?.end ?? 0;
  if (first?.kind === 'word' && CHANGES.has(first.text)) throw new LexicalFault(offset, changes(first.text));
  const shown = first?.kind === 'word' ? `${first.text} cannot begin it: ` : '';
  throw new LexicalFault(
    offset,
    `${shown}write one query here that begins with ${[...begins].join(', ').replace(/, (\w+)$/, ' or $1')}`,
  );
}

/** The clause after WITH: `[RECURSIVE] name [(columns)] AS [[NOT] MATERIALIZED] (query), …` and the query itself. */
function assertWith(tokens: readonly Token[], at: number, dialect: Dialect): void {
  let i = isWord(tokens[at], 'RECURSIVE') && !isWord(tokens[at + 1], 'AS') ? at + 1 : at;
  for (;;) {
    const name = tokens[i];
    i++;
    if (isSymbol(tokens[i], '(')) i = afterBrackets(tokens, i);
    if ((name?.kind !== 'word' && name?.kind !== 'name') || !isWord(tokens[i], 'AS'))
      throw new LexicalFault(
        name?.start ?? tokens.at(-1)?.end ?? 0,
        'after WITH only queries can be named: name AS (SELECT …)',
      );
    i++;
    while (isWord(tokens[i], 'NOT') || isWord(tokens[i], 'MATERIALIZED')) i++;
    if (!isSymbol(tokens[i], '('))
      throw new LexicalFault(tokens[i]?.start ?? tokens.at(-1)?.end ?? 0, 'after AS a query in brackets: (SELECT …)');
    assertBegins(tokens, i + 1, dialect, QUERY);
    i = afterBrackets(tokens, i);
    if (!isSymbol(tokens[i], ',')) break;
    i++;
  }
  // SEARCH and CYCLE (PostgreSQL) end where the query begins.
  if (isWord(tokens[i], 'SEARCH') || isWord(tokens[i], 'CYCLE'))
    while (
      tokens[i] !== undefined &&
      !(tokens[i]?.kind === 'word' && (QUERY.has(tokens[i]?.text ?? '') || CHANGES.has(tokens[i]?.text ?? '')))
    )
      i++;
  assertBegins(tokens, i, dialect, QUERY);
}

function afterBrackets(tokens: readonly Token[], at: number): number {
  let depth = 0;
  for (let i = at; i < tokens.length; i++) {
    if (isSymbol(tokens[i], '(')) depth++;
    else if (isSymbol(tokens[i], ')') && --depth === 0) return i + 1;
  }
  return tokens.length;
}

export function isWord(token: Token | undefined, text: string): boolean {
  return token?.kind === 'word' && token.text === text;
}

export function isSymbol(token: Token | undefined, text: string): boolean {
  return token?.kind === 'symbol' && token.text === text;
}
