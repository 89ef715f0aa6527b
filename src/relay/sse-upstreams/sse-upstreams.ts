/**
 * Upstreams that speak only HTTP+SSE (MCP 2024-11-05): towards its callers, which are Sallyport's own parts, the relay
 * behaves as the streamable HTTP server of a legacy era that such an upstream is not.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { problems } from '../../exchange/problem.ts';
import { type Envelope, EnvelopeError, idText, parseEnvelope } from '../../mcp/envelope.ts';
import type { Connection } from '../../snapshot/snapshot.ts';
import { readBody } from '../body.ts';
import { Peers } from '../bridge/peers.ts';
import { sendProblem } from '../refusal.ts';
import type { Ticket } from '../ticket.ts';
import type { Entry, RelayRequest, RelayResponse, RelayWorld } from '../world.ts';
import { openAddress } from './address.ts';
import { forward } from './forward.ts';
import { passedHeaders } from './passed-headers.ts';
import type { SseSession } from './session.ts';
import { SessionTable, type SessionTableOptions } from './session-table.ts';

export interface SseUpstreams {
  /** Requests with work `upstream`. */
  readonly entry: Entry;
  /** Sessions that are open. */
  readonly size: number;
  /** Takes nothing new; what is under way has `graceMs` left. */
  close(graceMs: number): void;
}

/** Our own edits may have made a body larger than what a client may send. */
const MARGIN_BYTES = 65_536;
/** A connection that the control plane has just begun to watch may be news here. Milliseconds. */
const NEWS_MS = 3000;

export function createSseUpstreams(options: SessionTableOptions = {}): SseUpstreams {
  const table = new SessionTable(options);
  const peers = new Peers();

  const entry: Entry = async (request, response, world, ticket) => {
    const limit = (world.snapshot()?.settings.maxRequestBytes ?? 0) + MARGIN_BYTES;
    const body = request.method === 'POST' ? await readBody(request, limit) : EMPTY;
    if (body === undefined) return void sendProblem(response, problems.tooLarge(limit));
    const connection = await connectionOf(ticket, world);
    if (connection === undefined) return void sendProblem(response, problems.relayAway());
    const envelope = body === EMPTY ? undefined : read(body, response);
    if (envelope === 'refused') return;
    const id = idText(envelope);
    const asked = { request, response, world, connection, envelope };
    const value = request.headers['mcp-session-id'];
    if (typeof value !== 'string') {
      if (envelope?.kind === 'request' && envelope.method === 'initialize') return table.open({ ...asked, envelope });
      return void sendProblem(response, problems.sessionMissing(), id);
    }
    const address = openAddress(world.vault, connection, value);
    if (address !== undefined && address.relayId !== world.relayId) {
      return forward(peers, address.relayId, { request, body, response, world, id });
    }
    const session = address === undefined ? undefined : table.find(address.sessionId, connection);
    if (session === undefined) return void sendProblem(response, UNKNOWN, id);
    return serve(session, asked);
  };

  return {
    entry,
    get size() {
      return table.size;
    },
    close: (graceMs) => table.drain(graceMs),
  };
}

export interface Asked {
  readonly request: RelayRequest;
  readonly response: RelayResponse;
  readonly world: RelayWorld;
  readonly connection: Connection;
  /** Of a POST. */
  readonly envelope: Envelope | undefined;
}

function serve(session: SseSession, { request, response, envelope }: Asked): void | Promise<void> {
  if (response.stream.destroyed) return;
  if (envelope !== undefined) {
    const headers = passedHeaders(request.headers);
    if (envelope.kind === 'request') return session.request(envelope, headers, response);
    return session.tell(envelope, headers, response);
  }
  if (request.method === 'GET') session.follow(response);
  else if (request.method === 'DELETE') {
    session.close();
    response.writeHead(204).end();
  } else response.writeHead(405, { allow: 'POST, GET, DELETE' }).end();
}

async function connectionOf(ticket: Ticket | undefined, world: RelayWorld): Promise<Connection | undefined> {
  const until = Date.now() + NEWS_MS;
  for (;;) {
    const found = world
      .snapshot()
      ?.tenants.get(ticket?.tenant ?? '')
      ?.connections.get(ticket?.connection ?? '');
    if (found !== undefined || Date.now() > until || world.stopping.aborted) return found;
    await delay(50);
  }
}

function read(body: Buffer, response: RelayResponse): Envelope | 'refused' {
  try {
    return parseEnvelope(body);
  } catch (error) {
    if (!(error instanceof EnvelopeError)) throw error;
    sendProblem(response, problems.invalidRequest(error.message));
    return 'refused';
  }
}

const EMPTY = Buffer.alloc(0);
const UNKNOWN = problems.sessionUnknown('no such session with an upstream');
