/** Reads an upstream's lists, every page of them, as the bytes of each definition. */
import { JsonError, type Span, skipSpace, skipValue, stringAt, walkObject } from '../mcp/json.ts';
import type { Era } from '../mcp/revision.ts';
import type { Connection, ItemKind } from '../snapshot/snapshot.ts';
import { ANY_CLIENT } from './any-client.ts';
import type { Egress } from './egress.ts';
import { asTtl } from './era-probe.ts';
import { modernRequest } from './modern-request.ts';
import { ownId } from './own-id.ts';
import { type PostResult, post } from './post.ts';
import { expectResult, type Handshake, MAX_ANSWER_BYTES, type Slice, UpstreamError } from './upstream-client.ts';

export interface ListedItem {
  /** Tool or prompt name, resource URI, URI template. */
  readonly name: string;
  /** The definition's bytes as the upstream wrote them. */
  readonly definition: string;
}

export interface Listed {
  readonly items: readonly ListedItem[];
  /** The shortest of the pages' `ttlMs`. Milliseconds; undefined if none says. */
  readonly ttlMs: number | undefined;
}

interface ListShape {
  readonly method: string;
  /** The list's key in a result, and the key of an item's identity. */
  readonly list: string;
  readonly own: string;
  /** A server without it has no such method (MCP capability negotiation). */
  readonly capability: string;
  /** Bytes of an identity: longer names are in nobody's context, longer URIs in no index. */
  readonly maxName: number;
}

export const LISTS: Readonly<Record<ItemKind, ListShape>> = {
  tools: { method: 'tools/list', list: 'tools', own: 'name', capability: 'tools', maxName: 200 },
  prompts: { method: 'prompts/list', list: 'prompts', own: 'name', capability: 'prompts', maxName: 200 },
  resources: { method: 'resources/list', list: 'resources', own: 'uri', capability: 'resources', maxName: 2000 },
  templates: {
    method: 'resources/templates/list',
    list: 'resourceTemplates',
    own: 'uriTemplate',
    capability: 'resources',
    maxName: 2000,
  },
};

const MAX_ITEMS = 10_000;
const MAX_PAGES = 200;

/** Every page. Throws EgressError or UpstreamError. */
export async function listItems(
  egress: Egress,
  connection: Connection,
  server: Pick<Handshake, 'sessionId' | 'protocolVersion'> & { readonly era: Era },
  kind: ItemKind,
  signal: AbortSignal,
): Promise<Listed> {
  const shape = LISTS[kind];
  const { method } = shape;
  const items: ListedItem[] = [];
  const cursors = new Set<string>();
  let ttlMs: number | undefined;
  let cursor: string | undefined;
  let size = 0;
  for (let page = 0; page < MAX_PAGES; page++) {
    const answer = await askPage(egress, connection, server, method, cursor, signal);
    const read = readPage(expectResult(answer, method), shape, items, answer.status);
    cursor = read.cursor;
    if (read.ttlMs !== undefined) ttlMs = Math.min(ttlMs ?? read.ttlMs, read.ttlMs);
    size += answer.response?.bytes.length ?? 0;
    if (size > MAX_ANSWER_BYTES || items.length > MAX_ITEMS) {
      throw new UpstreamError(`lists more than ${MAX_ITEMS} ${kind} or ${MAX_ANSWER_BYTES >> 20} MiB`, answer.status);
    }
    if (cursor === undefined) return { items, ttlMs };
    if (cursors.has(cursor)) throw new UpstreamError(`repeats a ${method} cursor, its list has no end`, answer.status);
    cursors.add(cursor);
  }
  throw new UpstreamError(`has more than ${MAX_PAGES} pages of ${kind}`, 200);
}

function askPage(
  egress: Egress,
  connection: Connection,
  { era, sessionId, protocolVersion }: Parameters<typeof listItems>[2],
  method: string,
  cursor: string | undefined,
  signal: AbortSignal,
): Promise<PostResult> {
  // An empty string is a cursor like any other (MCP pagination).
  const params = cursor === undefined ? '' : `"cursor":${JSON.stringify(cursor)}`;
  const id = ownId('list');
  if (era === 'modern') {
    const { body, headers } = modernRequest(method, protocolVersion, id, params, ANY_CLIENT);
    return post(egress, connection, body, { ...headers, maxBytes: MAX_ANSWER_BYTES, signal });
  }
  const body = Buffer.from(`{"jsonrpc":"2.0","id":"${id}","method":"${method}","params":{${params}}}`);
  return post(egress, connection, body, { sessionId, protocolVersion, maxBytes: MAX_ANSWER_BYTES, signal });
}

function readPage(
  page: Slice,
  { method, list: listKey, own, maxName }: ListShape,
  items: ListedItem[],
  status: number,
): { cursor: string | undefined; ttlMs: number | undefined } {
  const { bytes } = page;
  let cursor: string | undefined;
  let ttlMs: number | undefined;
  let list: Span | undefined;
  if (bytes[page.start] !== 0x7b) throw new UpstreamError(`answered ${method} without a list`, status);
  try {
    walkObject(bytes, page.start, 1, (key, start, end) => {
      if (key === listKey) list = { start, end };
      if (key === 'nextCursor' && bytes[start] === 0x22) cursor = stringAt(bytes, start, end);
      if (key === 'ttlMs') ttlMs = asTtl(JSON.parse(bytes.toString('utf8', start, end)));
    });
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new UpstreamError(`answered ${method} with what cannot be read: ${error.message}`, status);
  }
  if (list === undefined || bytes[list.start] !== 0x5b)
    throw new UpstreamError(`answered ${method} without a list`, status);
  for (const item of arrayItems(bytes, list.start)) {
    const name = nameOf(bytes, item, own);
    // One malformed item hides nobody else.
    if (name === undefined || name === '' || Buffer.byteLength(name) > maxName) continue;
    items.push({ name, definition: bytes.toString('utf8', item.start, item.end) });
  }
  return { cursor, ttlMs };
}

/** undefined: not an item that could be offered to anybody. */
function nameOf(bytes: Buffer, item: Span, own: string): string | undefined {
  if (bytes[item.start] !== 0x7b) return undefined;
  let name: string | undefined;
  try {
    walkObject(bytes, item.start, 3, (key, start, end) => {
      if (key === own && bytes[start] === 0x22) name = stringAt(bytes, start, end);
    });
  } catch (error) {
    // A key that comes twice: clients would disagree about what the item is.
    if (error instanceof JsonError) return undefined;
    throw error;
  }
  return name;
}

function* arrayItems(bytes: Buffer, at: number): Generator<Span> {
  let position = skipSpace(bytes, at + 1);
  while (bytes[position] !== 0x5d) {
    const end = skipValue(bytes, position, 2);
    yield { start: position, end };
    position = skipSpace(bytes, end);
    if (bytes[position] === 0x2c) position = skipSpace(bytes, position + 1);
  }
}
