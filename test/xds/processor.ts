import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import {
  BodySendMode,
  extProcService,
  HeaderSendMode,
  type HttpHeaders,
  type ProcessingRequest,
  type ProcessingResponse,
  struct,
} from '../../src/wire.ts';

/**
 * A small ext_proc server that does what the client's `x-test` header says, comma-separated: `route=NAME` (allow and
 * send there), `answer` at the body, `close` the stream cleanly without a decision, `replace` the response by an
 * answer. Remembers the response headers that it saw.
 */
export interface TestProcessor {
  readonly responses: Readonly<Record<string, string>>[];
  stop(): void;
}

type Stream = ServerDuplexStream<ProcessingRequest, ProcessingResponse>;

export async function startProcessor(socketPath: string): Promise<TestProcessor> {
  const responses: Record<string, string>[] = [];
  const server = new Server();
  server.addService(extProcService, {
    Process(call: Stream) {
      let orders: string[] = [];
      const route = () => orders.find((order) => order.startsWith('route='))?.slice(6) ?? '';
      call.on('error', () => {});
      call.on('end', () => call.end());
      call.on('data', (message) => {
        if (message.request_headers) {
          orders = (headersOf(message.request_headers)['x-test'] ?? '').split(',');
          if (orders.includes('close')) call.end();
          else if (message.request_headers.end_of_stream)
            call.write({ request_headers: { response: routed(route()) }, ...allowed, mode_override: RESPONSE_ON });
          else call.write({ request_headers: {}, mode_override: RESPONSE_ON });
        } else if (message.request_body) {
          call.write(
            orders.includes('answer') ? answer() : { request_body: { response: routed(route()) }, ...allowed },
          );
        } else if (message.response_headers) {
          responses.push(headersOf(message.response_headers));
          call.write(orders.includes('replace') ? answer() : { response_headers: {} });
        }
      });
    },
  });
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${socketPath}`, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    );
  });
  return { responses, stop: () => server.forceShutdown() };
}

export const OWN_ANSWER = '{"jsonrpc":"2.0","id":7,"result":"from the processor"}';

const RESPONSE_ON = {
  request_header_mode: HeaderSendMode.SEND,
  request_body_mode: BodySendMode.BUFFERED,
  response_header_mode: HeaderSendMode.SEND,
  response_body_mode: BodySendMode.NONE,
};

const allowed = { dynamic_metadata: struct({ sallyport: { decision: 'allow' } }) };

const routed = (route: string) => ({
  clear_route_cache: true,
  header_mutation: {
    set_headers: [{ header: { key: 'x-sallyport-route', raw_value: Buffer.from(route) } }],
  },
});

const answer = (): ProcessingResponse => ({
  immediate_response: {
    status: { code: 404 },
    body: Buffer.from(OWN_ANSWER),
    details: 'sallyport',
    headers: { set_headers: [{ header: { key: 'content-type', raw_value: Buffer.from('application/json') } }] },
  },
});

const headersOf = (message: HttpHeaders): Record<string, string> =>
  Object.fromEntries((message.headers?.headers ?? []).map(({ key, raw_value }) => [key, raw_value?.toString() ?? '']));
