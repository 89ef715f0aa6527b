/** The gateway as a client of one upstream: the handshake and the paged list, by bytes, so that no field is lost. */
import { JsonError, type Span, skipSpace, skipValue, stringAt, walkObject } from '../mcp/json.ts';
import type { ResponseEnvelope } from '../mcp/response.ts';
import { LATEST_LEGACY } from '../mcp/revision.ts';
import { packageVersion } from '../package-root.ts';
import type { Connection } from '../snapshot/snapshot.ts';
import type { Egress } from './egress.ts';
import { post } from './post.ts';

/** The upstream answered, but not with what was asked for. `status` is its HTTP status. */
export class UpstreamError extends Error {
  readonly status: number;
  constructor(message: string, status: number) {
    super(message);
    this.status = status;
  }
}

export interface Handshake {
  readonly sessionId: string | undefined;
  readonly protocolVersion: string;
  readonly serverName: string | undefined;
  readonly serverVersion: string | undefined;
  readonly instructions: string | undefined;
  /** The server's `capabilities` object, parsed. */
  readonly capabilities: Readonly<Record<string, unknown>>;
}

/** Enough for the largest tool lists seen, small enough to refuse a hostile one: of a page, and of all definitions. */
const MAX_LIST_BYTES = 8 << 20;
const MAX_TOOLS = 10_000;
/** Longer names would not fit into an index, nor into anybody's context. */
const MAX_NAME_CHARS = 200;
const MAX_PAGES = 200;

const INITIALIZE = Buffer.from(
  JSON.stringify({
    jsonrpc: '2.0',
    id: 'sallyport-initialize',
    method: 'initialize',
    params: {
      protocolVersion: LATEST_LEGACY,
      capabilities: {},
      clientInfo: { name: 'sallyport', version: packageVersion },
    },
  }),
);
const INITIALIZED = Buffer.from('{"jsonrpc":"2.0","method":"notifications/initialized"}');

/** `initialize` and `notifications/initialized`. Throws EgressError or UpstreamError. */
export async function openSession(egress: Egress, connection: Connection, signal: AbortSignal): Promise<Handshake> {
  const answer = await post(egress, connection, INITIALIZE, { maxBytes: MAX_LIST_BYTES, signal });
  const result = expectResult(answer.response, answer.status, answer.localReply, 'initialize');
  const parsed = (JSON.parse(text(result)) ?? {}) as {
    protocolVersion?: unknown;
    serverInfo?: { name?: unknown; version?: unknown };
    instructions?: unknown;
    capabilities?: unknown;
  };
  if (typeof parsed.protocolVersion !== 'string')
    throw new UpstreamError('answered initialize without a protocolVersion', answer.status);
  const { sessionId } = answer;
  const { protocolVersion } = parsed;
  await post(egress, connection, INITIALIZED, { sessionId, protocolVersion, maxBytes: MAX_LIST_BYTES, signal });
  return {
    sessionId,
    protocolVersion,
    serverName: asText(parsed.serverInfo?.name),
    serverVersion: asText(parsed.serverInfo?.version),
    instructions: asText(parsed.instructions),
    capabilities: asObject(parsed.capabilities),
  };
}

export interface ListedTool {
  readonly name: string;
  /** The definition's bytes as the upstream wrote them. */
  readonly definition: string;
}

/** Every page of `tools/list`. Throws EgressError or UpstreamError. */
export async function listTools(
  egress: Egress,
  connection: Connection,
  session: Handshake,
  signal: AbortSignal,
): Promise<ListedTool[]> {
  const tools: ListedTool[] = [];
  const cursors = new Set<string>();
  let cursor: string | undefined;
  let size = 0;
  for (let page = 0; page < MAX_PAGES; page++) {
    // An empty string is a cursor like any other (MCP pagination).
    const params = cursor === undefined ? '{}' : `{"cursor":${JSON.stringify(cursor)}}`;
    const body = Buffer.from(
      `{"jsonrpc":"2.0","id":"sallyport-list-${page}","method":"tools/list","params":${params}}`,
    );
    const { sessionId, protocolVersion } = session;
    const answer = await post(egress, connection, body, {
      sessionId,
      protocolVersion,
      maxBytes: MAX_LIST_BYTES,
      signal,
    });
    cursor = readPage(
      expectResult(answer.response, answer.status, answer.localReply, 'tools/list'),
      tools,
      answer.status,
    );
    size += answer.response?.bytes.length ?? 0;
    if (size > MAX_LIST_BYTES || tools.length > MAX_TOOLS) {
      throw new UpstreamError(`lists more than ${MAX_TOOLS} tools or ${MAX_LIST_BYTES >> 20} MiB`, answer.status);
    }
    if (cursor === undefined) return tools;
    if (cursors.has(cursor)) throw new UpstreamError('repeats a tools/list cursor, its list has no end', answer.status);
    cursors.add(cursor);
  }
  throw new UpstreamError(`has more than ${MAX_PAGES} pages of tools`, 200);
}

function readPage(page: Slice, tools: ListedTool[], status: number): string | undefined {
  const { bytes } = page;
  let cursor: string | undefined;
  let list: Span | undefined;
  if (bytes[page.start] !== 0x7b) throw new UpstreamError('answered tools/list without a list of tools', status);
  walkObject(bytes, page.start, 1, (key, start, end) => {
    if (key === 'tools') list = { start, end };
    if (key === 'nextCursor' && bytes[start] === 0x22) cursor = stringAt(bytes, start, end);
  });
  if (list === undefined || bytes[list.start] !== 0x5b)
    throw new UpstreamError('answered tools/list without a list of tools', status);
  for (const item of arrayItems(bytes, list.start)) {
    const name = nameOf(bytes, item);
    // One malformed tool hides nobody else.
    if (name !== undefined) tools.push({ name, definition: bytes.toString('utf8', item.start, item.end) });
  }
  return cursor;
}

/** undefined: not a tool that could be offered to anybody. */
function nameOf(bytes: Buffer, item: Span): string | undefined {
  if (bytes[item.start] !== 0x7b) return undefined;
  let name: string | undefined;
  try {
    walkObject(bytes, item.start, 3, (key, start, end) => {
      if (key === 'name' && bytes[start] === 0x22) name = stringAt(bytes, start, end);
    });
  } catch (error) {
    // A key that comes twice: clients would disagree about what the tool is.
    if (error instanceof JsonError) return undefined;
    throw error;
  }
  return name === '' || (name?.length ?? 0) > MAX_NAME_CHARS ? undefined : name;
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

interface Slice extends Span {
  readonly bytes: Buffer;
}

const text = ({ bytes, start, end }: Slice): string => bytes.toString('utf8', start, end);

function expectResult(
  response: ResponseEnvelope | undefined,
  status: number,
  localReply: string | undefined,
  method: string,
): Slice {
  if (localReply !== undefined) throw new UpstreamError(`could not be reached (${localReply})`, status);
  if (response?.kind === 'result' && response.outcome !== undefined)
    return { bytes: response.bytes, ...response.outcome };
  if (response?.kind === 'error' && response.outcome !== undefined) {
    throw new UpstreamError(
      `answered ${method} with an error: ${text({ bytes: response.bytes, ...response.outcome }).slice(0, 300)}`,
      status,
    );
  }
  throw new UpstreamError(`answered ${method} with HTTP ${status} and no JSON-RPC response`, status);
}

/** Postgres' text and jsonb hold no U+0000. */
const NUL = '\u0000';

const asText = (value: unknown): string | undefined =>
  typeof value === 'string' ? value.replaceAll(NUL, '').slice(0, 10_000) : undefined;

function asObject(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return {};
  const clean = (key: string, member: unknown): unknown => {
    if (key.includes(NUL)) return undefined;
    return typeof member === 'string' ? member.replaceAll(NUL, '') : member;
  };
  return JSON.parse(JSON.stringify(value), clean) as Record<string, unknown>;
}
