/** Real MCP servers to stand behind the gateway: the official everything server, and one that does what a test asks. */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type ServerOptions } from 'node:https';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import type { Test } from 'tap';
import { packageRoot } from '../../src/package-root.ts';
import { eventually } from './eventually.ts';

export async function freePort(): Promise<number> {
  const server = createTcpServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** `@modelcontextprotocol/server-everything` over streamable HTTP. */
export async function startEverything(t: Test): Promise<{ url: string; pid: number }> {
  const port = await freePort();
  const program = join(packageRoot, 'node_modules/@modelcontextprotocol/server-everything/dist/index.js');
  const child = spawn(process.execPath, [program, 'streamableHttp'], {
    env: { ...process.env, PORT: String(port) },
    stdio: 'ignore',
  });
  t.teardown(() => child.kill('SIGKILL'));
  const url = `http://127.0.0.1:${port}/mcp`;
  await eventually(async () => (await fetch(url, { method: 'GET' })).status > 0, 20_000);
  return { url, pid: child.pid ?? 0 };
}

/** One request as it arrived. */
export interface Arrival {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
  readonly message: {
    id?: unknown;
    method?: string;
    params?: { name?: string; cursor?: string; arguments?: Record<string, unknown> };
  };
}

export interface ProgrammableUpstream {
  readonly url: string;
  readonly port: number;
  readonly arrivals: Arrival[];
  /** Calls of tools that arrived. */
  calls(): Arrival[];
  /** Sessions that are open here. */
  readonly sessions: Set<string>;
  behaviour: Behaviour;
  /** Tells the open event streams. */
  notify(method: string): void;
  /** Stops listening and drops every connection; `start` listens on the same port again. */
  stop(): Promise<void>;
  start(): Promise<void>;
}

export interface Behaviour {
  tools: { name: string; [key: string]: unknown }[];
  /** Answers to tools/call; undefined leaves it to the default (an echo of the arguments). */
  onCall?: (arrival: Arrival, response: ServerResponse) => boolean | Promise<boolean>;
  sessions: boolean;
  /** What an unknown session is answered: 404 by the specification, 400 by many servers. */
  lostStatus: 404 | 400;
  pageSize: number;
  /** Answers events instead of JSON. */
  sse: boolean;
  /** Required `authorization` header; 401 otherwise. */
  authorization?: string;
}

const DEFAULTS: Behaviour = {
  tools: [{ name: 'echo', description: 'Echoes.', inputSchema: { type: 'object' } }],
  sessions: true,
  lostStatus: 404,
  pageSize: 1000,
  sse: false,
};

/** A small MCP server of the test's own; with `tls`, over https. */
export async function startUpstream(
  t: Test,
  behaviour: Partial<Behaviour> = {},
  tls?: ServerOptions,
): Promise<ProgrammableUpstream> {
  const arrivals: Arrival[] = [];
  const sessions = new Set<string>();
  const streams = new Set<ServerResponse>();
  const handler = (request: IncomingMessage, response: ServerResponse): void => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString();
      const message = body.startsWith('{') ? (JSON.parse(body) as Arrival['message']) : {};
      const arrival = {
        method: request.method ?? '',
        path: request.url ?? '',
        headers: request.headers,
        body,
        message,
      };
      arrivals.push(arrival);
      void answer(arrival, response);
    });
  };
  const server = tls === undefined ? createServer(handler) : createTlsServer(tls, handler);
  const listen = (port: number): Promise<void> =>
    new Promise((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve));
  await listen(0);
  const { port } = server.address() as AddressInfo;

  async function answer(arrival: Arrival, response: ServerResponse): Promise<void> {
    const { behaviour: how } = upstream;
    const { message, headers } = arrival;
    if (how.authorization !== undefined && headers.authorization !== how.authorization) {
      response
        .writeHead(401, { 'www-authenticate': 'Bearer resource_metadata="https://elsewhere.example/"' })
        .end('no');
      return;
    }
    const sessionId = headers['mcp-session-id'] as string | undefined;
    if (how.sessions && message.method !== 'initialize' && (sessionId === undefined || !sessions.has(sessionId))) {
      reply(response, how.lostStatus, {
        jsonrpc: '2.0',
        error: { code: -32000, message: 'No valid session' },
        id: null,
      });
      return;
    }
    if (arrival.method === 'GET') {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(': hello\n\n');
      streams.add(response);
      response.on('close', () => streams.delete(response));
      return;
    }
    if (arrival.method === 'DELETE') {
      if (sessionId !== undefined) sessions.delete(sessionId);
      response.writeHead(204).end();
      return;
    }
    switch (message.method) {
      case 'initialize': {
        const id = randomUUID();
        if (how.sessions) sessions.add(id);
        const result = {
          protocolVersion: '2025-06-18',
          capabilities: { tools: { listChanged: true } },
          serverInfo: { name: 'fixture', version: '1' },
        };
        reply(response, 200, { jsonrpc: '2.0', id: message.id, result }, how.sessions ? { 'mcp-session-id': id } : {});
        return;
      }
      case 'tools/list': {
        const from = Number(message.params?.cursor ?? 0);
        const tools = how.tools.slice(from, from + how.pageSize);
        const nextCursor = from + how.pageSize < how.tools.length ? { nextCursor: String(from + how.pageSize) } : {};
        reply(response, 200, { jsonrpc: '2.0', id: message.id, result: { tools, ...nextCursor } });
        return;
      }
      case 'tools/call': {
        if ((await how.onCall?.(arrival, response)) === true) return;
        const result = { content: [{ type: 'text', text: JSON.stringify(message.params?.arguments ?? {}) }] };
        if (how.sse) events(response, [{ jsonrpc: '2.0', id: message.id, result }]);
        else reply(response, 200, { jsonrpc: '2.0', id: message.id, result });
        return;
      }
      default:
        if (message.id === undefined) response.writeHead(202).end();
        else
          reply(response, 200, { jsonrpc: '2.0', id: message.id, error: { code: -32601, message: 'no such method' } });
    }
  }

  const upstream: ProgrammableUpstream = {
    url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}/mcp`,
    port,
    arrivals,
    calls: () => arrivals.filter((arrival) => arrival.message.method === 'tools/call'),
    sessions,
    behaviour: { ...DEFAULTS, ...behaviour },
    notify(method) {
      for (const stream of streams)
        stream.write(`event: message\ndata: ${JSON.stringify({ jsonrpc: '2.0', method })}\n\n`);
    },
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

export function reply(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  const text = JSON.stringify(body);
  response
    .writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text), ...headers })
    .end(text);
}

export function events(response: ServerResponse, messages: readonly unknown[]): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  for (const message of messages) response.write(`event: message\ndata: ${JSON.stringify(message)}\n\n`);
  response.end();
}
