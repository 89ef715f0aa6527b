/**
 * Where a value may stand: where an operand of an expression may, never where a name, a type or a statement would. The
 * list is of what may come before it, with the clause it is in, so that a value can never become anything but a value:
 * `ORDER BY :n` would be the n-th column, `date :d` the beginning of a literal.
 */
import type { Span } from '../../mcp/json.ts';
import { isSymbol, isWord } from './read-only.ts';
import { type Dialect, LexicalFault, type Token } from './tokens.ts';

export interface Placeholder extends Span {
  readonly name: string;
  /** `list`: directly inside `in (…)` or `array[…]`. */
  readonly takes: 'one' | 'list';
}

/** Words that an operand can follow. */
const BEFORE_OPERAND =
  /^(?:SELECT|DISTINCT|ALL|WHERE|AND|OR|NOT|ON|HAVING|WHEN|THEN|ELSE|CASE|BETWEEN|SYMMETRIC|ASYMMETRIC|LIKE|ILIKE|ESCAPE|LIMIT|OFFSET|VALUES|ZONE)$/;
/** Functions whose arguments stand between words, and the words: `extract(year from :d)`, `substring(s from 1 for :n)`. */
const TAKES_WORDS = new Set('EXTRACT TRIM SUBSTRING OVERLAY POSITION JSON_OBJECT'.split(' '));
const ARGUMENT_WORDS = new Set('FROM FOR IN PLACING BOTH LEADING TRAILING VALUE'.split(' '));
const SYMBOLS_BEFORE_OPERAND = /^(?:[-+*/%=<>!|~@#&?^,([:]|:=)$/;
/** Functions whose argument is a statement that the server runs. */
const RUNS_STATEMENTS: Record<Dialect, RegExp> = {
  trino: /^RAW_QUERY$/,
  postgres: /^(?:QUERY_TO_XML\w*|TS_STAT|TS_REWRITE|DBLINK\w*|CROSSTAB\w*|CONNECTBY)$/,
};

/** One pair of brackets, or the whole statement. */
interface Frame {
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

const CLOSING = { '(': ')', '[': ']', '{': '}' } as const;

/** Throws LexicalFault. `tokens`: of one statement in `text`. */
export function findPlaceholders(text: string, tokens: readonly Token[], dialect: Dialect): readonly Placeholder[] {
  const found: Placeholder[] = [];
  const frames: Frame[] = [
    {
      clause: 'expressions',
      isList: false,
      closes: undefined,
      start: 0,
      runs: undefined,
      takesWords: false,
      isQuery: true,
    },
  ];
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i] as Token;
    const frame = frames.at(-1) as Frame;
    if (token.kind === 'value') {
      assertApart(text, token);
      assertOperand(tokens, i, frame);
      found.push({
        name: token.text,
        start: token.start,
        end: token.end,
        takes: isListed(tokens, i, frame) ? 'list' : 'one',
      });
    } else if (token.kind === 'word') follow(frame, tokens, i);
    else if (token.kind === 'symbol') {
      if (token.text === ',' && frame.clause === 'join condition') frame.clause = 'relations';
      else if (token.text === '(' || token.text === '[' || token.text === '{')
        frames.push(open(frame, tokens, i, dialect));
      else if (token.text === ')' || token.text === ']' || token.text === '}') {
        if (frame.closes !== token.text)
          throw new LexicalFault(token.start, `nothing is open that ${token.text} could close`);
        frames.pop();
      }
    }
  }
  const left = frames.at(-1) as Frame;
  if (left.closes !== undefined)
    throw new LexicalFault(left.start, `this bracket is not closed: ${left.closes} is missing`);
  return found;
}

/** Keeps track of the clause. */
function follow(frame: Frame, tokens: readonly Token[], i: number): void {
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

function isDistinctFrom(tokens: readonly Token[], i: number): boolean {
  const before = isWord(tokens[i - 2], 'NOT') ? tokens[i - 3] : tokens[i - 2];
  return isWord(tokens[i - 1], 'DISTINCT') && isWord(before, 'IS');
}

/** The frame that the bracket at `i` opens. */
function open(outer: Frame, tokens: readonly Token[], i: number, dialect: Dialect): Frame {
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

const TOUCHES_BEFORE = /[A-Za-z0-9_$@#&'"`\\.:\u0080-\uffff]/;
const TOUCHES_AFTER = /[A-Za-z0-9_$@#'"`\\.\u0080-\uffff]|:(?!:)/;

/** What a value touched would make one token with it: `x:name` the bytes X'…', `'a':b` the string 'a''…'. */
function assertApart(text: string, token: Token): void {
  const isTouched =
    TOUCHES_BEFORE.test(text.slice(Math.max(0, token.start - 1), token.start)) ||
    TOUCHES_AFTER.exec(text.slice(token.end, token.end + 2))?.index === 0;
  if (isTouched) throw new LexicalFault(token.start, `put a space before and after :${token.text}`);
}

function assertOperand(tokens: readonly Token[], i: number, frame: Frame): void {
  const token = tokens[i] as Token;
  const refuse = (why: string): never => {
    throw new LexicalFault(token.start, `:${token.text} cannot stand here: ${why}`);
  };
  const before = tokens[i - 1];
  const after = tokens[i + 1];
  if (frame.runs !== undefined) refuse(`${frame.runs} runs what it is given, and a statement is never bound`);
  if (isWord(before, 'BY')) refuse('it would be the number of a column; write the column');
  const isArgument = frame.takesWords && !frame.isQuery && before?.kind === 'word' && ARGUMENT_WORDS.has(before.text);
  const isFrameBound =
    before?.kind === 'word' && /^(?:ROWS|RANGE|GROUPS)$/.test(before.text) && isWord(after, 'PRECEDING');
  if (isWord(before, 'IN') && !isArgument) refuse(`write in (:${token.text})`);
  if (!isArgument && !isFrameBound && !mayPrecede(tokens, i - 1)) {
    const shown =
      before === undefined
        ? 'at the beginning'
        : `after ${before.kind === 'word' || before.kind === 'symbol' ? before.text : `a ${KINDS[before.kind]}`}`;
    refuse(
      `${shown} no value can follow. Names, types and keywords are written out; a typed value is cast(:${token.text} as date)`,
    );
  }
  if (isSymbol(before, ',') || isSymbol(before, '(')) {
    if (frame.clause === 'keys') refuse('it would be the number of a column; write the column');
    if (frame.clause === 'relations' || frame.clause === 'names')
      refuse('a name stands here, and only values are bound');
  }
  if (frame.closes === '}') refuse('write the number');
  if (after?.kind === 'string' || isSymbol(after, '.') || isSymbol(after, '(') || isSymbol(after, '['))
    refuse(`what follows makes it a name or part of a literal; only values are bound`);
}

const KINDS = { name: 'quoted name', string: 'string', number: 'number', value: 'value' } as const;

/** Whether an operand can follow the token at `i`. */
function mayPrecede(tokens: readonly Token[], i: number): boolean {
  const before = tokens[i];
  if (before?.kind === 'symbol') return SYMBOLS_BEFORE_OPERAND.test(before.text);
  if (before?.kind !== 'word' || isSymbol(tokens[i - 1], '.')) return false;
  if (before.text === 'FROM') return isDistinctFrom(tokens, i);
  if (before.text === 'FIRST' || before.text === 'NEXT') return isWord(tokens[i - 1], 'FETCH');
  if (before.text === 'OF') return isWord(tokens[i - 1], 'AS');
  if (before.text === 'TO') return isWord(tokens[i - 1], 'SIMILAR');
  return BEFORE_OPERAND.test(before.text);
}

function isListed(tokens: readonly Token[], i: number, frame: Frame): boolean {
  const opening = isSymbol(tokens[i - 1], ',') || tokens[i - 1]?.start === frame.start;
  const closing = isSymbol(tokens[i + 1], ',') || (frame.closes !== undefined && isSymbol(tokens[i + 1], frame.closes));
  return frame.isList && !frame.isQuery && opening && closing;
}
