/** What a rule asks of an HTTP API: a request line, a JSON body, and where the rows are in the answer. */
import { compilePath } from '../../enrichment/paths.ts';
import type { Path } from '../../enrichment/rule.ts';
import { ExactNumber, type Json } from '../../mcp/exact-json.ts';
import { shownText } from '../shown-text.ts';
import { type Bound, type Compiled, type Rendered, type TemplateFault, ValueError } from '../source.ts';
import { type BodyTemplate, readBody } from './body.ts';
import { hasDotSegment, type Piece, type RequestLine, readRequestLine } from './request-line.ts';
import { isScalar } from './scalar.ts';

export interface HttpRequest extends Rendered {
  readonly method: 'GET' | 'POST';
  /** Path and query, to be appended to the source's URL. */
  readonly path: string;
  /** JSON text. */
  readonly body: string | undefined;
  /** Of the call: what is wrong may be wrong with them. */
  readonly hasValues: boolean;
  /** Undefined: the answer itself. */
  readonly rows: Path | undefined;
}

/** Longer ones no server takes, and a list of values may be long. In characters. */
const MAX_PATH = 65_536;
const MAX_BODY = 1_048_576;

type Values = ReadonlyMap<string, Bound>;

export function compileHttp(source: {
  readonly request: string;
  readonly body?: unknown;
  readonly rows?: string;
}): Compiled {
  const faults: TemplateFault[] = [];
  const line = readRequestLine(source.request);
  if ('fault' in line) faults.push(line.fault);
  const body = source.body === undefined ? undefined : readBody(source.body);
  if (body !== undefined && 'fault' in body) faults.push({ path: 'source.body', message: body.fault });
  else if (body !== undefined && 'method' in line && line.method === 'GET') {
    faults.push({ path: 'source.body', message: 'a GET has no body: leave it out, or write POST' });
  }
  const rows = source.rows === undefined ? undefined : compilePath(source.rows, { roots: [] });
  if (rows !== undefined && 'fault' in rows) faults.push({ path: 'source.rows', message: rows.fault });
  if ('fault' in line || (body && 'fault' in body) || (rows && 'fault' in rows) || faults.length > 0) return { faults };
  const names = namesOf(line, body);
  return {
    template: {
      names,
      mayWrite: line.method === 'POST',
      render: (values) => ({ ...render(line, body, rows, values), hasValues: names.size > 0 }),
    },
  };
}

function namesOf(line: RequestLine, body: BodyTemplate | undefined): Map<string, 'one' | 'list'> {
  const names = new Map(body?.names);
  for (const piece of [...line.segments.flat(), ...line.query]) {
    if (typeof piece === 'object' && names.get(piece.name) !== 'one') names.set(piece.name, piece.takes);
  }
  return names;
}

function render(
  line: RequestLine,
  body: BodyTemplate | undefined,
  rows: Path | undefined,
  values: Values,
): Omit<HttpRequest, 'hasValues'> {
  const segments = line.segments.map((pieces) => segment(pieces, values));
  const query = line.query.map((piece) => (typeof piece === 'string' ? piece : queryValue(piece.name, values)));
  const path = `/${segments.join('/')}${query.join('')}`;
  const text = body?.render(values);
  if (path.length > MAX_PATH) throw new ValueError(`the path would have ${path.length} characters: bind fewer values`);
  if (text !== undefined && text.length > MAX_BODY) {
    throw new ValueError(`the body would have ${text.length} characters: bind fewer values`);
  }
  const shown = `${line.method} ${path}${text === undefined ? '' : `\n${text}`}`;
  return {
    shown: shownText(shown),
    key: JSON.stringify([line.method, path, text, rows?.text]),
    method: line.method,
    path,
    body: text,
    rows,
  };
}

function segment(pieces: readonly Piece[], values: Values): string {
  const [only] = pieces;
  if (pieces.length <= 1 && typeof only !== 'object') return only ?? '';
  const text = pieces
    .map((piece) => (typeof piece === 'string' ? piece : one(piece.name, values.get(piece.name))))
    .join('');
  // An empty segment asks for something else: all accounts, say.
  if (text === '') throw new ValueError(`${nameIn(pieces)} is empty, and a part of a path must not be`);
  if (hasDotSegment(decodeURIComponent(text))) throw new ValueError(`${nameIn(pieces)} would climb out of the path`);
  return text;
}

const nameIn = (pieces: readonly Piece[]): string =>
  pieces.map((piece) => (typeof piece === 'object' ? `:${piece.name}` : piece)).join('');

function queryValue(name: string, values: Values): string {
  const value = values.get(name);
  if (!Array.isArray(value)) return one(name, value);
  // To most servers a parameter that is empty is as good as absent, and they answer with everything.
  if (value.length === 0) throw new ValueError(`:${name} has no values`);
  return value.map((item: Json) => one(name, item)).join(',');
}

function one(name: string, value: Bound | undefined): string {
  if (!isScalar(value as Json | undefined)) throw new ValueError(`:${name} takes a string, a number or a boolean`);
  const text = value instanceof ExactNumber ? value.text : String(value);
  if (text.includes('\0')) throw new ValueError(`:${name} has a NUL character in it`);
  try {
    return encodeURIComponent(text);
  } catch {
    throw new ValueError(`:${name} has half of a surrogate pair in it`);
  }
}
