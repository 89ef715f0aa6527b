/**
 * `GET /accounts/:id?fields=:fields`: a method and a path below the source's URL, with values in segments of the path
 * and in values of the query. Whatever a value is, the request has the segments and parameters that the rule wrote.
 */

import type { TemplateFault } from '../source.ts';
import { faultAt, faultText } from '../sql/fault.ts';

export interface Hole {
  readonly name: string;
  /** `list`: all of a query parameter's value. */
  readonly takes: 'one' | 'list';
}
/** A string is percent-encoded already. */
export type Piece = string | Hole;

export interface RequestLine {
  readonly method: 'GET' | 'POST';
  /** Pieces of each segment; none holds a `/`. */
  readonly segments: readonly (readonly Piece[])[];
  /** From the `?` on. */
  readonly query: readonly Piece[];
}

const DOT_SEGMENT = /(?:^|[/\\])\.{1,2}(?:[;/\\]|$)/;
/** What a value is decoded by servers in a row, too often. */
const MAX_DECODINGS = 3;

/**
 * Dots, also where a server sees them only after decoding, once more than it should, or in what it takes for plain dots:
 * `%252e%252e`, `．．`, `‥`.
 */
export function hasDotSegment(decoded: string): boolean {
  let text = decoded;
  for (let decodings = 0; ; decodings++) {
    if (DOT_SEGMENT.test(text) || DOT_SEGMENT.test(text.normalize('NFKC'))) return true;
    const again = text.replace(/%(?:2e|2f|5c|25|3b)/gi, decodeURIComponent);
    if (again === text || decodings === MAX_DECODINGS) return false;
    text = again;
  }
}

/** Throws nothing: what is wrong is told with its column. */
export function readRequestLine(text: string): RequestLine | { readonly fault: TemplateFault } {
  try {
    return read(text);
  } catch (error) {
    if (!(error instanceof LineFault)) throw error;
    return { fault: { path: 'source.request', message: faultText(faultAt(text, error.offset, error.message)) } };
  }
}

class LineFault extends Error {
  readonly offset: number;
  constructor(offset: number, message: string) {
    super(message);
    this.offset = offset;
  }
}

function read(text: string): RequestLine {
  const method = /^(GET|POST) /.exec(text)?.[1];
  if (method === undefined) throw new LineFault(0, 'begin with GET or POST and a space: `GET /accounts/:id`');
  const start = method.length + 1;
  if (text[start] !== '/' || text[start + 1] === '/') {
    throw new LineFault(
      start,
      "the path begins with one /: it is appended to the source's URL, and no other can be reached",
    );
  }
  const hash = text.indexOf('#');
  if (hash >= 0) throw new LineFault(hash, 'a fragment is never sent: leave it out, or write %23');
  const mark = text.indexOf('?');
  const path = text.slice(0, mark < 0 ? text.length : mark);
  return {
    method: method as RequestLine['method'],
    segments: split(path, start + 1, '/').map(([from, to]) => segment(text, from, to)),
    query: mark < 0 ? [] : ['?', ...query(text, mark + 1)],
  };
}

function segment(text: string, from: number, to: number): readonly Piece[] {
  const pieces = readPieces(text, from, to, PATH);
  const literal = pieces.map((piece) => (typeof piece === 'string' ? piece : 'value')).join('');
  if (hasDotSegment(decodeURIComponent(literal))) {
    throw new LineFault(from, 'a path does not climb: write it without . and .. segments');
  }
  return pieces;
}

function query(text: string, start: number): readonly Piece[] {
  return split(text, start, '&').flatMap(([from, to], index) => {
    const equals = text.indexOf('=', from);
    const nameEnd = equals < 0 || equals >= to ? to : equals;
    const name = readPieces(text, from, nameEnd, QUERY);
    if (name.some((piece) => typeof piece !== 'string')) {
      throw new LineFault(
        text.indexOf(':', from),
        'a value cannot be the name of a parameter: write `name=:value`, or :: for a colon',
      );
    }
    const value = nameEnd === to ? [] : readPieces(text, nameEnd + 1, to, QUERY);
    const [only] = value;
    const whole = value.length === 1 && typeof only === 'object' ? [{ ...only, takes: 'list' as const }] : value;
    return [...(index > 0 ? ['&'] : []), ...name, ...(nameEnd === to ? [] : ['=']), ...whole];
  });
}

/** Characters that stand for themselves (RFC 3986: pchar, and what a query allows besides). */
const PATH = /[A-Za-z0-9\-._~!$&'()*+,;=@]+/y;
const QUERY = /[A-Za-z0-9\-._~!$'()*+,;=@/?]+/y;
const NAME = /:([A-Za-z_][A-Za-z0-9_]*)/y;
const ENCODED = /(?:%[0-9A-Fa-f]{2})+/y;

/** Literals and values of a stretch of the text; `::` is a colon, and so is one that no name follows. */
function readPieces(text: string, from: number, to: number, plain: RegExp): readonly Piece[] {
  const pieces: Piece[] = [];
  let literal = '';
  let at = from;
  const stretch = text.slice(0, to);
  while (at < to) {
    const name = stretch[at + 1] === ':' ? undefined : matchAt(NAME, stretch, at);
    if (name !== undefined) {
      if (literal !== '') pieces.push(literal);
      literal = '';
      pieces.push({ name: name.slice(1), takes: 'one' });
      at += name.length;
      continue;
    }
    if (stretch[at] === ':') {
      at += stretch[at + 1] === ':' ? 2 : 1;
      literal += ':';
      continue;
    }
    const found = matchAt(plain, stretch, at) ?? encoded(stretch, at);
    literal += found;
    at += found.length;
  }
  if (literal !== '') pieces.push(literal);
  return pieces;
}

function encoded(text: string, at: number): string {
  const found = matchAt(ENCODED, text, at);
  if (found === undefined) {
    const shown = JSON.stringify(String.fromCodePoint(text.codePointAt(at) ?? 0));
    throw new LineFault(at, `${shown} cannot stand here: write it percent-encoded`);
  }
  if (/%(?:[01][0-9A-F]|7F)/i.test(found)) throw new LineFault(at, 'control characters are not sent: leave them out');
  try {
    decodeURIComponent(found);
  } catch {
    throw new LineFault(at, 'these percent-encoded bytes are not UTF-8');
  }
  return found;
}

function split(text: string, start: number, separator: string): [from: number, to: number][] {
  const parts: [number, number][] = [];
  for (let from = start; ; ) {
    const next = text.indexOf(separator, from);
    parts.push([from, next < 0 ? text.length : next]);
    if (next < 0) return parts;
    from = next + 1;
  }
}

function matchAt(pattern: RegExp, text: string, at: number): string | undefined {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0];
}
