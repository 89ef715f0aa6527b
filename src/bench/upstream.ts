import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { order, orders } from './orders.ts';

/** Tools that the benchmark's upstream offers; the first is `echo`. */
export const TOOL_COUNT = 500;
/** Tools that answer with an order, or with many; only their names differ, for rules that fit one of them. */
const ORDER_TOOLS = ['order_plain', 'order_when', 'order_cached', 'order_asked', 'orders_plain', 'orders_asked'];

/**
 * A small MCP server over streamable HTTP, built not to be the bottleneck: lists serialised once, sessions in a set,
 * and the credential required, so that a run in which token injection failed is a run full of errors.
 * Used where no faster upstream program is at hand. Listens on a free loopback port.
 */
export async function startUpstream(authorization: string): Promise<{ url: string; close(): void }> {
  const tools = JSON.stringify({ tools: Array.from({ length: TOOL_COUNT }, (_, index) => tool(index)) });
  const sessions = new Set<string>();
  const server = createServer({ keepAliveTimeout: 0 }, async (request, response) => {
    const session = request.headers['mcp-session-id'];
    if (request.headers.authorization !== authorization) return send(response, 401, '');
    if (request.method === 'DELETE') return send(response, sessions.delete(String(session)) ? 204 : 404, '');
    if (request.method !== 'POST') return send(response, 405, '');
    const message = JSON.parse((await readAll(request)).toString('utf8'));
    if (message.method === 'initialize') {
      const opened = randomUUID();
      sessions.add(opened);
      response.setHeader('mcp-session-id', opened);
      return send(response, 200, result(message.id, initialized(message.params.protocolVersion)));
    }
    if (!sessions.has(String(session))) return send(response, 404, '');
    if (message.id === undefined) return send(response, 202, '');
    if (message.method === 'tools/list') return send(response, 200, result(message.id, tools));
    if (message.method === 'tools/call') {
      return send(response, 200, result(message.id, call(message.params.name, message.params.arguments.text ?? '')));
    }
    return send(response, 200, result(message.id, '{}'));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/mcp`,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

function call(name: string, text: string): string {
  if (name.startsWith('order_')) return order(text);
  if (name.startsWith('orders_')) return orders(text);
  return `{"content":[{"type":"text","text":${JSON.stringify(text)}}]}`;
}

function tool(index: number): object {
  const name = index === 0 ? 'echo' : (ORDER_TOOLS[index - 1] ?? `tool_${String(index).padStart(4, '0')}`);
  const text = `Tool ${name}. Looks up records in the system of record and returns the matching rows as content. `;
  const filter = { type: 'object', properties: { field: { type: 'string' }, value: { type: 'string' } } };
  return {
    name,
    description: text.repeat(2).slice(0, 160),
    inputSchema: {
      type: 'object',
      properties: {
        text: { type: 'string', description: 'Text to echo back, or what to look for' },
        limit: { type: 'integer', minimum: 1, maximum: 100, default: 20 },
        cursor: { type: 'string', description: 'Where the last page ended' },
        filters: { type: 'array', items: filter },
      },
      required: ['text'],
    },
  };
}

function initialized(version: string): string {
  const serverInfo = '{"name":"bench","version":"1"}';
  return `{"protocolVersion":${JSON.stringify(version)},"capabilities":{"tools":{}},"serverInfo":${serverInfo}}`;
}

const result = (id: unknown, body: string): string => `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":${body}}`;

function send(response: ServerResponse, status: number, body: string): void {
  if (body) response.setHeader('content-type', 'application/json');
  response.writeHead(status, { 'content-length': Buffer.byteLength(body) });
  response.end(body);
}

async function readAll(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
