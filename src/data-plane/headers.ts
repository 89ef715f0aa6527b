/** Envoy's header lists as look-ups, and what may pass in either direction. */
import type { RequestHead } from '../exchange/exchange.ts';
import type { HttpHeaders } from '../wire.ts';

export type HeaderMap = ReadonlyMap<string, string>;

/**
 * Names arrive in lower case. Several values of one name are one list (RFC 9110 §5.3): where a single value is expected,
 * such a list is none, so that nobody who reads the first or the last has read another request.
 */
export function readHeaders(message: HttpHeaders): HeaderMap {
  const map = new Map<string, string>();
  for (const { key, raw_value: raw, value } of message.headers?.headers ?? []) {
    const text = raw === undefined || raw.length === 0 ? (value ?? '') : raw.toString('utf8');
    const before = map.get(key);
    map.set(key, before === undefined ? text : `${before}, ${text}`);
  }
  return map;
}

export function requestHead(headers: HeaderMap, endOfStream: boolean): RequestHead {
  return {
    method: headers.get(':method') ?? '',
    path: headers.get(':path') ?? '',
    authority: headers.get(':authority') ?? '',
    header: (name) => headers.get(name),
    names: [...headers.keys()].filter((name) => !name.startsWith(':')),
    endOfStream,
  };
}

/** What a client's request keeps on its way to an upstream; the rest is removed, whatever it is (design rule 4). */
const KEPT_REQUEST = new Set(['content-length', 'transfer-encoding', 'x-request-id', 'traceparent', 'tracestate']);

/** `set`: names that are about to be written, which needs no removal. */
export function headersToRemove(names: readonly string[], set: ReadonlySet<string>): string[] {
  return names.filter((name) => !KEPT_REQUEST.has(name) && !set.has(name) && !isEnvoys(name));
}

/** Envoy finds no route without the one and lets nobody touch the others; the route removes them (xds/routes.ts). */
export const isEnvoys = (name: string): boolean => name === 'x-forwarded-proto' || name.startsWith('x-envoy-');

/** What an upstream's response keeps: cookies, session ids, challenges and server banners are not for our clients. */
const KEPT_RESPONSE = new Set([
  'content-type',
  'content-length',
  'transfer-encoding',
  'content-language',
  'cache-control',
  'date',
  'retry-after',
  'server',
  'x-accel-buffering',
]);

export function responseHeadersToRemove(headers: HeaderMap): string[] {
  const removed: string[] = [];
  for (const name of headers.keys()) if (!name.startsWith(':') && !KEPT_RESPONSE.has(name)) removed.push(name);
  return removed;
}

export const isEventStream = (headers: HeaderMap): boolean =>
  /^text\/event-stream\s*(?:;|$)/i.test(headers.get('content-type') ?? '');
