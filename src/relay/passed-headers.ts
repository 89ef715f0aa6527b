/** A request's headers on their way to where the relay sends it on: all but what belongs to one hop, or to one message. */
import type { IncomingHttpHeaders } from 'node:http';

/** Of one hop (RFC 9110 §7.6.1), of one body, or said anew for each request. */
const NEVER = [
  'host',
  'connection',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'expect',
  'content-length',
  'accept',
  'accept-encoding',
  'last-event-id',
  'mcp-session-id',
];
/** Whatever only the planes say to each other is never taken from outside. */
const INTERNAL = [':', 'x-sallyport-', 'x-envoy-', 'proxy-'];

/** To an upstream: the caller's headers hold its credential, and were chosen for it by an allow-list. */
const NOT_TO_UPSTREAM = new Set([...NEVER, 'content-type']);
export const headersToUpstream = (headers: IncomingHttpHeaders): Record<string, string> =>
  without(NOT_TO_UPSTREAM, headers);

const NOT_TO_FRONT = new Set([
  ...NEVER,
  'content-encoding',
  'cookie',
  'mcp-protocol-version',
  // Each message gets its own: it is what its audit row is found by.
  'x-request-id',
  'x-forwarded-proto',
]);

/** To the gateway's own front door, so that the caller is judged there as on any other day. */
export function headersToFront(headers: IncomingHttpHeaders): Record<string, string> {
  const passed = without(NOT_TO_FRONT, headers);
  // HTTP/2 has the host in a pseudo-header.
  const host = headers[':authority'] ?? headers.host;
  return typeof host === 'string' ? { ...passed, host } : passed;
}

/** Headers of one message on the streamable HTTP endpoint. Before `initialize` there is no session. */
export function messageHeaders(
  passed: Readonly<Record<string, string>>,
  session: FrontSession | undefined,
): Record<string, string> {
  return {
    ...passed,
    'content-type': passed['content-type'] ?? 'application/json',
    accept: 'application/json, text/event-stream',
    ...sessionHeaders(session),
  };
}

/** As the endpoint knows it. */
export interface FrontSession {
  readonly header: string;
  readonly protocolVersion: string;
}

export const sessionHeaders = (session: FrontSession | undefined): Record<string, string> =>
  session === undefined ? {} : { 'mcp-session-id': session.header, 'mcp-protocol-version': session.protocolVersion };

function without(left: ReadonlySet<string>, headers: IncomingHttpHeaders): Record<string, string> {
  const passed: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (typeof value !== 'string' || left.has(name) || INTERNAL.some((prefix) => name.startsWith(prefix))) continue;
    passed[name] = value;
  }
  return passed;
}
