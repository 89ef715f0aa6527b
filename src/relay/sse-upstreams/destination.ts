/** For whom a message of the upstream's is: its one stream carries what streamable HTTP would put on many. */
import { JsonError, type Span, stringAt } from '../../mcp/json.ts';
import { parseResponse } from '../../mcp/response.ts';
import { member } from '../../translate/member.ts';

export type Destination =
  /** A response, to the request with this key. */
  | { readonly to: 'request'; readonly key: string; readonly isError: boolean }
  /** To the request with this progress token. */
  | { readonly to: 'token'; readonly key: string }
  /** Most likely about a request that is being served. */
  | { readonly to: 'latest' }
  /** About no request. */
  | { readonly to: 'listener' }
  /** A ping, answered here (MCP ping: of one hop). `id`: JSON text. */
  | { readonly to: 'us'; readonly id: string }
  | { readonly to: 'nobody' };

/** What servers send in the middle of a call, beside their requests. */
const IN_A_CALL = new Set(['notifications/message', 'notifications/cancelled']);

export function destinationOf(bytes: Buffer): Destination {
  const message = parseResponse(bytes);
  if (message === undefined) return NOBODY;
  const { kind, id, method, params } = message;
  const key = id === undefined ? undefined : keyOf(bytes, id);
  if (kind !== 'message') return key === undefined ? NOBODY : { to: 'request', key, isError: kind === 'error' };
  if (id !== undefined) {
    return method === 'ping' ? { to: 'us', id: bytes.toString('utf8', id.start, id.end) } : { to: 'latest' };
  }
  if (method === 'notifications/progress') {
    const token = params === undefined ? undefined : tokenIn(bytes, params);
    return token === undefined ? NOBODY : { to: 'token', key: token };
  }
  return IN_A_CALL.has(method ?? '') ? { to: 'latest' } : { to: 'listener' };
}

const NOBODY = { to: 'nobody' } as const;

/**
 * An id or a progress token, equal for all ways to write it: the upstream may have written it anew (`"a/b"` for
 * `"a\/b"`, or a number as JavaScript rounds it). undefined: it is neither a string nor a number.
 */
export function keyOf(bytes: Buffer, { start, end }: Span): string | undefined {
  if (bytes[start] !== 0x22) {
    const value = Number(bytes.toString('latin1', start, end));
    return Number.isNaN(value) || bytes[start] === 0x6e ? undefined : `n${value}`;
  }
  try {
    return `s${stringAt(bytes, start, end)}`;
  } catch (error) {
    if (error instanceof JsonError) return undefined;
    throw error;
  }
}

function tokenIn(bytes: Buffer, params: Span): string | undefined {
  try {
    const token = member(bytes, params, 'progressToken');
    return token === undefined ? undefined : keyOf(bytes, token);
  } catch (error) {
    if (error instanceof JsonError) return undefined;
    throw error;
  }
}
