/** Whose child an exchange's span is: W3C Trace Context in `_meta` (MCP SEP-414), else in the request's headers. */
import type { Context } from '@opentelemetry/api';
import type { Exchange } from '../exchange/exchange.ts';
import type { Envelope } from '../mcp/envelope.ts';
import { stringAt, walkObject } from '../mcp/json.ts';

type Api = Pick<typeof import('@opentelemetry/api'), 'ROOT_CONTEXT' | 'trace' | 'createTraceState'>;

/** version 00: version-traceid-parentid-flags; later versions may say more (W3C Trace Context §3.2). */
const TRACEPARENT =
  /^(?:00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})|(?!ff|00)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?)$/;

/** The agent's own word comes first: a header may be from whatever stood in between. */
export function callerContext(api: Api, { head, envelope }: Exchange): Context {
  const told = envelope?.meta === undefined ? undefined : readMembers(envelope, envelope.meta.start);
  return (
    parent(api, told?.traceparent, told?.tracestate) ??
    parent(api, head.header('traceparent'), head.header('tracestate')) ??
    api.ROOT_CONTEXT
  );
}

function parent(api: Api, traceparent: string | undefined, tracestate: string | undefined): Context | undefined {
  const found = TRACEPARENT.exec(traceparent?.trim() ?? '');
  if (found === null) return undefined;
  const [traceId = '', spanId = '', flags = ''] = found.slice(1).filter((part) => part !== undefined);
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  return api.trace.setSpanContext(api.ROOT_CONTEXT, {
    traceId,
    spanId,
    traceFlags: Number.parseInt(flags, 16) & 1,
    isRemote: true,
    ...(tracestate !== undefined && { traceState: api.createTraceState(tracestate) }),
  });
}

function readMembers({ bytes }: Envelope, metaStart: number): { traceparent?: string; tracestate?: string } {
  const found: { traceparent?: string; tracestate?: string } = {};
  walkObject(bytes, metaStart, 2, (key, from, to) => {
    if ((key === 'traceparent' || key === 'tracestate') && bytes[from] === 0x22) found[key] = stringAt(bytes, from, to);
  });
  return found;
}
