/** A caller's headers on their way to the gateway's own front door, so that it is judged there as on any other day. */
import type { IncomingHttpHeaders } from 'node:http';

/** Of one hop or of one message (RFC 9110 §7.6.1), or said anew for each message. */
const OWN_TO_EACH = new Set([
  'connection',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'expect',
  'content-length',
  'content-encoding',
  'accept',
  'accept-encoding',
  'cookie',
  'last-event-id',
  'mcp-session-id',
  'mcp-protocol-version',
  // Each message gets its own: it is what its audit row is found by.
  'x-request-id',
  'x-forwarded-proto',
]);

/** Whatever only the planes say to each other is never taken from outside. */
const isInternal = (name: string): boolean =>
  name.startsWith(':') || name.startsWith('x-sallyport-') || name.startsWith('x-envoy-') || name.startsWith('proxy-');

/** Who calls, from where, and what a connection's `forward` may want: all but what belongs to the one message. */
export function passedHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  const passed: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (typeof value === 'string' && !OWN_TO_EACH.has(name) && !isInternal(name)) passed[name] = value;
  }
  // HTTP/2 has the host in a pseudo-header.
  const authority = headers[':authority'];
  if (typeof authority === 'string') passed.host = authority;
  return passed;
}

/** Headers of one message on the streamable HTTP endpoint. Before `initialize` there is no session. */
export function messageHeaders(
  passed: Readonly<Record<string, string>>,
  session: { readonly header: string; readonly protocolVersion: string } | undefined,
): Record<string, string> {
  return {
    ...passed,
    'content-type': passed['content-type'] ?? 'application/json',
    accept: 'application/json, text/event-stream',
    ...sessionHeaders(session),
  };
}

export const sessionHeaders = (
  session: { readonly header: string; readonly protocolVersion: string } | undefined,
): Record<string, string> =>
  session === undefined ? {} : { 'mcp-session-id': session.header, 'mcp-protocol-version': session.protocolVersion };
