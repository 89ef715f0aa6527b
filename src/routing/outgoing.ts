/** A request as its upstream will get it: names, ids and the envelope of its era; all other bytes are the client's. */
import { randomBytes } from 'node:crypto';
import type { Exchange, SessionOwner, UpstreamCall, UpstreamSession } from '../exchange/exchange.ts';
import type { Envelope } from '../mcp/envelope.ts';
import { encodeHeaderValue, NAMED_BY } from '../mcp/header-value.ts';
import { removeMembers, replaceMembers } from '../mcp/object-edit.ts';
import { LATEST_MODERN, META } from '../mcp/revision.ts';
import { type Edit, splice } from '../mcp/splice.ts';
import { eraTowards } from '../snapshot/era.ts';
import type { Connection } from '../snapshot/snapshot.ts';
import { clientInfo } from './client-name.ts';
import { paramHeaderValues } from './param-headers.ts';

export interface OutgoingOptions {
  readonly session: UpstreamSession | undefined;
  readonly owner: SessionOwner | undefined;
  /** JSON text of the capabilities that a modern upstream is told of when the client is legacy. */
  readonly capabilities?: string;
  /** Told to a modern upstream when the client is legacy. */
  readonly logLevel?: string | undefined;
  /** Further members of a modern request's params, as JSON text (a repeated call's `inputResponses`). */
  readonly params?: string;
  /** Ids that another call of this exchange must not share: mints one even where the client's own would do. */
  readonly freshId?: boolean;
}

export function outgoing(exchange: Exchange, connection: Connection, options: OutgoingOptions): UpstreamCall {
  const { envelope, target, body, client } = exchange;
  if (envelope === undefined || target === undefined || body === undefined || client === undefined)
    throw new Error('outgoing before its steps');
  const { session, owner } = options;
  const isModern = eraTowards(connection, client.era) === 'modern';
  // Callers that share an upstream session may use the same ids: each call gets its own.
  const isShared = session !== undefined && owner?.sessionId === null;
  const edits: Edit[] = [...target.edits];
  const isRequest = envelope.kind === 'request';
  const mintedId = isRequest && (isShared || options.freshId === true) ? mint() : undefined;
  if (mintedId !== undefined && envelope.id !== undefined) edits.push({ ...envelope.id, with: mintedId });
  const token = envelope.meta?.progressToken;
  const mintedToken = token !== undefined && (isShared || isModern) ? mint() : undefined;
  if (mintedToken !== undefined && token !== undefined) edits.push({ ...token, with: mintedToken });
  if (isModern && client.era === 'legacy' && isRequest) edits.push(...describe(exchange, envelope, options));
  if (!isModern && client.era === 'modern') edits.push(...withoutDescription(envelope));
  return {
    route: connection.route,
    via: 'upstream',
    path: connection.path,
    headers: upstreamHeaders(exchange, connection, session),
    body: splice(body, edits),
    bodyChanged: edits.length > 0,
    session,
    owner,
    mintedId,
    mintedToken,
  };
}

/** A legacy request becomes modern: it says in `_meta` what its session said once. */
function describe({ client }: Exchange, envelope: Envelope, options: OutgoingOptions): Edit[] {
  const { capabilities = '{}', logLevel, params } = options;
  const info = client?.clientName ? [`"${META.clientInfo}":${JSON.stringify(clientInfo(client.clientName))}`] : [];
  const members = [
    `"${META.protocolVersion}":"${LATEST_MODERN}"`,
    ...info,
    `"${META.clientCapabilities}":${capabilities}`,
    ...(logLevel === undefined ? [] : [`"${META.logLevel}":${JSON.stringify(logLevel)}`]),
  ].join(',');
  const { bytes, meta } = envelope;
  // What is no object has described nothing, and two readers would not agree on which `_meta` counts.
  const added = [meta === undefined ? `"_meta":{${members}}` : undefined, params].filter((text) => text !== undefined);
  if (envelope.params === undefined) {
    const end = bytes.lastIndexOf(0x7d);
    return [{ start: end, end, with: `,"params":{${added.join(',')}}` }];
  }
  const isUnwanted = (key: string): boolean => RETRY.has(key) || (key === '_meta' && meta === undefined);
  const edits = replaceMembers(bytes, envelope.params, 1, isUnwanted, added);
  // A session does not become able to do more by the word of one request.
  if (meta !== undefined) edits.push(...replaceMembers(bytes, meta, 2, (key) => DESCRIPTION.has(key), [members]));
  return edits;
}

const DESCRIPTION = new Set<string>([META.protocolVersion, META.clientCapabilities, META.clientInfo, META.logLevel]);
const RETRY = new Set(['inputResponses', 'requestState']);

/** A modern request becomes legacy: what its session has said already, and what belongs to a retry, goes. */
function withoutDescription({ bytes, params, meta }: Envelope): Edit[] {
  if (params === undefined) return [];
  const edits = removeMembers(bytes, params, 1, (key) => RETRY.has(key));
  if (meta !== undefined) edits.push(...removeMembers(bytes, meta, 2, (key) => DESCRIPTION.has(key)));
  return edits;
}

/** Everything an upstream is told, last word to the operator's own headers (design rule 4). */
export function upstreamHeaders(
  exchange: Exchange,
  connection: Connection,
  session: UpstreamSession | undefined,
): (readonly [string, string])[] {
  const headers: (readonly [string, string])[] = [
    ['accept', 'application/json, text/event-stream'],
    // Ours, not the client's: a charset of its choice would make the upstream read other words than we judged.
    ['content-type', 'application/json'],
  ];
  const era = eraTowards(connection, exchange.client?.era ?? 'legacy');
  const version = era === 'modern' ? LATEST_MODERN : (session?.protocolVersion ?? connection.catalog.legacyVersion);
  if (version !== undefined) headers.push(['mcp-protocol-version', version]);
  if (session !== undefined) headers.push(['mcp-session-id', session.id]);
  if (era === 'modern') headers.push(...mirrored(exchange));
  for (const name of connection.forward) {
    const value = exchange.head.header(name);
    if (value !== undefined) headers.push([name, value]);
  }
  headers.push(...connection.injection.headers);
  return headers;
}

/** What a modern request repeats in headers, made from its body whatever the client sent. */
function mirrored({ envelope, target, head }: Exchange): (readonly [string, string])[] {
  if (envelope === undefined || envelope.kind !== 'request') return [];
  const headers: (readonly [string, string])[] = [['mcp-method', envelope.method]];
  if (target !== undefined && NAMED_BY.has(envelope.method)) {
    headers.push(['mcp-name', encodeHeaderValue(target.upstreamName)]);
  }
  const known = paramHeaderValues(target?.item, envelope);
  for (const [name, value] of known) if (value !== undefined) headers.push([name, encodeHeaderValue(value.text)]);
  // An intermediary passes on those that it does not know.
  for (const name of head.names) {
    const value = head.header(name);
    if (name.startsWith('mcp-param-') && !known.has(name) && value !== undefined) headers.push([name, value]);
  }
  return headers;
}

const process8 = randomBytes(6).toString('base64url');
let minted = 0;
/** A JSON string that no other call has: unique across processes and restarts. */
const mint = (): string => `"sp-${process8}-${++minted}"`;
