/** The part that upstreams of both eras share: an HTTP server that records everything and answers when the test says. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Test } from 'tap';

export interface Message {
  readonly jsonrpc?: string;
  readonly id?: unknown;
  readonly method?: string;
  readonly params?: Record<string, unknown> & { _meta?: Record<string, unknown>; name?: string; uri?: string };
  readonly result?: unknown;
  readonly error?: { code: number; message: string };
}

/** One HTTP request, and the means to answer it piece by piece. */
export interface Call {
  readonly httpMethod: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
  readonly message: Message;
  readonly session: string | undefined;
  readonly response: ServerResponse;
  /** The other side has let go before the answer was complete. */
  readonly isAborted: boolean;
  /** The answer is over, for whichever reason. */
  readonly closed: Promise<void>;
  /** Begins an event stream unless it has begun, and sends a message on it. */
  event(message: unknown, fields?: { id?: string; retry?: number }): void;
  /** Bytes as they are, on an event stream. */
  raw(bytes: string | Buffer): void;
  /** Ends the stream. */
  end(): void;
  /** A whole JSON answer. */
  json(message: unknown, status?: number, headers?: Record<string, string>): void;
  /** A whole JSON answer with this result; on a stream that has begun, its last event. */
  result(result: unknown): void;
  error(code: number, message: string, data?: unknown, status?: number): void;
  /** A notification about this request. */
  progress(progress: number): void;
}

export interface ScriptedUpstream {
  readonly url: string;
  readonly port: number;
  /** Everything that came, in order. */
  readonly calls: Call[];
  /** Calls of one method, in order. */
  of(method: string): Call[];
  /** The next call that `holds` kept for the test; waits for it. */
  nextCall(withinMs?: number): Promise<Call>;
  /** Which requests are left to the test: by default those of something called `held…`. */
  holds: (call: Call) => boolean;
  /** By method: what is answered instead of the usual. */
  readonly handlers: Record<string, (call: Call) => void>;
  stop(): Promise<void>;
  start(): Promise<void>;
}

const nameOf = ({ params }: Message): string => String(params?.name ?? params?.uri ?? '');

/** `answer`: what this kind of server does with a request that is not held. */
export async function startScripted(
  t: Test,
  answer: (call: Call, upstream: ScriptedUpstream) => void,
): Promise<ScriptedUpstream> {
  const calls: Call[] = [];
  const held: Call[] = [];
  const waiting: ((call: Call) => void)[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const call = callOf(request, response, Buffer.concat(chunks).toString());
      calls.push(call);
      const handler = upstream.handlers[call.message.method ?? ''];
      if (handler !== undefined) handler(call);
      else if (!upstream.holds(call)) answer(call, upstream);
      else {
        const next = waiting.shift();
        if (next === undefined) held.push(call);
        else next(call);
      }
    });
  });
  const listen = (port: number): Promise<void> =>
    new Promise((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve));
  await listen(0);
  const { port } = server.address() as AddressInfo;
  const upstream: ScriptedUpstream = {
    url: `http://127.0.0.1:${port}/mcp`,
    port,
    calls,
    of: (method) => calls.filter(({ message }) => message.method === method),
    nextCall(withinMs = 10_000) {
      const ready = held.shift();
      if (ready !== undefined) return Promise.resolve(ready);
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          waiting.splice(waiting.indexOf(take), 1);
          reject(new Error(`No call was held within ${withinMs} ms`));
        }, withinMs);
        const take = (call: Call): void => {
          clearTimeout(timer);
          resolve(call);
        };
        waiting.push(take);
      });
    },
    holds: ({ httpMethod, message }) =>
      httpMethod === 'POST' && message.id !== undefined && nameOf(message).includes('held'),
    handlers: {},
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
    start: () => listen(port),
  };
  t.teardown(() => (server.listening ? upstream.stop() : undefined));
  return upstream;
}

function callOf(request: IncomingMessage, response: ServerResponse, body: string): Call {
  let message: Message = {};
  try {
    message = JSON.parse(body) as Message;
  } catch {
    // GET and DELETE have no body, and what is no JSON is a test's own business.
  }
  const begin = (): void => {
    if (response.headersSent) return;
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
  };
  const call: Call = {
    httpMethod: request.method ?? '',
    headers: request.headers,
    body,
    message,
    session: request.headers['mcp-session-id'] as string | undefined,
    response,
    get isAborted() {
      return response.destroyed && !response.writableFinished;
    },
    closed: new Promise((resolve) => response.once('close', resolve)),
    event(one, { id, retry } = {}) {
      begin();
      const head = `${id === undefined ? '' : `id: ${id}\n`}${retry === undefined ? '' : `retry: ${retry}\n`}`;
      response.write(`${head}event: message\ndata: ${typeof one === 'string' ? one : JSON.stringify(one)}\n\n`);
    },
    raw(bytes) {
      begin();
      response.write(bytes);
    },
    end() {
      begin();
      response.end();
    },
    json(one, status = 200, headers = {}) {
      const text = typeof one === 'string' ? one : JSON.stringify(one);
      const length = Buffer.byteLength(text);
      response
        .writeHead(status, { 'content-type': 'application/json', 'content-length': length, ...headers })
        .end(text);
    },
    result(result) {
      finish({ jsonrpc: '2.0', id: message.id, result });
    },
    error(code, text, data, status = 200) {
      finish({ jsonrpc: '2.0', id: message.id ?? null, error: { code, message: text, data } }, status);
    },
    progress(progress) {
      const progressToken = message.params?._meta?.progressToken;
      call.event({ jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken, progress } });
    },
  };
  const finish = (one: unknown, status = 200): void => {
    if (!response.headersSent) call.json(one, status);
    else {
      call.event(one);
      call.end();
    }
  };
  return call;
}

/** One page of a list. Cursors are positions, the empty string the one after the first page: it is a valid cursor. */
export function page<T>(items: readonly T[], size: number, cursor: unknown): { items: T[]; next: string | undefined } {
  const from = cursor === undefined ? 0 : cursor === '' ? size : Number(cursor);
  const end = from + size;
  return {
    items: items.slice(from, end),
    next: end >= items.length ? undefined : from === 0 ? '' : String(end),
  };
}
