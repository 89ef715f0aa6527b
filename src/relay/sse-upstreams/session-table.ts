/** The sessions of one relay: how they begin, how many there may be, and how they are forgotten. */
import { type Envelope, idText } from '../../mcp/envelope.ts';
import type { Connection } from '../../snapshot/snapshot.ts';
import { sealAddress } from '../address.ts';
import { headersToUpstream } from '../passed-headers.ts';
import { sendProblem } from '../refusal.ts';
import type { RelayRequest, RelayResponse, RelayWorld } from '../world.ts';
import { openStream } from './open-stream.ts';
import { SseSession } from './session.ts';
import { busy } from './upstream-problems.ts';

export interface SessionTableOptions {
  /** Sessions of this process, and with one upstream. Each costs both sides a stream. */
  readonly maxSessions?: number;
  readonly maxOfOne?: number;
  /** A session with which nothing was done for so long is closed. Milliseconds. */
  readonly idleMs?: number;
}

export interface Opening {
  readonly request: RelayRequest;
  readonly response: RelayResponse;
  readonly world: RelayWorld;
  readonly connection: Connection;
  /** The `initialize`. */
  readonly envelope: Envelope;
}

/** For the stream and its endpoint, beside which `initialize` has the call's own time. Milliseconds. */
const OPEN_MS = 10_000;

export class SessionTable {
  private readonly sessions = new Map<string, SseSession>();
  private readonly maxSessions: number;
  private readonly maxOfOne: number;
  private readonly sweeper: NodeJS.Timeout;
  /** By connection id: streams that are being opened. */
  private readonly opening = new Map<string, number>();

  constructor({ maxSessions = 4000, maxOfOne = 2000, idleMs = 10 * 60_000 }: SessionTableOptions) {
    this.maxSessions = maxSessions;
    this.maxOfOne = maxOfOne;
    this.sweeper = setInterval(() => this.sweep(Date.now() - idleMs), Math.max(50, idleMs / 20));
    this.sweeper.unref();
  }

  get size(): number {
    return this.sessions.size;
  }

  /** undefined: there is none, or it is with another upstream than the connection has now. */
  find(id: string, connection: Connection): SseSession | undefined {
    const found = this.sessions.get(id);
    if (found === undefined) return undefined;
    if (!isSame(found.connection, connection)) {
      found.close();
      return undefined;
    }
    found.connection = connection;
    return found;
  }

  /** Answers the `initialize`: with the upstream's answer and the id of the session. */
  async open({ request, response, world, connection, envelope }: Opening): Promise<void> {
    const refuse = (problem: Parameters<typeof sendProblem>[1]): void =>
      void sendProblem(response, problem, idText(envelope));
    if (!this.hasRoomFor(connection)) return refuse(busy('sessions with this MCP server are open'));
    const gone = new AbortController();
    const onClose = (): void => gone.abort();
    response.stream.once('close', onClose);
    if (response.stream.destroyed) return;
    const headers = headersToUpstream(request.headers);
    this.count(connection, 1);
    const stream = await openStream({
      egress: world.egress,
      connection,
      path: request.url,
      headers,
      withinMs: Math.min(OPEN_MS, connection.timeoutMs),
      signal: gone.signal,
    }).finally(() => this.count(connection, -1));
    response.stream.off('close', onClose);
    if (!('endpoint' in stream)) return refuse(stream);
    if (response.stream.destroyed || world.stopping.aborted) return stream.close();
    const session = new SseSession(connection, stream, headers, world, () => this.sessions.delete(session.id));
    this.sessions.set(session.id, session);
    const id = sealAddress(world.vault, ownerOf(connection), { relayId: world.relayId, id: session.id });
    await session.request(envelope, headers, response, { headers: { 'mcp-session-id': id } });
  }

  drain(graceMs: number): void {
    clearInterval(this.sweeper);
    for (const session of [...this.sessions.values()]) session.drain(graceMs);
  }

  private count({ id }: Connection, by: number): void {
    const now = (this.opening.get(id) ?? 0) + by;
    if (now === 0) this.opening.delete(id);
    else this.opening.set(id, now);
  }

  /** Makes room where the idlest can go: whoever needs it again opens another. */
  private hasRoomFor({ id }: Connection): boolean {
    const own = [...this.sessions.values()].filter((one) => one.connection.id === id);
    const isOneTooMany = own.length + (this.opening.get(id) ?? 0) >= this.maxOfOne;
    if (!isOneTooMany && this.sessions.size < this.maxSessions) return true;
    const [idlest] = (isOneTooMany ? own : [...this.sessions.values()])
      .filter((one) => one.idleSince !== undefined)
      .sort((a, b) => (a.idleSince ?? 0) - (b.idleSince ?? 0));
    idlest?.close();
    return idlest !== undefined;
  }

  /** `before`: milliseconds since the epoch. */
  private sweep(before: number): void {
    for (const session of [...this.sessions.values()]) {
      if ((session.idleSince ?? Number.POSITIVE_INFINITY) < before) session.close();
    }
  }
}

/** Of a session's address: it opens nothing at another connection. */
export const ownerOf = ({ tenant, name }: Connection): readonly string[] => ['sse-upstream', tenant, name];

const isSame = (one: Connection, other: Connection): boolean =>
  one.id === other.id && one.url.href === other.url.href && one.path === other.path;
