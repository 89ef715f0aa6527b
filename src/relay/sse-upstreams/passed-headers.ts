/** The caller's headers on their way to the upstream: they hold its credential, and were chosen for it by an allow-list. */
import type { IncomingHttpHeaders } from 'node:http';

/** Of one hop or of one body (RFC 9110 §7.6.1), of our own session, or said anew for each request. */
const NOT_PASSED = new Set([
  'host',
  'connection',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'expect',
  'content-length',
  'content-type',
  'accept',
  'accept-encoding',
  'last-event-id',
  'mcp-session-id',
]);
const INTERNAL = [':', 'x-sallyport-', 'x-envoy-', 'proxy-'];

export function passedHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  const passed: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (typeof value !== 'string' || NOT_PASSED.has(name) || INTERNAL.some((prefix) => name.startsWith(prefix)))
      continue;
    passed[name] = value;
  }
  return passed;
}
