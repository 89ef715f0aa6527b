/** Servers that speak only HTTP+SSE (MCP 2024-11-05): the official everything server, and one that does what a test says. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Test } from 'tap';
import { packageRoot } from '../../src/package-root.ts';
import { eventually } from '../support/eventually.ts';
import type { Message } from '../support/scripted-upstream.ts';

/** `@modelcontextprotocol/server-everything sse` on that port, once it listens. */
export async function everythingSse(t: Test, port: number): Promise<ChildProcess> {
  const program = join(packageRoot, 'node_modules/@modelcontextprotocol/server-everything/dist/index.js');
  const child = spawn(process.execPath, [program, 'sse'], {
    env: { ...process.env, PORT: String(port) },
    stdio: 'ignore',
  });
  t.teardown(() => child.kill('SIGKILL'));
  await eventually(async () => (await fetch(`http://127.0.0.1:${port}/none`)).status === 404, 20_000);
  return child;
}

export async function killed(child: ChildProcess): Promise<void> {
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await gone;
}

export interface Posted {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  readonly message: Message;
  /** Number of the stream that it belongs to. */
  readonly stream: number;
}

export interface SseServer {
  readonly url: string;
  readonly origin: string;
  readonly posted: Posted[];
  /** Headers of the GETs. */
  readonly opened: IncomingHttpHeaders[];
  /** Streams that are open, by number. */
  readonly streams: Map<number, ServerResponse>;
  /** What a stream says first. */
  endpoint: (stream: number) => string;
  /** What it says instead of that. */
  first: string | undefined;
  /** Answers a request; by default handshake, lists and `echo`. undefined: nothing comes. */
  answer: (posted: Posted) => string | undefined;
  /** Status of the answer to a POST; 202 by default. */
  status: (posted: Posted) => number;
  /** Status of the answer to a GET; anything but 200 is no stream. */
  getStatus: number;
  /** Puts one message, as it is, on a stream. */
  say(stream: number, message: string): void;
  of(method: string): Posted[];
}

const TOOLS = ['echo', 'quiet', 'slow'].map((name) => ({ name, inputSchema: { type: 'object' } }));

export async function sseServer(t: Test): Promise<SseServer> {
  let count = 0;
  const server = createServer((request, response) => {
    const { method, url = '', headers } = request;
    if (method === 'GET' && url.startsWith('/old')) {
      if (self.getStatus !== 200) return void response.writeHead(self.getStatus).end();
      const stream = count++;
      self.opened.push(headers);
      self.streams.set(stream, response);
      response.once('close', () => self.streams.delete(stream));
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(self.first ?? `: hello\r\n\r\nevent: endpoint\r\ndata: ${self.endpoint(stream)}\r\n\r\n`);
      return;
    }
    if (method !== 'POST' || !url.startsWith('/messages')) return void response.writeHead(405).end();
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString();
      const stream = Number(new URL(url, 'http://x').searchParams.get('stream'));
      const posted: Posted = { path: url, headers, text, message: JSON.parse(text) as Message, stream };
      self.posted.push(posted);
      response.writeHead(self.streams.has(stream) ? self.status(posted) : 404).end('Accepted');
      const answer = posted.message.id === undefined ? undefined : self.answer(posted);
      if (answer !== undefined) self.say(stream, answer);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const self: SseServer = {
    url: `${origin}/old`,
    origin,
    posted: [],
    opened: [],
    streams: new Map(),
    endpoint: (stream) => `/messages?stream=${stream}`,
    first: undefined,
    answer: usual,
    status: () => 202,
    getStatus: 200,
    say: (stream, message) => void self.streams.get(stream)?.write(`event: message\ndata: ${message}\n\n`),
    of: (method) => self.posted.filter(({ message }) => message.method === method),
  };
  return self;
}

export function usual({ message: { id, method, params } }: Posted): string | undefined {
  const result = (value: unknown): string => JSON.stringify({ jsonrpc: '2.0', id, result: value });
  switch (method) {
    case 'initialize':
      return result({
        protocolVersion: '2024-11-05',
        capabilities: { tools: { listChanged: true }, logging: {} },
        serverInfo: { name: 'old', version: '1' },
      });
    case 'tools/list':
      return result({ tools: TOOLS });
    case 'tools/call':
      return params?.name === 'echo'
        ? result({ content: [{ type: 'text', text: JSON.stringify(params.arguments) }] })
        : undefined;
    case 'ping':
      return result({});
    default:
      return undefined;
  }
}
