/**
 * Values as Trino literals. Trino binds parameters only by preparing a statement in a header, so values are written into the statement:
 * a string can be ended by nothing but its quote, which is doubled; everything else is written from parts checked here.
 */
import { ExactNumber, type Json } from '../../mcp/exact-json.ts';
import { type Bound, ValueError } from '../source.ts';

/** More values in one list are refused. */
const MAX_LIST_VALUES = 10_000;
/** Digits that Trino's decimal holds. */
const MAX_DIGITS = 38;
const MIN_BIGINT = -(2n ** 63n);
const MAX_BIGINT = 2n ** 63n - 1n;
/** NUL, which Trino takes and others behind it do not, and half pairs, which UTF-8 cannot carry. */
const UNFIT = /[\0\p{Surrogate}]/u;
const NUMBER = /^(-?)([0-9]+)(?:\.([0-9]+))?([eE][+-]?[0-9]+)?$/;

/** One scalar. Throws ValueError; `name` is for its message. */
export function literal(value: Bound, name: string): string {
  if (value === null) return 'NULL';
  if (value === true) return 'TRUE';
  if (value === false) return 'FALSE';
  if (typeof value === 'string') return stringLiteral(value, name);
  if (typeof value === 'number') return numberLiteral(digitsOf(value, name), name);
  if (value instanceof ExactNumber) return numberLiteral(value.text, name);
  const what = Array.isArray(value) ? 'an array' : 'an object';
  throw new ValueError(
    `:${name} is ${what}, and one plain value is wanted: bind a value within it, or write in (:${name})`,
  );
}

/** What stands between the brackets of `in (…)` and `array[…]`: `NULL`, which equals nothing, for an empty list. */
export function listLiteral(values: Bound, name: string): string {
  if (!Array.isArray(values)) return literal(values, name);
  if (values.length > MAX_LIST_VALUES)
    throw new ValueError(`:${name} has ${values.length} values; at most ${MAX_LIST_VALUES} can be asked for at once`);
  return values.length === 0 ? 'NULL' : (values as readonly Json[]).map((value) => literal(value, name)).join(', ');
}

function stringLiteral(value: string, name: string): string {
  if (UNFIT.test(value)) throw new ValueError(`:${name} has a character that is none (NUL or half of a pair)`);
  return `'${value.replaceAll("'", "''")}'`;
}

/** Whole numbers in full: from 1e21 on JavaScript writes an exponent, which would make them doubles. */
function digitsOf(value: number, name: string): string {
  if (!Number.isFinite(value)) throw new ValueError(`:${name} is ${value}, not a number that can be written`);
  const text = Object.is(value, -0) ? '0' : String(value);
  const [, sign = '', first, rest = '', power] = /^(-?)(\d)(?:\.(\d+))?e\+(\d+)$/.exec(text) ?? [];
  return first !== undefined && Number(power) < MAX_DIGITS ? sign + first + rest.padEnd(Number(power), '0') : text;
}

function numberLiteral(text: string, name: string): string {
  const parts = NUMBER.exec(text);
  if (parts === null) throw new ValueError(`:${name} is not a number that can be written`);
  const [, sign, whole = '', fraction, exponent] = parts;
  if (exponent !== undefined) return doubleLiteral(text, name);
  if (fraction === undefined) {
    const integer = BigInt(text);
    if (integer >= MIN_BIGINT && integer <= MAX_BIGINT) return signed(integer.toString(), sign);
  }
  const digits = whole.replace(/^0+/, '').length + (fraction?.length ?? 0);
  if (digits > MAX_DIGITS)
    throw new ValueError(`:${name} has ${digits} digits; Trino's decimals have at most ${MAX_DIGITS}`);
  return fraction === undefined ? `DECIMAL '${text}'` : signed(text, sign);
}

function doubleLiteral(text: string, name: string): string {
  if (!Number.isFinite(Number(text))) throw new ValueError(`:${name} is beyond what a double holds`);
  return signed(text.toUpperCase(), text.startsWith('-') ? '-' : '');
}

/** In brackets, so that no minus before it makes a comment of it. */
function signed(text: string, sign: string | undefined): string {
  return sign === '-' && text.startsWith('-') ? `(${text})` : text;
}
