/**
 * Conditions in CEL, over JSON. What people write is bounded when it is saved (length, depth), what it does when it runs:
 * each value looked at and each round of a macro (`exists`, `all`, `filter`, `map`) costs, and beyond MOST_WORK the
 * condition fails. `matches` is RE2. Integers and doubles mix: `response.price * 2` whether the price is 12 or 12.5.
 */
import { Environment, EvaluationError, ParseError, TypeError as TypeFault } from '@marcbachmann/cel-js';
import type { Json, JsonObject } from '../mcp/exact-json.ts';
import { type CelNode, guard, Refusal, type Running } from './cel-nodes.ts';
import { CelObject, MOST_WORK, TOO_MUCH, Work } from './cel-values.ts';

const LONGEST = 2_000;
const LIMITS = { maxAstNodes: 1_000, maxDepth: 32, maxListElements: 200, maxMapEntries: 200, maxCallArguments: 8 };

export interface Cel {
  readonly text: string;
  /** An error says why there is neither true nor false, and nothing of the values. */
  run(values: Readonly<Record<string, Json>>): boolean | { readonly error: string };
}

/** `variables`: names that the expression may use; JSON of any shape. The fault says where and what to do. */
export function compileCel(text: string, variables: readonly string[]): Cel | { readonly fault: string } {
  if (text.length > LONGEST) {
    return { fault: `an expression has at most ${LONGEST} characters; this one has ${text.length}` };
  }
  const running: Running = { work: new Work() };
  try {
    const evaluate = environment(variables).parse(text);
    const { type, error } = evaluate.check();
    if (error !== undefined) throw error;
    if (type !== 'bool' && type !== 'dyn') {
      return { fault: `the expression gives a ${type}, a condition true or false; compare it with something` };
    }
    guard(evaluate.ast as unknown as CelNode, running);
    return { text, run: (values) => run(evaluate, text, values, running) };
  } catch (error) {
    if (error instanceof Refusal) return { fault: `${position(text, error.pos)}: ${error.message}` };
    if (error instanceof ParseError || error instanceof TypeFault) {
      return { fault: `${position(text, error.range?.start ?? 0)}: ${error.summary}` };
    }
    throw error;
  }
}

const SPENT = `it takes more than ${MOST_WORK} steps`;

function run(
  evaluate: (context: Map<string, unknown>) => unknown,
  text: string,
  values: Readonly<Record<string, Json>>,
  running: Running,
): boolean | { readonly error: string } {
  running.work = new Work();
  try {
    const value = evaluate(new CelObject(values as JsonObject, running.work));
    if (running.work.isSpent) return { error: SPENT };
    return typeof value === 'boolean' ? value : { error: 'it gives neither true nor false' };
  } catch (error) {
    if (error === TOO_MUCH || running.work.isSpent) return { error: SPENT };
    if (error instanceof EvaluationError) return { error: reason(text, error) };
    // Of functions that get what they cannot take, such as the name of a time zone.
    return { error: 'a function cannot take what it is given' };
  }
}

/** Not the library's message: it may quote values. */
function reason(text: string, error: EvaluationError): string {
  const { node } = error;
  const where = node === undefined ? '' : `${position(text, error.range?.start ?? node.pos)}: `;
  const what = error.code.replaceAll('_', ' ');
  const key = node?.op === '.' && error.code === 'no_such_key' ? ` \`${node.args[1]}\`` : '';
  return `${where}${what}${key}`;
}

function position(text: string, offset: number): string {
  const before = text.slice(0, offset);
  const line = before.split('\n').length;
  return `line ${line}, column ${offset - before.lastIndexOf('\n')}`;
}

function environment(variables: readonly string[]): Environment {
  const environment = new Environment({ homogeneousAggregateLiterals: false, limits: LIMITS });
  for (const name of variables) environment.registerVariable(name, 'dyn');
  for (const [operator, work] of MIXED) {
    environment.registerOperator(`int ${operator} double: double`, work);
    environment.registerOperator(`double ${operator} int: double`, work);
  }
  environment.registerOperator('int == double', isSame);
  return environment;
}

function isSame(integer: bigint, double: number): boolean {
  return Number.isInteger(double) && BigInt(double) === integer;
}

type Mixed = (left: number | bigint, right: number | bigint) => number;
/** CEL has none of these, but JSON does not tell 12 from 12.0. */
const MIXED: readonly (readonly [string, Mixed])[] = [
  ['+', (left, right) => Number(left) + Number(right)],
  ['-', (left, right) => Number(left) - Number(right)],
  ['*', (left, right) => Number(left) * Number(right)],
  ['/', (left, right) => Number(left) / Number(right)],
];
