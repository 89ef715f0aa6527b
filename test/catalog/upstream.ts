/** An MCP server of either era that does what a test tells it to, and the connection that leads to it. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Test } from 'tap';
import { EMPTY_CATALOG } from '../../src/snapshot/compile.ts';
import type { Connection } from '../../src/snapshot/snapshot.ts';

export interface Asked {
  readonly verb: string;
  readonly method: string;
  readonly headers: IncomingMessage['headers'];
  readonly params: Record<string, unknown>;
  readonly id: unknown;
  /** Of an answer to a question of the server's. */
  readonly result?: unknown;
  readonly error?: unknown;
}

/** Answers by itself: true. Else the server does what its era does. */
export type Habit = (asked: Asked, response: ServerResponse) => boolean;

export interface Upstream {
  readonly connection: Connection;
  readonly asked: Asked[];
  era: 'legacy' | 'modern';
  habit: Habit;
  capabilities: Record<string, unknown>;
  /** Pages by method; each page is the JSON text of a result's members. */
  pages: Record<string, string[]>;
  /** Sessions of the legacy era: minted, or none. */
  hasSessions: boolean;
  ttlMs: number;
  /** Streams that are open. */
  readonly streams: Set<ServerResponse>;
  /** On every stream; with an id it is a question. */
  tell(method: string, id?: number): void;
  methods(): string[];
}

export function reply(
  response: ServerResponse,
  status: number,
  body: string,
  headers: Record<string, string> = {},
): true {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body);
  return true;
}

export const rpcError = (id: unknown, code: number, data?: unknown): string =>
  JSON.stringify({ jsonrpc: '2.0', id, error: { code, message: 'no', ...(data !== undefined && { data }) } });

export async function startUpstream(t: Test, given: Partial<Upstream> = {}): Promise<Upstream> {
  let sessions = 0;
  const asked: Asked[] = [];
  const streams = new Set<ServerResponse>();
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString();
      const message = (text === '' ? {} : JSON.parse(text)) as { id?: unknown; method?: string; params?: object };
      const one: Asked = {
        ...message,
        verb: request.method ?? '',
        method: message.method ?? '',
        headers: request.headers,
        params: { ...message.params },
        id: message.id,
      };
      asked.push(one);
      if (upstream.habit(one, response)) return;
      if (upstream.era === 'modern') modern(one, response);
      else legacy(one, response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`);

  function stream(response: ServerResponse): void {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': hello\n\n');
    streams.add(response);
    response.on('close', () => streams.delete(response));
  }

  function list(one: Asked, response: ServerResponse, extra: string): void {
    const pages = upstream.pages[one.method];
    if (pages === undefined) return void reply(response, 200, rpcError(one.id, -32601));
    const cursors = ['', ...pages.keys()].map(String);
    const at = one.params.cursor === undefined ? 0 : cursors.indexOf(one.params.cursor as string) + 1;
    // The first cursor that this server gives is the empty string.
    const next = at + 1 < pages.length ? `,"nextCursor":"${cursors[at]}"` : '';
    reply(response, 200, `{"jsonrpc":"2.0","id":${JSON.stringify(one.id)},"result":{${pages[at]}${next}${extra}}}`);
  }

  function legacy(one: Asked, response: ServerResponse): void {
    const session = one.headers['mcp-session-id'];
    if (one.method === 'initialize') {
      const result = {
        protocolVersion: '2025-06-18',
        capabilities: upstream.capabilities,
        serverInfo: { name: 'old', version: '1' },
        instructions: 'ask nicely',
      };
      const headers = upstream.hasSessions ? { 'mcp-session-id': `s${++sessions}` } : {};
      reply(response, 200, JSON.stringify({ jsonrpc: '2.0', id: one.id, result }), headers as Record<string, string>);
    } else if (upstream.hasSessions && session !== `s${sessions}`) {
      reply(response, 400, '{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Server not initialized"}}');
    } else if (one.verb === 'GET') stream(response);
    else if (one.id === undefined || one.method === '') response.writeHead(202).end();
    else list(one, response, '');
  }

  function modern(one: Asked, response: ServerResponse): void {
    const meta = one.params._meta as Record<string, unknown> | undefined;
    const version = meta?.['io.modelcontextprotocol/protocolVersion'];
    if (
      version === undefined ||
      one.headers['mcp-method'] !== one.method ||
      one.headers['mcp-protocol-version'] !== version
    ) {
      return void reply(response, 400, rpcError(one.id ?? null, -32020));
    }
    const hints = `,"resultType":"complete","ttlMs":${upstream.ttlMs},"cacheScope":"public"`;
    if (one.method === 'subscriptions/listen') {
      stream(response);
      const told = { jsonrpc: '2.0', method: 'notifications/subscriptions/acknowledged', params: one.params };
      response.write(`data: ${JSON.stringify(told)}\n\n`);
    } else if (one.method === 'server/discover') {
      const info = { 'io.modelcontextprotocol/serverInfo': { name: 'new', version: '2' } };
      const members = JSON.stringify({
        supportedVersions: ['2026-07-28'],
        capabilities: upstream.capabilities,
        instructions: 'ask nicely',
        _meta: info,
      }).slice(1, -1);
      reply(response, 200, `{"jsonrpc":"2.0","id":${JSON.stringify(one.id)},"result":{${members}${hints}}}`);
    } else list(one, response, hints);
  }

  const upstream: Upstream = {
    connection: {
      id: 'c',
      name: 'c',
      tenant: 'default',
      route: 'default/c',
      url,
      path: '/mcp',
      session: 'auto',
      timeoutMs: 30_000,
      refreshMs: 60_000,
      forward: new Set(),
      injection: { fault: undefined, credentialId: undefined, headers: [['x-key', 'k']], query: undefined },
      catalog: EMPTY_CATALOG,
    },
    asked,
    era: 'modern',
    habit: () => false,
    capabilities: { tools: { listChanged: true } },
    pages: { 'tools/list': ['"tools":[{"name":"a","inputSchema":{"type":"object"}}]'] },
    hasSessions: true,
    ttlMs: 3_600_000,
    streams,
    tell(method, id) {
      for (const one of streams) one.write(`data: ${JSON.stringify({ jsonrpc: '2.0', id, method })}\n\n`);
    },
    methods: () => asked.map(({ verb, method }) => method || verb),
    ...given,
  };
  return upstream;
}
