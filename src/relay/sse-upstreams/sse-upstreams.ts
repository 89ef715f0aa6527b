/**
 * Upstreams that speak only HTTP+SSE (MCP 2024-11-05): towards its callers, which are Sallyport's own parts, the relay
 * behaves as the streamable HTTP server of a legacy era that such an upstream is not.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { problems } from '../../exchange/problem.ts';
import { type Envelope, EnvelopeError, idText, parseEnvelope } from '../../mcp/envelope.ts';
import type { Connection } from '../../snapshot/snapshot.ts';
import { openAddress } from '../address.ts';
import { headersToUpstream } from '../passed-headers.ts';
import { sendProblem } from '../refusal.ts';
import type { Ticket } from '../ticket.ts';
import type { RelayRequest, RelayResponse, RelayWorld, WorkEntry } from '../world.ts';
import type { SseSession } from './session.ts';
import { ownerOf, SessionTable, type SessionTableOptions } from './session-table.ts';

export interface SseUpstreams {
  /** Requests with work `upstream`. */
  readonly entry: WorkEntry;
  /** Sessions that are open. */
  readonly size: number;
  /** Takes nothing new; what is under way has `graceMs` left. */
  close(graceMs: number): void;
}

/** A connection that the control plane has just begun to watch may be news here. Milliseconds. */
const NEWS_MS = 3000;

export function createSseUpstreams(options: SessionTableOptions = {}): SseUpstreams {
  const table = new SessionTable(options);

  const entry: WorkEntry = async ({ request, response, world, ticket, body }) => {
    const connection = await connectionOf(ticket, world);
    if (connection === undefined) return void sendProblem(response, problems.relayAway());
    const envelope = body.length === 0 ? undefined : read(body, response);
    if (envelope === 'refused') return;
    const id = idText(envelope);
    const asked = { request, response, world, connection, envelope };
    const value = request.headers['mcp-session-id'];
    if (typeof value !== 'string') {
      if (envelope?.kind === 'request' && envelope.method === 'initialize') return table.open({ ...asked, envelope });
      return void sendProblem(response, problems.sessionMissing(), id);
    }
    const address = openAddress(world.vault, ownerOf(connection), value);
    if (address !== undefined && address.relayId !== world.relayId) {
      const how = await world.peers.pass(address.relayId, request, body, response);
      // Nothing was done there: the caller opens another session and asks again. Else only it knows whether it may.
      if (how === 'unreached') sendProblem(response, problems.sessionUnknown('its relay is gone'), id);
      else if (how === 'lost') sendProblem(response, problems.relayAway(), id);
      return;
    }
    const session = address === undefined ? undefined : table.find(address.id, connection);
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

interface Asked {
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
    const headers = headersToUpstream(request.headers);
    if (envelope.kind === 'request') return session.request(envelope, headers, response);
    return session.tell(envelope, headers, response);
  }
  if (request.method === 'GET') session.follow(response);
  else if (request.method === 'DELETE') {
    session.close();
    response.writeHead(204).end();
  } else response.writeHead(405, { allow: 'POST, GET, DELETE' }).end();
}

async function connectionOf(ticket: Ticket, world: RelayWorld): Promise<Connection | undefined> {
  const until = Date.now() + NEWS_MS;
  for (;;) {
    const tenant = world.snapshot()?.tenants.get(ticket.tenant);
    const found = tenant?.connections.get(ticket.connection ?? '');
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

const UNKNOWN = problems.sessionUnknown('no such session with an upstream');
