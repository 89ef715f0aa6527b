/**
 * Whatever Sallyport itself sends to an upstream: through Envoy's egress listener, so that TLS, circuit breakers and
 * statistics of an upstream are in one place; or `direct` where the Envoy is not ours. Redirects are not followed.
 */
import { Agent, type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { Vault } from '../credentials/vault.ts';
import { sealUpstreamTicket, TICKET_HEADER } from '../relay/ticket.ts';
import { LOCAL_REPLY_HEADER, RELAY_ROUTE, ROUTE_HEADER } from '../snapshot/revision.ts';
import type { Connection } from '../snapshot/snapshot.ts';

export interface EgressRequest {
  readonly method: 'POST' | 'GET' | 'DELETE';
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Buffer;
  readonly signal: AbortSignal;
  /** The answer stays open for long: it gets a socket of its own and takes none from calls. */
  readonly stream?: boolean;
  /** To the upstream itself, even where the relay stands in its place. */
  readonly raw?: boolean;
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
  /** Rejects with an EgressError. */
  send(connection: Reached, request: EgressRequest): Promise<EgressResponse>;
  close(): void;
}

export type Reached = Pick<Connection, 'route' | 'url' | 'path' | 'tenant' | 'name' | 'catalog'>;

/** Upstreams of HTTP+SSE are out of reach where there is no relay. */
const NEEDS_RELAY =
  'speaks only HTTP+SSE (MCP 2024-11-05); that takes a relay, which comes with the Envoy of Sallyport and not with this one';

/**
 * `target`: `unix:PATH`, `http://HOST:PORT` (an egress listener of Envoy's, which has a route to the relay) or `direct`.
 * `vault`: seals the ticket with which the relay is asked in the place of an HTTP+SSE upstream.
 */
export function createEgress(target: string, vault?: Vault): Egress {
  const options = { keepAlive: true, maxSockets: 256, maxFreeSockets: 32, scheduling: 'lifo' } as const;
  const unlimited = { ...options, maxSockets: Number.POSITIVE_INFINITY };
  const plain = { call: new Agent(options), stream: new Agent(unlimited) };
  const tls = { call: new HttpsAgent(options), stream: new HttpsAgent(unlimited) };
  const kind = ({ stream }: EgressRequest) => (stream === true ? 'stream' : 'call');
  const close = (): void => {
    for (const agent of [plain.call, plain.stream, tls.call, tls.stream]) agent.destroy();
  };
  const isForRelay = ({ catalog }: Reached, { raw }: EgressRequest) => catalog.transport === 'sse' && raw !== true;
  if (target === 'direct') {
    return {
      close,
      send: async (connection, request) => {
        if (isForRelay(connection, request)) throw new EgressError(NEEDS_RELAY);
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
  const wayTo = (connection: Reached, request: EgressRequest): Record<string, string> => {
    if (!isForRelay(connection, request)) return { [ROUTE_HEADER]: connection.route };
    if (vault === undefined) throw new EgressError(NEEDS_RELAY);
    return { [ROUTE_HEADER]: RELAY_ROUTE, [TICKET_HEADER]: sealUpstreamTicket(vault, connection) };
  };
  const via = target.startsWith('unix:')
    ? { socketPath: target.slice('unix:'.length) }
    : { host: new URL(target).hostname, port: new URL(target).port };
  return {
    close,
    send: async (connection, request) => {
      const headers = { ...request.headers, host: connection.url.host, ...wayTo(connection, request) };
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
