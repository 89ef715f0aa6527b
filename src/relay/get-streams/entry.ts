/** GET of an MCP endpoint: who may have an event stream, and which (MCP 2025-11-25 transports, "Listening for Messages"). */

import type { World } from '../../data-plane/world.ts';
import { type Exchange, refuse as refused, type Step, type StepResult } from '../../exchange/exchange.ts';
import { problems } from '../../exchange/problem.ts';
import { identify } from '../../identity/identify.ts';
import { MODERN_VERSIONS } from '../../mcp/revision.ts';
import { findEndpoint } from '../../routing/endpoint.ts';
import { findSession } from '../../sessions/session-step.ts';
import { arrive, refuse } from '../arrival.ts';
import { hasRoom, noRoom, ownerOf, Shares, tooMany } from '../limits.ts';
import type { Entry, RelayRequest, RelayResponse, RelayWorld } from '../world.ts';
import { Channel, MAX_STREAMS } from './channel.ts';
import { resumeUpstream } from './resume-upstream.ts';

/** Step: what a client must say to get events, and that it is one of the revisions that have this stream. */
const checkStream: Step<World> = {
  name: 'check stream',
  needs: ['principal'],
  gives: [],
  run({ head }): StepResult {
    if (MODERN_VERSIONS.includes(head.header('mcp-protocol-version') ?? '')) {
      return refused({
        ...problems.method('GET', 'POST'),
        message: 'GET is not available in this revision of MCP. Use subscriptions/listen.',
      });
    }
    if (/text\/event-stream|text\/\*|\*\/\*/i.test(head.header('accept') ?? '')) return undefined;
    return refused({ ...problems.notAcceptable(), message: 'Accept must allow text/event-stream.' });
  },
};

const steps: readonly Step<World>[] = [findEndpoint, identify, checkStream, findSession];

/** Sessions with streams, or with some that broke and may come back; and of one principal. */
const MAX_SESSIONS = 30_000;
const MAX_SESSIONS_OF_ONE = 10_000;

/** Keeps the streams of all sessions at this relay. */
export class GetStreams {
  /** By session. */
  private readonly channels = new Map<string, Channel>();
  private readonly shares = new Shares(MAX_SESSIONS_OF_ONE);
  /** Streams of calls, by session. */
  private readonly resumed = new Shares(MAX_STREAMS);

  /** NOTIFY `sallyport_upstream`. */
  upstreamChanged(sessionId: string): void {
    this.channels.get(sessionId)?.upstreamChanged();
  }

  /** Looks for notices that were lost. */
  async catchUp(world: RelayWorld, seconds: number): Promise<void> {
    if (this.channels.size === 0) return;
    const changed = await world.store.changed([...this.channels.keys()], seconds);
    for (const sessionId of changed) this.upstreamChanged(sessionId);
  }

  readonly entry: Entry = async (request, response, world) => {
    const exchange = await arrive(request, response, world, steps);
    if (exchange === undefined) return;
    const { session } = exchange;
    if (session === undefined) return refuse(exchange, response, world, problems.sessionMissing());
    const parts = world.handles.unwrap('event', session.id, exchange.head.header('last-event-id') ?? '');
    if (parts !== undefined && parts[0] !== '') {
      const [connection = '', eventId = ''] = parts;
      if (!this.resumed.take(session.id)) {
        return refuse(exchange, response, world, tooMany('streams of this session are being taken up again'));
      }
      const isTakenUp = resumeUpstream(exchange, response, world, connection, eventId);
      if (await isTakenUp.finally(() => this.resumed.give(session.id))) return;
    }
    const [, relayId, stream = '', seq] = parts?.[0] === '' ? parts : [];
    if (await this.pass(relayId, session.id, request, response, world)) return;
    if (!hasRoom(world)) return refuse(exchange, response, world, noRoom());
    if (response.stream.destroyed) return;
    const channel = this.channelOf(exchange, session.id, world);
    if (channel === undefined)
      return refuse(exchange, response, world, tooMany('sessions of yours have event streams'));
    channel.open(exchange, response, relayId === world.relayId ? { stream, seq: Number(seq) } : undefined);
  };

  /**
   * To the relay that has this session's streams: all are at one, since each message goes to one of them. `named`: the one
   * that the client's last event came from. false: none, or it is gone.
   */
  private async pass(
    named: string | undefined,
    sessionId: string,
    request: RelayRequest,
    response: RelayResponse,
    world: RelayWorld,
  ): Promise<boolean> {
    const passTo = async (relayId: string | undefined): Promise<boolean> =>
      relayId !== undefined && (await world.peers.pass(relayId, request, EMPTY, response)) === 'passed';
    if (named !== world.relayId && (await passTo(named))) return true;
    if (this.channels.has(sessionId)) return false;
    // Without Postgres there are streams none the less.
    return passTo(await world.store.holderOf(sessionId, world.relayId).catch(() => undefined));
  }

  /** undefined: its owner has too many. */
  private channelOf(exchange: Exchange, sessionId: string, world: RelayWorld): Channel | undefined {
    const known = this.channels.get(sessionId);
    if (known !== undefined || exchange.principal === undefined) return known;
    const owner = ownerOf(exchange.principal);
    if (!this.makeRoom(owner)) return undefined;
    const channel = new Channel(exchange, world, () => {
      if (this.channels.get(sessionId) !== channel) return;
      this.channels.delete(sessionId);
      this.shares.give(owner);
    });
    this.channels.set(sessionId, channel);
    return channel;
  }

  /** Takes a share. One whose client has not come back goes first: should it come, it gets a new stream. */
  private makeRoom(owner: string): boolean {
    const isFull = this.channels.size >= MAX_SESSIONS;
    if (!isFull && this.shares.take(owner)) return true;
    for (const channel of this.channels.values()) {
      if (!channel.isBroken || !(isFull || ownerOf(channel.principal) === owner)) continue;
      channel.end();
      return this.shares.take(owner);
    }
    return false;
  }
}

const EMPTY = Buffer.alloc(0);
