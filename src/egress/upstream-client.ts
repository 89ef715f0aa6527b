/** The gateway as a client of one upstream: opening a legacy session, and reading results by bytes, so that no field is lost. */
import type { Span } from '../mcp/json.ts';
import type { ResponseEnvelope } from '../mcp/response.ts';
import { LATEST_LEGACY } from '../mcp/revision.ts';
import { packageVersion } from '../package-root.ts';
import type { Connection } from '../snapshot/snapshot.ts';
import type { Egress } from './egress.ts';
import { type PostResult, post } from './post.ts';

/** The upstream answered, but not with what was asked for. `status` is its HTTP status. */
export class UpstreamError extends Error {
  readonly status: number;
  constructor(message: string, status: number) {
    super(message);
    this.status = status;
  }
}

/** What a server says of itself, in either era. */
export interface Handshake {
  /** Of a legacy upstream that mints ids. */
  readonly sessionId: string | undefined;
  readonly protocolVersion: string;
  readonly serverName: string | undefined;
  readonly serverVersion: string | undefined;
  readonly instructions: string | undefined;
  /** The server's `capabilities` object, parsed. */
  readonly capabilities: Readonly<Record<string, unknown>>;
}

/** Enough for the largest lists seen, small enough to refuse a hostile one: of a page, and of all of a list. */
export const MAX_ANSWER_BYTES = 8 << 20;

/** Whose name the gateway gives where it speaks for nobody else. */
export const OWN_INFO = { name: 'sallyport', version: packageVersion } as const;

export interface OpenOptions {
  /** JSON text of the client's capabilities to declare; none by default. */
  readonly capabilities?: string;
  readonly clientInfo?: { readonly name: string; readonly version: string };
}

const INITIALIZED = Buffer.from('{"jsonrpc":"2.0","method":"notifications/initialized"}');

/** `initialize` and `notifications/initialized`. Throws EgressError or UpstreamError. */
export async function openSession(
  egress: Egress,
  connection: Connection,
  signal: AbortSignal,
  { capabilities = '{}', clientInfo = OWN_INFO }: OpenOptions = {},
): Promise<Handshake> {
  const params = `{"protocolVersion":"${LATEST_LEGACY}","capabilities":${capabilities},"clientInfo":${JSON.stringify(clientInfo)}}`;
  const body = Buffer.from(`{"jsonrpc":"2.0","id":"sallyport-initialize","method":"initialize","params":${params}}`);
  const answer = await post(egress, connection, body, { maxBytes: MAX_ANSWER_BYTES, signal });
  const parsed = parsedObject(expectResult(answer, 'initialize'));
  const { sessionId } = answer;
  const { protocolVersion } = parsed;
  if (typeof protocolVersion !== 'string')
    throw new UpstreamError('answered initialize without a protocolVersion', answer.status);
  await post(egress, connection, INITIALIZED, { sessionId, protocolVersion, maxBytes: MAX_ANSWER_BYTES, signal });
  return { sessionId, protocolVersion, ...selfDescription(parsed, parsed.serverInfo) };
}

/** A range of an answer's bytes. */
export interface Slice extends Span {
  readonly bytes: Buffer;
}

/** The `result` of an answer; throws UpstreamError where there is none. `method`: what was asked. */
export function expectResult(
  { response, status, localReply }: Pick<PostResult, 'response' | 'status' | 'localReply'>,
  method: string,
): Slice {
  if (localReply !== undefined) throw new UpstreamError(`could not be reached (${localReply})`, status);
  const outcome = outcomeOf(response);
  if (response?.kind === 'result' && outcome !== undefined) return outcome;
  if (response?.kind === 'error' && outcome !== undefined) {
    throw new UpstreamError(`answered ${method} with an error: ${sliceText(outcome).slice(0, 300)}`, status);
  }
  throw new UpstreamError(`answered ${method} with HTTP ${status} and no JSON-RPC response`, status);
}

export const outcomeOf = (response: ResponseEnvelope | undefined): Slice | undefined =>
  response?.outcome === undefined ? undefined : { bytes: response.bytes, ...response.outcome };

const sliceText = ({ bytes, start, end }: Slice): string => bytes.toString('utf8', start, end);

/** The slice as an object; {} if it is anything else. */
export function parsedObject(slice: Slice): Readonly<Record<string, unknown>> {
  const value: unknown = JSON.parse(sliceText(slice));
  return isObject(value) ? value : {};
}

/** What `initialize` and `server/discover` tell in the same words; `info`: the server's `Implementation`. */
export function selfDescription(
  { instructions, capabilities }: Readonly<Record<string, unknown>>,
  info: unknown,
): Omit<Handshake, 'sessionId' | 'protocolVersion'> {
  const { name, version } = isObject(info) ? info : {};
  return {
    serverName: asText(name),
    serverVersion: asText(version),
    instructions: asText(instructions),
    capabilities: asObject(capabilities),
  };
}

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Postgres' text and jsonb hold no U+0000. */
const NUL = '\u0000';

const asText = (value: unknown): string | undefined =>
  typeof value === 'string' ? value.replaceAll(NUL, '').slice(0, 10_000) : undefined;

function asObject(value: unknown): Readonly<Record<string, unknown>> {
  if (!isObject(value)) return {};
  const clean = (key: string, member: unknown): unknown => {
    if (key.includes(NUL)) return undefined;
    return typeof member === 'string' ? member.replaceAll(NUL, '') : member;
  };
  return JSON.parse(JSON.stringify(value), clean) as Record<string, unknown>;
}
