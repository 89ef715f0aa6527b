/**
 * Whatever Sallyport itself sends to an upstream: through Envoy's egress listener, so that TLS, circuit breakers and
 * statistics of an upstream are in one place; or `direct` where the Envoy is not ours. Redirects are not followed.
 */
import { Agent, type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { LOCAL_REPLY_HEADER, ROUTE_HEADER } from '../snapshot/revision.ts';
import type { Connection } from '../snapshot/snapshot.ts';

export interface EgressRequest {
  readonly method: 'POST' | 'GET' | 'DELETE';
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Buffer;
  readonly signal: AbortSignal;
  /** The answer stays open for long: it gets a socket of its own and takes none from calls. */
  readonly stream?: boolean;
}

export interface EgressResponse {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: IncomingMessage;
  /** Envoy's word on why it answered in the upstream's place (`UF upstream_reset…`). */
  readonly localReply: string | undefined;
}

/** The upstream could not be asked: refused, reset, timed out, aborted. */
export class EgressError extends Error {}

export interface Egress {
  send(connection: Pick<Connection, 'route' | 'url' | 'path'>, request: EgressRequest): Promise<EgressResponse>;
  close(): void;
}

/** `target`: `unix:PATH`, `http://HOST:PORT` (an egress listener of Envoy's) or `direct`. */
export function createEgress(target: string): Egress {
  const options = { keepAlive: true, maxSockets: 256, maxFreeSockets: 32, scheduling: 'lifo' } as const;
  const unlimited = { ...options, maxSockets: Number.POSITIVE_INFINITY };
  const plain = { call: new Agent(options), stream: new Agent(unlimited) };
  const tls = { call: new HttpsAgent(options), stream: new HttpsAgent(unlimited) };
  const kind = ({ stream }: EgressRequest) => (stream === true ? 'stream' : 'call');
  const close = (): void => {
    for (const agent of [plain.call, plain.stream, tls.call, tls.stream]) agent.destroy();
  };
  if (target === 'direct') {
    return {
      close,
      send: (connection, request) => {
        const { url } = connection;
        const host = { host: url.hostname.replace(/^\[|\]$/g, ''), port: url.port };
        return url.protocol === 'https:'
          ? exchange(
              request,
              httpsRequest({ ...base(request), ...host, agent: tls[kind(request)], servername: url.hostname }),
            )
          : exchange(request, httpRequest({ ...base(request), ...host, agent: plain[kind(request)] }));
      },
    };
  }
  const via = target.startsWith('unix:')
    ? { socketPath: target.slice('unix:'.length) }
    : { host: new URL(target).hostname, port: new URL(target).port };
  return {
    close,
    send: (connection, request) => {
      const headers = { ...request.headers, host: connection.url.host, [ROUTE_HEADER]: connection.route };
      return exchange(request, httpRequest({ ...base({ ...request, headers }), ...via, agent: plain[kind(request)] }));
    },
  };
}

function base(request: EgressRequest): {
  method: string;
  path: string;
  headers: Record<string, string | number>;
  signal: AbortSignal;
} {
  const length = request.body === undefined ? {} : { 'content-length': request.body.length };
  return {
    method: request.method,
    path: request.path,
    headers: { ...request.headers, ...length },
    signal: request.signal,
  };
}

function exchange(request: EgressRequest, outgoing: ClientRequest): Promise<EgressResponse> {
  return new Promise((resolve, reject) => {
    outgoing.once('error', (error) => reject(new EgressError(error.message, { cause: error })));
    outgoing.once('response', (body) => {
      const local = body.headers[LOCAL_REPLY_HEADER];
      resolve({
        status: body.statusCode ?? 0,
        headers: body.headers,
        body,
        localReply: typeof local === 'string' ? local : undefined,
      });
    });
    outgoing.end(request.body);
  });
}
