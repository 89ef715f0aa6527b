import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { addTools } from './tools.ts';

/** A running demo server. */
export interface Demo {
  /** Its MCP endpoint. */
  readonly url: string;
  close(): Promise<void>;
}

/** Sessions kept at most; beyond that the one that was idle longest goes. */
const MAX_SESSIONS = 200;
/** A session that nobody used for this long is closed. */
const IDLE_MS = 10 * 60_000;
/** Far more than any of the tools needs. */
const MAX_BODY_BYTES = 1024 * 1024;

interface Session {
  readonly transport: StreamableHTTPServerTransport;
  usedAt: number;
  /** Requests being answered, open event streams among them. */
  open: number;
}

/**
 * A real MCP server (streamable HTTP, with sessions) with a few harmless tools, so that a gateway without any
 * configuration has something to show. Loopback only.
 */
export async function runDemo(options: { readonly port: number }): Promise<Demo> {
  const sessions = new Map<string, Session>();
  const http = createServer((request, response) => {
    answer(sessions, request, response).catch((error: Error) => refuse(response, 500, -32603, error.message));
  });
  const reaper = setInterval(() => reap(sessions, Date.now() - IDLE_MS), 60_000).unref();
  await listen(http, options.port);
  const { port } = http.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/mcp`,
    close: async () => {
      clearInterval(reaper);
      await Promise.all([...sessions.values()].map(({ transport }) => transport.close()));
      await new Promise((resolve) => {
        http.close(resolve);
        http.closeAllConnections();
      });
    },
  };
}

/** How long a port that somebody has is waited for. Milliseconds. */
const PORT_MS = 3000;

/** The port was free when it was chosen; whoever has had it since, such as a client's own connection, mostly lets go soon. */
async function listen(http: Server, port: number): Promise<void> {
  const givesUpAt = performance.now() + PORT_MS;
  for (;;) {
    try {
      await new Promise<void>((resolve, reject) => {
        http.once('error', reject);
        http.listen(port, '127.0.0.1', () => {
          http.off('error', reject);
          resolve();
        });
      });
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || performance.now() > givesUpAt) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

async function answer(
  sessions: Map<string, Session>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (request.url?.split('?')[0] !== '/mcp') return refuse(response, 404, -32601, 'The MCP endpoint is /mcp.');
  const id = request.headers['mcp-session-id'];
  const known = typeof id === 'string' ? sessions.get(id) : undefined;
  if (id !== undefined && !known) return refuse(response, 404, -32001, 'Unknown session. Initialize a new one.');
  const body = request.method === 'POST' ? await readJson(request) : undefined;
  if (body === TOO_LARGE) return refuse(response, 413, -32600, 'The body is too large.');
  if (body === MALFORMED) return refuse(response, 400, -32700, 'The body is not JSON.');
  const session = known ?? (await openSession(sessions));
  session.usedAt = Date.now();
  session.open += 1;
  response.once('close', () => {
    session.usedAt = Date.now();
    session.open -= 1;
  });
  // Without a session id, the transport takes nothing but `initialize`, and says so.
  await session.transport.handleRequest(request, response, body);
}

async function openSession(sessions: Map<string, Session>): Promise<Session> {
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    onsessioninitialized: (id) => {
      if (sessions.size >= MAX_SESSIONS) dropIdlest(sessions);
      sessions.set(id, session);
    },
    onsessionclosed: (id) => {
      sessions.delete(id);
    },
  });
  const session: Session = { transport, usedAt: Date.now(), open: 0 };
  const server = new McpServer({ name: 'sallyport-demo', title: 'Sallyport demo', version: '1.0.0' });
  addTools(server);
  await server.connect(transport);
  return session;
}

function reap(sessions: Map<string, Session>, before: number): void {
  for (const [id, session] of sessions) {
    if (session.open === 0 && session.usedAt < before) drop(sessions, id, session);
  }
}

function dropIdlest(sessions: Map<string, Session>): void {
  const [idlest] = [...sessions].sort(([, a], [, b]) => a.usedAt - b.usedAt);
  if (idlest) drop(sessions, ...idlest);
}

function drop(sessions: Map<string, Session>, id: string, { transport }: Session): void {
  sessions.delete(id);
  void transport.close();
}

const TOO_LARGE = Symbol('too large');
const MALFORMED = Symbol('malformed');

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size <= MAX_BODY_BYTES) chunks.push(chunk);
  }
  if (size > MAX_BODY_BYTES) return TOO_LARGE;
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    return MALFORMED;
  }
}

function refuse(response: ServerResponse, status: number, code: number, message: string): void {
  if (response.headersSent) return void response.end();
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ jsonrpc: '2.0', id: null, error: { code, message } }));
}
