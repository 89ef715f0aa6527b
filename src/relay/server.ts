/** The relay's HTTP service: which entry serves a request, and how it all ends. */
import { randomUUID } from 'node:crypto';
import { chmod, rm } from 'node:fs/promises';
import type { Http2Server, ServerHttp2Session } from 'node:http2';
import { problems } from '../exchange/problem.ts';
import { readBody } from './body.ts';
import { createRelayListener } from './connections.ts';
import { hostAndPort } from './peers.ts';
import { sendProblem } from './refusal.ts';
import { openTicket, TICKET_HEADER, type Ticket, type Work } from './ticket.ts';
import type { Entry, RelayRequest, RelayResponse, RelayWorld, WorkEntry } from './world.ts';

/** Who serves what; what is missing answers 404. */
export interface Entries {
  /** GET of an MCP endpoint. */
  readonly eventStream?: Entry;
  /** HTTP+SSE clients of 2024-11-05: GET of `…/sse`, POST to `…/messages`. */
  readonly sseClient?: Entry;
  /** What a processor has sent here. */
  readonly work: Partial<Readonly<Record<Exclude<Work, 'passed'>, WorkEntry>>>;
}

export interface RelayServer {
  /** Requests in progress, streams included. */
  readonly open: number;
  /** Waits until nothing is in progress, at most `deadlineMs`; the rest is cut. */
  close(deadlineMs: number): Promise<void>;
}

export interface RelayAddresses {
  /** `unix:PATH`: our own Envoy's way in. */
  readonly local: string;
  /** `HOST:PORT`: for other relays, which bring a ticket; nothing else is served there. */
  readonly remote: string | undefined;
}

export async function startRelayServer(
  { local, remote }: RelayAddresses,
  entries: Entries,
  world: RelayWorld,
): Promise<RelayServer> {
  const sessions = new Set<ServerHttp2Session>();
  let open = 0;
  let whenIdle = (): void => {};
  const closed = (): void => {
    if (--open === 0) whenIdle();
  };
  const servers = await Promise.all(
    [local, ...(remote === undefined ? [] : [remote])].map(async (address) => {
      const server = createRelayListener();
      server.on('request', (request, response) => {
        open++;
        request.stream.once('close', closed);
        serve(request, response, { entries, world, needsTicket: address === remote });
      });
      server.on('session', (session) => {
        sessions.add(session);
        session.once('close', () => sessions.delete(session));
      });
      await listen(server, address);
      return server;
    }),
  );
  return {
    get open() {
      return open;
    },
    async close(deadlineMs) {
      for (const server of servers) server.close();
      if (open > 0) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, deadlineMs);
          whenIdle = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
      for (const session of sessions) session.destroy();
    },
  };
}

interface Service {
  readonly entries: Entries;
  readonly world: RelayWorld;
  /** Whoever connects here is not known by the socket. */
  readonly needsTicket: boolean;
}

function serve(request: RelayRequest, response: RelayResponse, service: Service): void {
  const { world } = service;
  // Nobody else listens for it, and it says no more than `close`.
  request.on('error', () => {});
  response.on('error', () => {});
  // What nobody reads would fill the window that all requests of the connection share.
  if (request.method === 'GET') request.stream.resume();
  if (world.stopping.aborted) {
    sendProblem(response, problems.starting());
    return;
  }
  Promise.resolve()
    .then(() => choose(request, response, service))
    .catch((error: unknown) => {
      // The client went away while its request was being read or answered.
      if (request.stream.destroyed && (error as { code?: string }).code === 'ABORT_ERR') return;
      const incident = randomUUID().slice(0, 8);
      world.log.error({ incident, err: error, path: pathOf(request) }, 'relay request failed');
      if (!response.headersSent) sendProblem(response, problems.internal(incident));
      else response.stream.close();
    });
}

/**
 * A POST to the MCP endpoint comes by way of a processor and has its ticket; what is meant for an upstream has one in
 * every method, and the upstream's own path. The other two kinds come without one, or from another relay, and whatever a
 * client put under that header is gone by then (xds/listeners.ts).
 */
function choose(request: RelayRequest, response: RelayResponse, service: Service): Promise<void> | void {
  const { entries, world, needsTicket } = service;
  const header = request.headers[TICKET_HEADER];
  const ticket = typeof header === 'string' ? openTicket(world.vault, header, Date.now()) : undefined;
  const entry = entryFor(request, entries);
  const isClients = header === undefined ? !needsTicket && entry !== 'none' : ticket?.work === 'passed';
  if (isClients && typeof entry === 'function') return entry(request, response, world);
  if (isClients) return notFound(request, response);
  if (ticket === undefined || ticket.work === 'passed') {
    response.writeHead(403).end();
    return;
  }
  const work = entries.work[ticket.work];
  return work === undefined ? notFound(request, response) : withBody(work, ticket, request, response, world);
}

/** `none`: only a processor sends the like. */
function entryFor(request: RelayRequest, { eventStream, sseClient }: Entries): Entry | undefined | 'none' {
  const path = pathOf(request);
  if (request.method === 'GET') return path.endsWith('/sse') ? sseClient : eventStream;
  return request.method === 'POST' && path.endsWith('/messages') ? sseClient : 'none';
}

/** A processor may have made a body larger than what a client may send. */
const MARGIN_BYTES = 65_536;

async function withBody(
  work: WorkEntry,
  ticket: Ticket,
  request: RelayRequest,
  response: RelayResponse,
  world: RelayWorld,
): Promise<void> {
  const snapshot = world.snapshot();
  if (snapshot === undefined) return void sendProblem(response, problems.starting());
  const limit = snapshot.settings.maxRequestBytes + MARGIN_BYTES;
  const body = request.method === 'POST' ? await readBody(request, limit) : EMPTY;
  if (body === undefined) return void sendProblem(response, problems.tooLarge(limit));
  await work({ request, response, ticket, body, snapshot, world });
}

const EMPTY = Buffer.alloc(0);

const pathOf = (request: RelayRequest): string => request.url.split('?', 1)[0] as string;

const notFound = (request: RelayRequest, response: RelayResponse): void =>
  void sendProblem(response, problems.notFound(pathOf(request).slice(0, 100)));

async function listen(server: Http2Server, address: string): Promise<void> {
  const path = address.startsWith('unix:') ? address.slice('unix:'.length) : undefined;
  if (path !== undefined) await rm(path, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    if (path !== undefined) server.listen(path, resolve);
    else server.listen(hostAndPort(address), resolve);
  });
  if (path !== undefined) await chmod(path, 0o600);
}
