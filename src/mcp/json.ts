/**
 * A strict JSON scanner over bytes (RFC 8259): it finds where values begin and end and builds nothing, so that
 * payloads can be checked and edited without ever being re-serialised. It refuses whatever `JSON.parse` refuses.
 * The input must be valid UTF-8; `assertUtf8` checks that in native code.
 */
import { isUtf8 } from 'node:buffer';

/** Deeper nesting is refused (design rule 12). */
export const MAX_DEPTH = 256;

/** A half-open range of bytes. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** The bytes are not JSON, or are nested too deeply; `offset` is where that became clear. */
export class JsonError extends Error {
  readonly offset: number;
  readonly tooDeep: boolean;
  constructor(message: string, offset: number, tooDeep = false) {
    super(message);
    this.offset = offset;
    this.tooDeep = tooDeep;
  }
}

/** Throws unless the bytes are valid UTF-8. */
export function assertUtf8(bytes: Uint8Array): void {
  if (!isUtf8(bytes)) throw new JsonError('the text is not valid UTF-8', 0);
}

/** First position at or after `at` that is not JSON whitespace. */
export function skipSpace(bytes: Uint8Array, at: number): number {
  let position = at;
  for (;;) {
    const byte = bytes[position];
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return position;
    position++;
  }
}

/** End of the value that starts at `at` (no leading space). `depth` is how many containers it is in. */
export function skipValue(bytes: Buffer, at: number, depth: number): number {
  const first = bytes[at];
  if (first === 0x22) return skipString(bytes, at);
  if (first === 0x7b || first === 0x5b) return skipContainer(bytes, at, depth);
  return skipScalar(bytes, at);
}

/** End of the string whose opening quote is at `at`. */
export function skipString(bytes: Buffer, at: number): number {
  let position = at + 1;
  // Short strings are the rule, and JSON within a string has an escape every few bytes: a byte loop is cheaper than leaving
  // JavaScript.
  let near = Math.min(bytes.length, position + 128);
  while (position < near) {
    const byte = bytes[position] as number;
    if (byte === 0x22) return position + 1;
    if (byte < 0x20) throw new JsonError('a control character in a string', position);
    if (byte === 0x5c) {
      position = skipEscape(bytes, position);
      near = Math.min(bytes.length, position + 128);
    } else position++;
  }
  return skipLongString(bytes, position);
}

const CONTROL = /[\x00-\x1f]/;

/**
 * The rest of a long string, with native searches: megabytes of base64 cost what memchr costs. Each search goes on from
 * what the last one found, so that the whole stays linear however many escapes there are.
 */
function skipLongString(bytes: Buffer, from: number): number {
  let checked = from;
  let quote = bytes.indexOf(0x22, from);
  let backslash = bytes.indexOf(0x5c, from);
  while (backslash >= 0 && backslash < quote) {
    const position = skipEscape(bytes, backslash);
    if (quote < position) quote = bytes.indexOf(0x22, position);
    backslash = bytes.indexOf(0x5c, position);
  }
  if (quote < 0) throw new JsonError('a string without an end', bytes.length);
  // Windows keep the copies that the regular expression works on small.
  for (; checked < quote; checked += 65_536) {
    if (CONTROL.test(bytes.toString('latin1', checked, Math.min(quote, checked + 65_536)))) {
      throw new JsonError('a control character in a string', checked);
    }
  }
  return quote + 1;
}

function skipEscape(bytes: Uint8Array, at: number): number {
  switch (bytes[at + 1]) {
    case 0x22: // "
    case 0x5c: // \
    case 0x2f: // /
    case 0x62: // b
    case 0x66: // f
    case 0x6e: // n
    case 0x72: // r
    case 0x74: // t
      return at + 2;
    case 0x75: // u
      for (let i = at + 2; i < at + 6; i++) {
        if (!isHex(bytes[i])) throw new JsonError('a bad \\u escape', i);
      }
      return at + 6;
    default:
      throw new JsonError('a bad escape in a string', at + 1);
  }
}

function isHex(byte: number | undefined): boolean {
  if (byte === undefined) return false;
  return (byte >= 0x30 && byte <= 0x39) || (byte >= 0x41 && byte <= 0x46) || (byte >= 0x61 && byte <= 0x66);
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

const LITERALS = { 116: 'true', 102: 'false', 110: 'null' } as const;

/** Numbers and the three literals. */
function skipScalar(bytes: Uint8Array, at: number): number {
  const first = bytes[at];
  if (first === 0x74 || first === 0x66 || first === 0x6e) {
    const word = LITERALS[first];
    for (let i = 1; i < word.length; i++) {
      if (bytes[at + i] !== word.charCodeAt(i)) throw new JsonError('an unknown word', at);
    }
    return at + word.length;
  }
  let position = first === 0x2d ? at + 1 : at;
  if (bytes[position] === 0x30) position++;
  else if (isDigit(bytes[position])) while (isDigit(bytes[position])) position++;
  else throw new JsonError(position >= bytes.length ? 'the text ends too early' : 'a value was expected', position);
  if (bytes[position] === 0x2e) {
    if (!isDigit(bytes[++position])) throw new JsonError('a digit was expected after the point', position);
    while (isDigit(bytes[position])) position++;
  }
  if (bytes[position] === 0x65 || bytes[position] === 0x45) {
    position++;
    if (bytes[position] === 0x2b || bytes[position] === 0x2d) position++;
    if (!isDigit(bytes[position])) throw new JsonError('a digit was expected in the exponent', position);
    while (isDigit(bytes[position])) position++;
  }
  return position;
}

/** Objects and arrays, without recursion: one bit per level says which kind is open. */
function skipContainer(bytes: Buffer, at: number, depth: number): number {
  const isObject: boolean[] = [];
  let position = at;
  for (;;) {
    // A value is expected here.
    const byte = bytes[position];
    let closed = false;
    if (byte === 0x7b || byte === 0x5b) {
      if (depth + isObject.length >= MAX_DEPTH) {
        throw new JsonError(`nested deeper than ${MAX_DEPTH} levels`, position, true);
      }
      isObject.push(byte === 0x7b);
      position = skipSpace(bytes, position + 1);
      if (bytes[position] === (byte === 0x7b ? 0x7d : 0x5d)) closed = true;
      else if (byte === 0x7b) position = skipKey(bytes, position);
      if (!closed) continue;
    } else {
      position = byte === 0x22 ? skipString(bytes, position) : skipScalar(bytes, position);
    }
    // A value has ended (or an empty container is about to): close what ends, or go to the next member.
    for (;;) {
      if (closed) {
        isObject.pop();
        position++;
        if (isObject.length === 0) return position;
        closed = false;
      }
      position = skipSpace(bytes, position);
      const inObject = isObject[isObject.length - 1] === true;
      const next = bytes[position];
      if (next === 0x2c) {
        position = skipSpace(bytes, position + 1);
        if (inObject) position = skipKey(bytes, position);
        break;
      }
      if (next !== (inObject ? 0x7d : 0x5d)) {
        throw new JsonError(position >= bytes.length ? 'the text ends too early' : 'a comma was expected', position);
      }
      closed = true;
    }
  }
}

/** `"key" :` and the space after it; returns where the value starts. */
function skipKey(bytes: Buffer, at: number): number {
  if (bytes[at] !== 0x22) throw new JsonError('a key in quotes was expected', at);
  const colon = skipSpace(bytes, skipString(bytes, at));
  if (bytes[colon] !== 0x3a) throw new JsonError('a colon was expected', colon);
  return skipSpace(bytes, colon + 1);
}

/** Text of the string (quotes included) in `span`, escapes decoded. */
export function stringAt(bytes: Buffer, start: number, end: number): string {
  for (let i = start + 1; i < end - 1; i++) {
    if (bytes[i] === 0x5c) return JSON.parse(bytes.toString('utf8', start, end)) as string;
  }
  return bytes.toString('utf8', start + 1, end - 1);
}

/**
 * Walks the members of the object at `at`, in order, refusing a key that comes twice (a parser differential is a
 * bypass). `visit` gets the decoded key and the value's range. Returns the object's end.
 */
export function walkObject(
  bytes: Buffer,
  at: number,
  depth: number,
  visit: (key: string, start: number, end: number) => void,
): number {
  if (depth >= MAX_DEPTH) throw new JsonError(`nested deeper than ${MAX_DEPTH} levels`, at, true);
  const seen: string[] = [];
  let position = skipSpace(bytes, at + 1);
  if (bytes[position] === 0x7d) return position + 1;
  for (;;) {
    const valueStart = skipKey(bytes, position);
    const key = stringAt(bytes, position, skipString(bytes, position));
    if (isRepeated(seen, key)) throw repeated(key, position);
    const valueEnd = skipValue(bytes, valueStart, depth + 1);
    visit(key, valueStart, valueEnd);
    position = skipSpace(bytes, valueEnd);
    if (bytes[position] === 0x7d) return position + 1;
    if (bytes[position] !== 0x2c) {
      throw new JsonError(position >= bytes.length ? 'the text ends too early' : 'a comma was expected', position);
    }
    position = skipSpace(bytes, position + 1);
  }
}

/**
 * Refuses a key that comes twice in any object of the value at `at`, however deep; returns the value's end. One pass.
 * The value has been scanned before, so its depth is known to be bounded.
 */
export function refuseRepeats(bytes: Buffer, at: number): number {
  const first = bytes[at];
  if (first !== 0x7b && first !== 0x5b) return skipValue(bytes, at, 0);
  const close = first === 0x7b ? 0x7d : 0x5d;
  const seen: string[] = [];
  let position = skipSpace(bytes, at + 1);
  while (bytes[position] !== close) {
    if (bytes[position] === 0x2c) position = skipSpace(bytes, position + 1);
    if (first === 0x7b) {
      const key = stringAt(bytes, position, skipString(bytes, position));
      if (isRepeated(seen, key)) throw repeated(key, position);
      position = skipKey(bytes, position);
    }
    position = skipSpace(bytes, refuseRepeats(bytes, position));
  }
  return position + 1;
}

const repeated = (key: string, at: number): JsonError =>
  new JsonError(`the key ${JSON.stringify(key.slice(0, 64))} comes twice`, at);

const sets = new WeakMap<string[], Set<string>>();

/** Linear for the handful of keys a message has; a hostile thousand gets a set. */
function isRepeated(seen: string[], key: string): boolean {
  if (seen.length < 16) {
    if (seen.includes(key)) return true;
  } else {
    let set = sets.get(seen);
    if (set === undefined) {
      set = new Set(seen);
      sets.set(seen, set);
    }
    if (set.has(key)) return true;
    set.add(key);
  }
  seen.push(key);
  return false;
}
