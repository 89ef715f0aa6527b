/**
 * JSON values whose numbers keep every digit: what a double cannot hold stays as it was written.
 *
 * A number is plain where its double denotes the very decimal that was written (`1.10`, `1e2` and `0.30000000000000004`
 * do); what is kept is the value, not the spelling.
 */
import { MAX_DEPTH } from './json.ts';

export type Json = null | boolean | number | string | ExactNumber | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: Json;
}

/** Whether one was stringified since `jsonText` began. */
let wasStringified = false;

/** A number that a double would change: `9007199254740993`, `0.10000000000000000001`, `1e400`. */
export class ExactNumber {
  readonly #text: string;
  /** `text`: a JSON number. */
  constructor(text: string) {
    this.#text = text;
  }
  get text(): string {
    return this.#text;
  }
  /** For whoever stringifies without knowing: the digits, as a string. */
  toJSON(): string {
    wasStringified = true;
    return this.#text;
  }
}

/** An object with members: no array, no number. */
export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof ExactNumber);
}

/** Throws SyntaxError, as JSON.parse does, and where the text is nested deeper than that. */
export function parseJson(text: string, levels = MAX_DEPTH): Json {
  const loses = scan(text, levels);
  // The native parser is the judge of what is JSON, whoever builds the value.
  const value = JSON.parse(text) as Json;
  return loses ? new ExactReader(text).value() : value;
}

/** The value's JSON text, every digit in it. Never undefined; what is no JSON becomes null. */
export function jsonText(value: Json): string {
  wasStringified = false;
  const text = JSON.stringify(value) ?? 'null';
  return wasStringified ? exactText(value) : text;
}

/** Equal as JSON: numbers by value, members in any order. */
export function isEqual(a: Json, b: Json): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) {
    return isNumber(a) && isNumber(b) && decimal(numberText(a)) === decimal(numberText(b));
  }
  if (a instanceof ExactNumber || b instanceof ExactNumber) {
    return a instanceof ExactNumber && b instanceof ExactNumber && decimal(a.text) === decimal(b.text);
  }
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
    return a.every((item, i) => isEqual(item, b[i]));
  }
  const [left, right] = [a as JsonObject, b as JsonObject];
  const keys = Object.keys(left);
  if (keys.length !== Object.keys(right).length) return false;
  return keys.every((key) => Object.hasOwn(right, key) && isEqual(left[key] as Json, right[key] as Json));
}

/** Whether there are more levels of objects and arrays in the value than that. */
export function isDeeper(value: Json, levels: number): boolean {
  if (typeof value !== 'object' || value === null || value instanceof ExactNumber) return false;
  if (levels === 0) return true;
  if (Array.isArray(value)) return value.some((item: Json) => isDeeper(item, levels - 1));
  for (const key in value) if (isDeeper((value as JsonObject)[key] as Json, levels - 1)) return true;
  return false;
}

/** A number's text as a value: plain where the double denotes what was written. */
export function exactNumber(text: string): number | ExactNumber {
  const number = Number(text);
  return String(number) === text || (Number.isFinite(number) && decimal(String(number)) === decimal(text))
    ? number
    : new ExactNumber(text);
}

const isNumber = (value: Json): value is number | ExactNumber =>
  typeof value === 'number' || value instanceof ExactNumber;
const numberText = (number: number | ExactNumber): string =>
  typeof number === 'number' ? String(number) : number.text;

/** One spelling for one value: sign, digits without zeros around them, and the power of ten. */
function decimal(number: string): string {
  const [mantissa = '', exponent = '0'] = number.split(/[eE]/);
  const digits = mantissa.startsWith('-') ? mantissa.slice(1) : mantissa;
  const point = digits.indexOf('.');
  const whole = point < 0 ? digits : digits.slice(0, point) + digits.slice(point + 1);
  let first = 0;
  while (whole.charCodeAt(first) === 0x30) first++;
  let end = whole.length;
  while (end > first && whole.charCodeAt(end - 1) === 0x30) end--;
  if (first === end) return '0';
  const power = Number(exponent) + (point < 0 ? whole.length : point) - end;
  // Nobody means an exponent of so many digits: equal only if written alike.
  if (!Number.isSafeInteger(power)) return number;
  return `${mantissa.startsWith('-') ? '-' : ''}${whole.slice(first, end)}e${power}`;
}

/**
 * Whether the text holds a number that a double would change. Looks at structure only, and takes what is not JSON too.
 * Strings are skipped by native searches: about half of what JSON.parse itself costs.
 */
function scan(text: string, levels: number): boolean {
  let depth = 0;
  let loses = false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x22) {
      i = closingQuote(text, i);
      if (i < 0) return loses;
    } else if (code === 0x7b || code === 0x5b) {
      if (++depth > levels) throw new SyntaxError(`JSON nested deeper than ${levels} levels`);
    } else if (code === 0x7d || code === 0x5d) depth--;
    else if (code >= 0x30 && code <= 0x39) {
      const end = numberEnd(text, i);
      // Any decimal of up to 15 digits within a double's normal range is its double's own (IEEE 754: DBL_DIG).
      loses ||= mayBeLong(text, i, end) && exactNumber(text.slice(i, end)) instanceof ExactNumber;
      i = end - 1;
    }
  }
  return loses;
}

/** The quote that ends the string opened at `at`; -1: none does. */
function closingQuote(text: string, at: number): number {
  let quote = text.indexOf('"', at + 1);
  while (quote >= 0 && text.charCodeAt(quote - 1) === BACKSLASH) {
    let from = quote - 1;
    while (from - 1 > at && text.charCodeAt(from - 1) === BACKSLASH) from--;
    if ((quote - from) % 2 === 0) break;
    quote = text.indexOf('"', quote + 1);
  }
  return quote;
}

const BACKSLASH = 0x5c;

/** Behind the digits, points, signs and exponents at `at`. */
function numberEnd(text: string, at: number): number {
  let end = at;
  for (;;) {
    const code = text.charCodeAt(++end);
    if (code >= 0x30 && code <= 0x39) continue;
    if (code !== 0x2e && code !== 0x65 && code !== 0x45 && code !== 0x2b && code !== 0x2d) return end;
  }
}

function mayBeLong(text: string, start: number, end: number): boolean {
  if (end - start > 15) return true;
  for (let i = start; i < end; i++) if ((text.charCodeAt(i) | 0x20) === 0x65) return true;
  return false;
}

/** Builds a value with exact numbers from text that is known to be JSON of bounded depth. */
class ExactReader {
  private readonly text: string;
  private at = 0;

  constructor(text: string) {
    this.text = text;
  }

  value(): Json {
    this.space();
    switch (this.text.charCodeAt(this.at)) {
      case 0x7b:
        return this.object();
      case 0x5b:
        return this.array();
      case 0x22:
        return this.string();
      case 0x74:
        this.at += 4;
        return true;
      case 0x66:
        this.at += 5;
        return false;
      case 0x6e:
        this.at += 4;
        return null;
      default:
        return this.number();
    }
  }

  private object(): JsonObject {
    const object: Record<string, Json> = {};
    this.at++;
    while (this.next(0x7d)) {
      const key = this.string();
      this.space();
      this.at++;
      const value = this.value();
      if (key === '__proto__') {
        Object.defineProperty(object, key, { value, enumerable: true, writable: true, configurable: true });
      } else object[key] = value;
    }
    return object;
  }

  private array(): Json[] {
    const items: Json[] = [];
    this.at++;
    while (this.next(0x5d)) items.push(this.value());
    return items;
  }

  /** Whether another member comes before the closing bracket; stands behind the comma, or behind the bracket. */
  private next(close: number): boolean {
    this.space();
    const code = this.text.charCodeAt(this.at);
    if (code === 0x2c || code === close) this.at++;
    if (code === 0x2c) this.space();
    return code !== close;
  }

  private string(): string {
    const start = this.at;
    this.at = closingQuote(this.text, start) + 1;
    const inner = this.text.slice(start + 1, this.at - 1);
    return inner.includes('\\') ? (JSON.parse(this.text.slice(start, this.at)) as string) : inner;
  }

  private number(): number | ExactNumber {
    const start = this.at;
    this.at = numberEnd(this.text, start);
    return exactNumber(this.text.slice(start, this.at));
  }

  private space(): void {
    for (;;) {
      const code = this.text.charCodeAt(this.at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      this.at++;
    }
  }
}

function exactText(value: Json): string {
  if (value instanceof ExactNumber) return value.text;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(exactText).join(',')}]`;
  const members = Object.entries(value as JsonObject).map(([key, item]) => `${JSON.stringify(key)}:${exactText(item)}`);
  return `{${members.join(',')}}`;
}
