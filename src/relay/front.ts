/**
 * The gateway's own MCP endpoint, as a client reaches it: for messages that a client sent in a form that is not one POST
 * each (HTTP+SSE, batches). They go through Envoy and a processor like any other, and are audited there.
 */
import { Agent, request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';

export interface FrontRequest {
  readonly method: 'POST' | 'GET' | 'DELETE';
  readonly path: string;
  /** As the client sent them, `host`, `origin` and `authorization` included: they are judged again. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Buffer;
  readonly signal?: AbortSignal;
}

export interface FrontResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** To be read or destroyed. */
  readonly body: IncomingMessage;
}

export interface Front {
  /** Rejects when Envoy cannot be reached or the signal aborts. */
  request(options: FrontRequest): Promise<FrontResponse>;
  close(): void;
}

/** Through Envoy's listener on that unix socket. */
export function createFront(socketPath: string): Front {
  const agent = new Agent({
    keepAlive: true,
    maxSockets: Number.POSITIVE_INFINITY,
    maxFreeSockets: 32,
    scheduling: 'lifo',
  });
  return {
    request({ method, path, headers, body, signal }) {
      return new Promise((resolve, reject) => {
        const outgoing = httpRequest({
          socketPath,
          agent,
          method,
          path,
          headers: body === undefined ? headers : { ...headers, 'content-length': body.length },
          ...(signal === undefined ? {} : { signal }),
        });
        outgoing.once('error', reject);
        outgoing.once('response', (answer) => {
          resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: answer });
        });
        outgoing.end(body);
      });
    },
    close: () => agent.destroy(),
  };
}
