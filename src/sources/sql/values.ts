/**
 * Where a value may stand: where an operand of an expression may, never where a name, a type or a statement would. The
 * list is of what may come before it, with the clause it is in, so that a value can never become anything but a value:
 * `ORDER BY :n` would be the n-th column, `date :d` the beginning of a literal.
 */
import type { Span } from '../../mcp/json.ts';
import { type Frame, follow, isDistinctFrom, openFrame, wholeStatement } from './clauses.ts';
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
/** Words that an argument can follow in a function that takes words: `substring(s from 1 for :n)`. */
const ARGUMENT_WORDS = new Set('FROM FOR IN PLACING BOTH LEADING TRAILING VALUE'.split(' '));
const SYMBOLS_BEFORE_OPERAND = /^(?:[-+*/%=<>!|~@#&?^,([:]|:=)$/;

/** Throws LexicalFault. `tokens`: of one statement in `text`. */
export function findPlaceholders(text: string, tokens: readonly Token[], dialect: Dialect): readonly Placeholder[] {
  const found: Placeholder[] = [];
  const frames: Frame[] = [wholeStatement()];
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
        frames.push(openFrame(frame, tokens, i, dialect));
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
