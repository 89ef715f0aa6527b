/** What an upstream asks of a legacy client, on whatever stream it comes: whether it may, and under which id. */
import { type ClientCapabilities, mayBeAsked } from '../mcp/capabilities.ts';
import { stringAt } from '../mcp/json.ts';
import type { ResponseEnvelope } from '../mcp/response.ts';
import { type Edit, splice } from '../mcp/splice.ts';
import { member } from './member.ts';
import { type Names, nameEdits } from './names.ts';

/** Where the question would go. */
export interface Asked {
  readonly sessionId: string;
  readonly capabilities: ClientCapabilities;
  readonly names: Names;
}

/** The question for the client; or the answer that the upstream gets at once instead. JSON-RPC, both. */
export type Question = { readonly forClient: Buffer } | { readonly forUpstream: string };

/** `message`: a request of the upstream's. The client's answer comes back under a handle that says whose it is. */
export function question(message: ResponseEnvelope, { sessionId, capabilities, names }: Asked): Question {
  const { bytes, id, params, method = '' } = message;
  if (id === undefined) throw new Error('a question without an id');
  const original = bytes.toString('utf8', id.start, id.end);
  if (method === 'ping') return { forUpstream: pong(original) };
  if (!mayBePut(message, capabilities)) return { forUpstream: refusalOf(original) };
  const wrap = (kind: 'request' | 'progress', text: string): string =>
    JSON.stringify(names.handles.wrap(kind, sessionId, [names.connection.name, text]));
  const edits: Edit[] = [{ ...id, with: wrap('request', original) }];
  const meta = params === undefined ? undefined : member(bytes, params, '_meta');
  const token = meta === undefined ? undefined : member(bytes, meta, 'progressToken');
  if (token !== undefined)
    edits.push({ ...token, with: wrap('progress', bytes.toString('utf8', token.start, token.end)) });
  if (params !== undefined) edits.push(...nameEdits(bytes, params, 'params', names));
  return { forClient: splice(bytes, edits) };
}

/** Whether the client has declared that it takes this request, with all that is in it. */
export function mayBePut(message: ResponseEnvelope, client: ClientCapabilities): boolean {
  const { bytes, params, method = '' } = message;
  if (!mayBeAsked(client, method, modeOf(message))) return false;
  if (method !== 'sampling/createMessage' || client.samplesWithTools || params === undefined) return true;
  // MCP 2025-11-25, sampling, "Capabilities".
  return member(bytes, params, 'tools') === undefined && member(bytes, params, 'toolChoice') === undefined;
}

/** What an upstream is told that asks for something the client has not declared. `id`: JSON text. */
export const refusalOf = (id: string): string =>
  `{"jsonrpc":"2.0","id":${id},"error":{"code":-32601,"message":"The client does not support this request."}}`;

/** A ping is of one hop (MCP ping). `id`: JSON text. */
export const pong = (id: string): string => `{"jsonrpc":"2.0","id":${id},"result":{}}`;

/** To a request of the upstream's behind which no client is that could be asked. */
export const answerInClientsPlace = (method: string | undefined, id: string): string =>
  method === 'ping' ? pong(id) : refusalOf(id);

/** `mode` of an elicitation; undefined where there is none. */
export function modeOf({ bytes, params }: ResponseEnvelope): string | undefined {
  const mode = params === undefined ? undefined : member(bytes, params, 'mode');
  return mode !== undefined && bytes[mode.start] === 0x22 ? stringAt(bytes, mode.start, mode.end) : undefined;
}

/** A notification of the upstream's: names that clients know, and the id of its own request that it takes back. */
export function notificationEdits(message: ResponseEnvelope, names: Names, sessionId: string | undefined): Edit[] {
  const { bytes, params, method } = message;
  if (params === undefined) return [];
  if (method !== 'notifications/cancelled') return nameEdits(bytes, params, 'params', names);
  const id = member(bytes, params, 'requestId');
  if (id === undefined || sessionId === undefined) return [];
  const parts = [names.connection.name, bytes.toString('utf8', id.start, id.end)];
  return [{ ...id, with: JSON.stringify(names.handles.wrap('request', sessionId, parts)) }];
}
