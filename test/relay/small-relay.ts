/** A relay's HTTP service in this process, with a front door whose other side a test plays. */
import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from 'node:http2';
import { connect as connectSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { createFront } from '../../src/relay/front.ts';
import { Peers } from '../../src/relay/peers.ts';
import { Pulse } from '../../src/relay/pulse.ts';
import { type Entries, startRelayServer } from '../../src/relay/server.ts';
import { WatchList } from '../../src/relay/watched.ts';
import type { RelayWorld } from '../../src/relay/world.ts';
import { type Stage, stage } from '../support/conversation.ts';
import { freePort } from '../support/upstream.ts';

/** What came to the front door. */
export interface Knock {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
  readonly message: { id?: unknown; method?: string };
  readonly response: ServerResponse;
  /** The relay let go of it before it was answered. */
  isAborted: boolean;
}

export interface FrontDoor {
  readonly knocks: Knock[];
  readonly socket: string;
  /** What is answered; sessions and GET streams are, unless it returns true. */
  onKnock: (knock: Knock) => boolean | undefined;
}

/** A streamable HTTP endpoint that opens the sessions of this stage's world and does else what the test says. */
export async function frontDoor(t: Test, { world, key }: Stage, protocolVersion = '2024-11-05'): Promise<FrontDoor> {
  const socket = join(tmpdir(), `sp-front-${randomUUID().slice(0, 8)}.sock`);
  const door: FrontDoor = { knocks: [], socket, onKnock: () => undefined };
  const binding = `api_key:${world.keys.find(key)?.id}`;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString();
      let message: Knock['message'] = {};
      try {
        message = JSON.parse(text) as Knock['message'];
      } catch {
        // Garbage is a test's own business.
      }
      const { method = '', url: path = '', headers } = request;
      const knock: Knock = { method, path, headers, text, message, response, isAborted: false };
      response.once('close', () => {
        knock.isAborted = !response.writableFinished;
      });
      door.knocks.push(knock);
      if (door.onKnock(knock) === true) return;
      if (method === 'GET') response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': hello\n\n');
      else if (method === 'DELETE') response.writeHead(204).end();
      else if (message.method === 'initialize') {
        const namespace = path.split('/').at(-2) || 'default';
        const { header } = world.sessionIds.mint({
          tenant: 'default',
          namespace,
          binding,
          protocolVersion,
          clientName: 'old/1',
          capabilities: '{}',
        });
        json(
          response,
          200,
          { jsonrpc: '2.0', id: message.id, result: { protocolVersion } },
          { 'mcp-session-id': header },
        );
      } else if (message.id === undefined) response.writeHead(202).end();
      else json(response, 200, { jsonrpc: '2.0', id: message.id, result: {} });
    });
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
    rmSync(socket, { force: true });
  });
  return door;
}

export function json(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
}

export interface SmallRelay {
  readonly stage: Stage;
  readonly door: FrontDoor;
  /** Where other relays reach it. */
  readonly address: string;
  readonly world: RelayWorld;
  /** Where this one finds others. */
  readonly addresses: Map<string, string>;
  stop(): void;
  ask(method: string, path: string, options?: Ask): Promise<Told>;
  /** A GET, or with a body a POST, that is answered with events. */
  listen(path: string, options?: Ask): Promise<Listener>;
}

export interface Ask {
  readonly headers?: Record<string, string | undefined>;
  readonly body?: string | Buffer;
  /** Gives up after the request has been sent. */
  readonly signal?: AbortSignal;
}

export interface Told {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

export interface Listener {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** The next event, comments left out; undefined at the end. */
  next(): Promise<{ event: string; data: string } | undefined>;
  /** Stops reading, and goes on. */
  pause(): void;
  resume(): void;
  close(): void;
}

/** `entries` of the relay; another relay of the same deployment is given the first one's stage and door. */
export async function smallRelay(
  t: Test,
  entries: Entries,
  shared: { stage: Stage; door: FrontDoor } | undefined = undefined,
): Promise<SmallRelay> {
  const theStage = shared?.stage ?? stage();
  const door = shared?.door ?? (await frontDoor(t, theStage));
  const stopping = new AbortController();
  const addresses = new Map<string, string>();
  const pulse = new Pulse();
  const watched = new WatchList(theStage.world.snapshot, () => theStage.world.keys.version);
  const store: RelayWorld['store'] = {
    addressOf: async (id) => addresses.get(id),
    holderOf: async () => undefined,
    subscriptions: async () => new Map(),
    changed: async () => [],
    streamOpened: async () => {},
    streamClosed: async () => {},
    allStreamsClosed: async () => {},
    followed: async () => {},
  };
  const world: RelayWorld = {
    ...theStage.world,
    relayId: randomUUID(),
    front: createFront(door.socket),
    peers: new Peers(store, theStage.world.vault),
    store,
    pulse,
    watched,
    async endSession(session) {
      await theStage.world.endSession(session);
      watched.endSession(session.id);
    },
    stopping: stopping.signal,
  };
  const stop = (): void => {
    stopping.abort();
    watched.drain();
  };
  const local = join(tmpdir(), `sp-relay-${randomUUID().slice(0, 8)}.sock`);
  const address = `127.0.0.1:${await freePort()}`;
  const server = await startRelayServer({ local: `unix:${local}`, remote: address }, entries, world);
  const clients = [connect('http://relay', { createConnection: () => connectSocket(local) })];
  let begun = 0;
  /** As Envoy does, no connection carries so many requests that nghttp2 would end it for their resets. */
  const client = (): ClientHttp2Session => {
    if (++begun % 300 === 0) clients.push(connect('http://relay', { createConnection: () => connectSocket(local) }));
    return clients.at(-1) as ClientHttp2Session;
  };
  t.teardown(async () => {
    for (const one of clients) one.destroy();
    stop();
    pulse.stop();
    await server.close(200);
    world.front.close();
    rmSync(local, { force: true });
  });

  function request(method: string, path: string, { headers = {}, body, signal }: Ask) {
    const all = {
      ':method': method,
      ':path': path,
      ':authority': '127.0.0.1:8080',
      authorization: `Bearer ${theStage.key}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    };
    const stream = client().request(all, {
      endStream: body === undefined,
      ...(signal === undefined ? {} : { signal }),
    });
    stream.on('error', () => {});
    if (body !== undefined) stream.end(body);
    return stream;
  }

  return {
    stage: theStage,
    door,
    address,
    world,
    stop,
    addresses,
    ask: (method, path, options = {}) =>
      new Promise((resolve, reject) => {
        const stream = request(method, path, options);
        let head: IncomingHttpHeaders = {};
        const chunks: Buffer[] = [];
        stream.on('response', (headers) => {
          head = headers;
        });
        stream.on('data', (chunk: Buffer) => chunks.push(chunk));
        stream.on('end', () => {
          const status = (head as { ':status'?: number })[':status'] ?? 0;
          resolve({ status, headers: head, text: Buffer.concat(chunks).toString() });
        });
        stream.on('close', () => reject(new Error('no answer')));
      }),
    listen: (path, options = {}) =>
      new Promise((resolve, reject) => {
        const stream = request(options.body === undefined ? 'GET' : 'POST', path, options);
        let text = '';
        let isOver = false;
        let wake = (): void => {};
        stream.setEncoding('utf8');
        stream.on('data', (chunk: string) => {
          text += chunk;
          wake();
        });
        const over = (): void => {
          isOver = true;
          wake();
        };
        stream.on('end', over).on('close', over);
        stream.on('close', () => reject(new Error('no answer')));
        stream.on('response', (headers) =>
          resolve({
            status: headers[':status'] ?? 0,
            headers,
            pause: () => void stream.pause(),
            resume: () => void stream.resume(),
            close: () => stream.close(),
            async next() {
              for (;;) {
                const end = text.indexOf('\n\n');
                if (end < 0 && isOver) return undefined;
                if (end < 0) {
                  await new Promise<void>((resolve) => {
                    wake = resolve;
                  });
                  continue;
                }
                const lines = text.slice(0, end).split('\n');
                text = text.slice(end + 2);
                const value = (name: string): string =>
                  lines
                    .flatMap((line) => (line.startsWith(`${name}: `) ? [line.slice(name.length + 2)] : []))
                    .join('\n');
                if (!lines.every((line) => line.startsWith(':'))) return { event: value('event'), data: value('data') };
              }
            },
          }),
        );
      }),
  };
}
