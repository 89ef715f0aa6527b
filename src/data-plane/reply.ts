/** Outcomes → ProcessingResponse: the only builder of what Envoy is told. */
import type { Answer, Exchange, UpstreamCall } from '../exchange/exchange.ts';
import { type Problem, problemBody } from '../exchange/problem.ts';
import { idText } from '../mcp/envelope.ts';
import { EDGE_ROUTE, ROUTE_HEADER } from '../snapshot/revision.ts';
import { BodySendMode, encodeProcessingResponse, HeaderSendMode, type ProcessingResponse, struct } from '../wire.ts';
import { type HeaderMap, headersToRemove, isEnvoys, isEventStream, responseHeadersToRemove } from './headers.ts';

/** Says which answer is meant, on the way to the edge service. */
export const ANSWER_HEADER = 'x-sallyport-answer';

type SetHeader = { readonly header: { readonly key: string; readonly raw_value: Buffer } };

const setHeader = (key: string, value: string): SetHeader => ({ header: { key, raw_value: Buffer.from(value) } });

/** The gate behind ext_proc lets nothing through without it (envoy.md: a stream that ends cleanly fails open). */
const ALLOW = struct({ sallyport: { decision: 'allow' } });
/** Full duplex demands trailers (ext_proc.proto). */
const FULL_DUPLEX = {
  response_body_mode: BodySendMode.FULL_DUPLEX_STREAMED,
  response_trailer_mode: HeaderSendMode.SEND,
} as const;

/** Begins the details of every answer of ours: Envoy's local_reply_config leaves those alone (xds/local-replies.ts). */
const DETAILS = 'sallyport';

/**
 * The response phase is configured off and switched on here (xds/listeners.ts says what it would catch otherwise).
 * `ASK`: Envoy waits at the response headers and asks how the body is to be seen. `DUPLEX`: headers and body come at
 * once, which saves a round trip per call; every byte then passes through here.
 */
const askFirst = encodeProcessingResponse({
  request_headers: {},
  mode_override: {
    request_header_mode: HeaderSendMode.SEND,
    request_body_mode: BodySendMode.BUFFERED,
    response_header_mode: HeaderSendMode.SEND,
    response_body_mode: BodySendMode.NONE,
  },
});
const duplex = encodeProcessingResponse({
  request_headers: {},
  mode_override: {
    request_header_mode: HeaderSendMode.SEND,
    request_body_mode: BodySendMode.BUFFERED,
    response_header_mode: HeaderSendMode.SEND,
    ...FULL_DUPLEX,
  },
});

export const continueRequestHeaders = (isDuplex: boolean): Buffer => (isDuplex ? duplex : askFirst);
export const CONTINUE_RESPONSE_BODY = encodeProcessingResponse({ response_body: {} });
export const CONTINUE_REQUEST_TRAILERS = encodeProcessingResponse({ request_trailers: {} });
export const CONTINUE_RESPONSE_TRAILERS = encodeProcessingResponse({ response_trailers: {} });

/** Path, route, headers and body in one reply; Envoy itself calls the upstream. */
export function forward(exchange: Exchange, call: UpstreamCall): ProcessingResponse {
  const set = [setHeader(':path', call.path), setHeader(ROUTE_HEADER, call.route)];
  const names = new Set<string>();
  for (const [name, value] of call.headers) {
    set.push(setHeader(name, value));
    names.add(name);
  }
  // A changed body needs its new length; without a length the request stays chunked.
  if (call.bodyChanged && exchange.head.header('content-length') !== undefined) {
    set.push(setHeader('content-length', String(call.body.length)));
  }
  return {
    request_body: {
      response: {
        clear_route_cache: true,
        header_mutation: { set_headers: set, remove_headers: headersToRemove(exchange.head.names, names) },
        ...(call.bodyChanged ? { body_mutation: { body: call.body } } : {}),
      },
    },
    dynamic_metadata: ALLOW,
  };
}

/** Sends the request to a processor's HTTP service, which writes the answer without a detour through gRPC. */
export function toEdge(exchange: Exchange, key: string): ProcessingResponse {
  const names = exchange.head.names.filter((name) => name !== 'content-length' && !isEnvoys(name));
  return {
    request_body: {
      response: {
        clear_route_cache: true,
        header_mutation: {
          set_headers: [
            setHeader(':method', 'GET'),
            setHeader(':path', '/answer'),
            setHeader(ROUTE_HEADER, EDGE_ROUTE),
            setHeader(ANSWER_HEADER, key),
            setHeader('content-length', '0'),
          ],
          remove_headers: names,
        },
        body_mutation: { clear_body: true },
      },
    },
    dynamic_metadata: ALLOW,
  };
}

export function immediate(answer: Answer): ProcessingResponse {
  const body =
    answer.body.length === 1 ? answer.body[0] : answer.body.length === 0 ? undefined : Buffer.concat(answer.body);
  return {
    immediate_response: {
      status: { code: answer.status },
      headers: { set_headers: answer.headers.map(([name, value]) => setHeader(name, value)) },
      ...(body === undefined ? {} : { body }),
      details: DETAILS,
    },
  };
}

/** A refusal in the shape its reader understands: a tool result for tools/call, else a JSON-RPC error. */
export function problemAnswer(exchange: Exchange | undefined, problem: Problem): Answer {
  const { envelope } = exchange ?? {};
  const isRequest = envelope?.kind === 'request';
  // The id of a client's answer may be that of a request of its own, which this is not about.
  const id = isRequest ? idText(envelope) : 'null';
  const isToolCall = isRequest && envelope.method === 'tools/call';
  const { status, body } = problemBody(problem, id, isToolCall, exchange?.client?.era ?? 'legacy');
  return { kind: 'answer', status, headers: [['content-type', 'application/json'], ...problem.headers], body: [body] };
}

/**
 * Response headers go on, cleaned. `body`: how the response body is to be seen; `as chosen` in a duplex conversation.
 * `status`: the body will be JSON of ours under this one.
 */
export function continueResponse(
  headers: HeaderMap,
  body: 'none' | 'buffered' | 'streamed' | 'as chosen',
  status?: number,
): ProcessingResponse {
  const remove = responseHeadersToRemove(headers);
  // Pieces may be edited. Envoy drops the length by itself only where it has known of the pieces from the start.
  if (body === 'streamed' && headers.has('content-length')) remove.push('content-length');
  const set = status !== undefined ? ourJson(status) : isEventStream(headers) ? [UNBUFFERED] : [];
  const mutation = {
    ...(remove.length === 0 ? {} : { remove_headers: remove }),
    ...(set.length === 0 ? {} : { set_headers: set }),
  };
  const mode = body === 'buffered' ? BUFFERED : body === 'streamed' ? FULL_DUPLEX : undefined;
  return {
    response_headers: { response: remove.length === 0 && set.length === 0 ? {} : { header_mutation: mutation } },
    ...(mode === undefined ? {} : { mode_override: { response_header_mode: HeaderSendMode.SEND, ...mode } }),
  };
}

/** Tells proxies before us to pass events on as they come (MCP 2026-07-28, Streamable HTTP, "Receiving Messages"). */
const UNBUFFERED = setHeader('x-accel-buffering', 'no');

const BUFFERED = { response_body_mode: BodySendMode.BUFFERED } as const;
const ourJson = (status: number): SetHeader[] => [
  setHeader(':status', String(status)),
  setHeader('content-type', 'application/json'),
];

/** Replaces a buffered response body; `status` as for `continueResponse`. */
export function replaceBody(body: Buffer, status: number | undefined): ProcessingResponse {
  const set = [setHeader('content-length', String(body.length)), ...(status === undefined ? [] : ourJson(status))];
  return { response_body: { response: { header_mutation: { set_headers: set }, body_mutation: { body } } } };
}

/** One piece of a streamed response body. */
export function streamPiece(body: Buffer, endOfStream: boolean): ProcessingResponse {
  return {
    response_body: { response: { body_mutation: { streamed_response: { body, end_of_stream: endOfStream } } } },
  };
}

/** More time for this message: the default runs out while a call is being repeated. */
export function extendTimeout(ms: number): ProcessingResponse {
  return { override_message_timeout: { seconds: Math.floor(ms / 1000), nanos: (ms % 1000) * 1e6 } };
}
