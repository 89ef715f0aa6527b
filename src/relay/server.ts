/** The relay's HTTP service: which entry serves a request, and how it all ends. */
import { randomUUID } from 'node:crypto';
import { chmod, rm } from 'node:fs/promises';
import type { Http2Server, ServerHttp2Session } from 'node:http2';
import { problems } from '../exchange/problem.ts';
import { createRelayListener } from './connections.ts';
import { sendProblem } from './refusal.ts';
import { openTicket, TICKET_HEADER, type Ticket, type Work } from './ticket.ts';
import type { Entry, RelayRequest, RelayResponse, RelayWorld } from './world.ts';

/** Who serves what; what is missing answers 404. */
export interface Entries {
  /** GET of an MCP endpoint. */
  readonly eventStream?: Entry;
  /** HTTP+SSE clients of 2024-11-05: GET of `…/sse`, POST to `…/messages`. */
  readonly sseClient?: Entry;
  /** POSTs that a processor has sent here. */
  readonly work: Partial<Readonly<Record<Work, Entry>>>;
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
  const serveWith = (served: Entries) => (request: RelayRequest, response: RelayResponse) => {
    open++;
    request.stream.once('close', closed);
    serve(request, response, served, world);
  };
  const listeners = [{ address: local, served: entries }];
  if (remote !== undefined) listeners.push({ address: remote, served: { work: entries.work } });
  const servers = await Promise.all(
    listeners.map(async ({ address, served }) => {
      const server = createRelayListener();
      server.on('request', serveWith(served));
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

function serve(request: RelayRequest, response: RelayResponse, entries: Entries, world: RelayWorld): void {
  // Nobody else listens for it, and it says no more than `close`.
  request.on('error', () => {});
  response.on('error', () => {});
  // What nobody reads would fill the window that all requests of the connection share.
  if (request.method === 'GET') request.stream.resume();
  if (world.stopping.aborted) {
    sendProblem(response, problems.starting());
    return;
  }
  const { entry, ticket } = choose(request, entries, world);
  if (entry === 'forbidden') {
    response.writeHead(403).end();
    return;
  }
  if (entry === undefined) {
    sendProblem(response, problems.notFound(request.url.split('?', 1)[0]?.slice(0, 100) ?? ''));
    return;
  }
  Promise.resolve()
    .then(() => entry(request, response, world, ticket))
    .catch((error: unknown) => {
      // The client went away while its request was being read or answered.
      if (request.stream.destroyed && (error as { code?: string }).code === 'ABORT_ERR') return;
      const incident = randomUUID().slice(0, 8);
      world.log.error({ incident, err: error, path: request.url.split('?', 1)[0] }, 'relay request failed');
      if (!response.headersSent) sendProblem(response, problems.internal(incident));
      else response.stream.close();
    });
}

/**
 * A POST to the MCP endpoint comes by way of a processor and has its ticket; what is meant for an upstream has one in
 * every method, and the upstream's own path. The other two kinds come without one, and whatever a client put under that
 * header is gone by then (xds/listeners.ts).
 */
function choose(
  request: RelayRequest,
  entries: Entries,
  world: RelayWorld,
): { entry: Entry | 'forbidden' | undefined; ticket: Ticket | undefined } {
  const path = request.url.split('?', 1)[0] as string;
  const header = request.headers[TICKET_HEADER];
  if (header === undefined && request.method === 'GET') {
    return { entry: path.endsWith('/sse') ? entries.sseClient : entries.eventStream, ticket: undefined };
  }
  if (header === undefined && request.method === 'POST' && path.endsWith('/messages')) {
    return { entry: entries.sseClient, ticket: undefined };
  }
  const ticket = typeof header === 'string' ? openTicket(world.vault, header, Date.now()) : undefined;
  return { entry: ticket === undefined ? 'forbidden' : entries.work[ticket.work], ticket };
}

async function listen(server: Http2Server, address: string): Promise<void> {
  const path = address.startsWith('unix:') ? address.slice('unix:'.length) : undefined;
  if (path !== undefined) await rm(path, { force: true });
  const colon = address.lastIndexOf(':');
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    if (path !== undefined) server.listen(path, resolve);
    else server.listen(Number(address.slice(colon + 1)), address.slice(0, colon).replace(/^\[|\]$/g, ''), resolve);
  });
  if (path !== undefined) await chmod(path, 0o600);
}
