/** The brackets of a statement and the clauses within them, as far as they tell what may stand where. */
import { isSymbol, isWord } from './read-only.ts';
import type { Dialect, Token } from './tokens.ts';

/** One pair of brackets, or the whole statement. */
export interface Frame {
  /** What stands between the commas here. */
  clause: 'expressions' | 'relations' | 'join condition' | 'keys' | 'names';
  readonly isList: boolean;
  readonly closes: ')' | ']' | '}' | undefined;
  readonly start: number;
  /** The function that runs what it is given. */
  readonly runs: string | undefined;
  /** Arguments follow words. */
  readonly takesWords: boolean;
  isQuery: boolean;
}

/** Before any bracket. */
export const wholeStatement = (): Frame => ({
  clause: 'expressions',
  isList: false,
  closes: undefined,
  start: 0,
  runs: undefined,
  takesWords: false,
  isQuery: true,
});

const CLOSING = { '(': ')', '[': ']', '{': '}' } as const;

/** Keeps track of the clause. */
export function follow(frame: Frame, tokens: readonly Token[], i: number): void {
  if (isSymbol(tokens[i - 1], '.')) return;
  switch ((tokens[i] as Token).text) {
    case 'SELECT':
    case 'VALUES':
      frame.isQuery = true;
      frame.clause = 'expressions';
      return;
    case 'FROM':
      if (frame.isQuery && !isDistinctFrom(tokens, i)) frame.clause = 'relations';
      return;
    case 'JOIN':
    case 'USING':
      if (frame.clause === 'join condition') frame.clause = 'relations';
      return;
    case 'ON':
      if (frame.clause === 'relations') frame.clause = 'join condition';
      return;
    case 'BY':
      frame.clause = 'keys';
      return;
    case 'WITH':
      if (i === 0 || isSymbol(tokens[i - 1], '(')) frame.clause = 'names';
      return;
    case 'WINDOW':
      if (frame.isQuery && isWord(tokens[i + 2], 'AS')) frame.clause = 'names';
      return;
    case 'WHERE':
    case 'HAVING':
    case 'LIMIT':
    case 'OFFSET':
    case 'FETCH':
    case 'ROWS':
    case 'RANGE':
    case 'GROUPS':
    case 'UNION':
    case 'INTERSECT':
    case 'EXCEPT':
      frame.clause = 'expressions';
  }
}

/** Whether the FROM at `i` is that of `is distinct from`. */
export function isDistinctFrom(tokens: readonly Token[], i: number): boolean {
  const before = isWord(tokens[i - 2], 'NOT') ? tokens[i - 3] : tokens[i - 2];
  return isWord(tokens[i - 1], 'DISTINCT') && isWord(before, 'IS');
}

/** Functions whose arguments stand between words: `extract(year from :d)`. */
const TAKES_WORDS = new Set('EXTRACT TRIM SUBSTRING OVERLAY POSITION JSON_OBJECT'.split(' '));
/** Functions whose argument is a statement that the server runs. */
const RUNS_STATEMENTS: Record<Dialect, RegExp> = {
  trino: /^RAW_QUERY$/,
  postgres: /^(?:QUERY_TO_XML\w*|TS_STAT|TS_REWRITE|DBLINK\w*|CROSSTAB\w*|CONNECTBY)$/,
};

/** The frame that the bracket at `i` opens. */
export function openFrame(outer: Frame, tokens: readonly Token[], i: number, dialect: Dialect): Frame {
  const token = tokens[i] as Token;
  const before = tokens[i - 1];
  const callee = before?.kind === 'word' || before?.kind === 'name' ? before.text : '';
  return {
    clause: token.text === '(' ? clauseWithin(outer, tokens, i) : token.text === '[' ? 'expressions' : 'names',
    isList: (token.text === '(' && isWord(before, 'IN')) || (token.text === '[' && isWord(before, 'ARRAY')),
    closes: CLOSING[token.text as '('],
    start: token.start,
    runs: outer.runs ?? (RUNS_STATEMENTS[dialect].test(callee) ? callee.toLowerCase() : undefined),
    takesWords: token.text === '(' && before?.kind === 'word' && TAKES_WORDS.has(callee),
    isQuery: false,
  };
}

/** What stands in the round brackets at `i`, until a SELECT says otherwise. */
function clauseWithin(outer: Frame, tokens: readonly Token[], i: number): Frame['clause'] {
  const before = tokens[i - 1];
  if (isWord(before, 'USING')) return 'names';
  if (isWord(before, 'CUBE') || isWord(before, 'ROLLUP') || isWord(before, 'SETS')) return 'keys';
  switch (outer.clause) {
    case 'keys':
      return isWord(before, 'BY') || isSymbol(before, ',') || isSymbol(before, '(') ? 'keys' : 'expressions';
    case 'names':
      return isWord(before, 'AS') || isWord(before, 'MATERIALIZED') ? 'expressions' : 'names';
    case 'relations':
      return withinRelations(tokens, i);
    default:
      return 'expressions';
  }
}

const BEFORE_RELATION = new Set(['FROM', 'JOIN', 'LATERAL', 'TABLE']);
/** What takes an expression in brackets behind a relation. */
const OF_RELATION = new Set(['BERNOULLI', 'SYSTEM', 'REPEATABLE', 'OF', 'MATCH_RECOGNIZE']);

/** After FROM: brackets around relations, arguments of a function, or names of columns after an alias. */
function withinRelations(tokens: readonly Token[], i: number): Frame['clause'] {
  const isRelationNext = (token: Token | undefined): boolean =>
    token === undefined ||
    isSymbol(token, ',') ||
    isSymbol(token, '(') ||
    (token.kind === 'word' && BEFORE_RELATION.has(token.text));
  let at = i - 1;
  if (isRelationNext(tokens[at])) return 'relations';
  if (tokens[at]?.kind === 'word' && OF_RELATION.has(tokens[at]?.text ?? '')) return 'expressions';
  while (isSymbol(tokens[at - 1], '.')) at -= 2;
  const ahead = tokens[at - 1];
  const isAlias = ahead?.kind === 'word' || ahead?.kind === 'name' || isSymbol(ahead, ')');
  return isAlias && !isRelationNext(ahead) && !isWord(ahead, 'OF') ? 'names' : 'expressions';
}
