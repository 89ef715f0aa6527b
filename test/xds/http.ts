import { createServer, type IncomingHttpHeaders, type RequestListener, request, type Server } from 'node:http';
import { createServer as createTlsServer, request as tlsRequest } from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import type { TlsOptions } from 'node:tls';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface Call {
  readonly port?: number;
  readonly socketPath?: string;
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** TLS with these options. */
  readonly tls?: { readonly ca: string; readonly cert?: string; readonly key?: string };
}

/** One request on a connection of its own. */
export function send(call: Call): Promise<Answer> {
  const { tls, body = '{}', method = 'POST', path = '/mcp', headers = {} } = call;
  const target =
    call.socketPath === undefined ? { host: '127.0.0.1', port: call.port } : { socketPath: call.socketPath };
  const options = { ...target, method, path, headers, agent: false, ...tls };
  return new Promise((resolve, reject) => {
    const outgoing = (tls === undefined ? request : tlsRequest)(options, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk) => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }));
      response.on('error', reject);
    });
    outgoing.on('error', reject).end(method === 'GET' ? undefined : body);
  });
}

/** Bytes as they are; resolves with all that came back until the other side closed. */
export function sendRaw(port: number, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    socket.on('data', (chunk) => {
      text += chunk;
    });
    socket.on('error', reject).on('close', () => resolve(text));
  });
}

export interface Upstream {
  readonly port: number;
  stop(): Promise<void>;
}

/** An upstream that answers with what it received (`{ url, headers, bytes }`), or as `respond` says. */
export async function startUpstream(tls?: TlsOptions, respond: RequestListener = echo, port = 0): Promise<Upstream> {
  const server: Server = tls === undefined ? createServer(respond) : createTlsServer(tls, respond);
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

const echo: RequestListener = (incoming, response) => {
  let bytes = 0;
  incoming.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
  });
  incoming.on('end', () => {
    response.setHeader('x-sallyport-local-reply', 'forged');
    response.end(JSON.stringify({ url: incoming.url, headers: incoming.headers, bytes }));
  });
};

/** A TCP port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const { port, stop } = await startUpstream();
  await stop();
  return port;
}
