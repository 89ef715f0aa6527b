/** GET of an MCP endpoint: who may have an event stream, and which (MCP 2025-11-25 transports, "Listening for Messages"). */

import type { World } from '../../data-plane/world.ts';
import { type Exchange, refuse as refused, type Step, type StepResult } from '../../exchange/exchange.ts';
import { problems } from '../../exchange/problem.ts';
import { identify } from '../../identity/identify.ts';
import { MODERN_VERSIONS } from '../../mcp/revision.ts';
import { findEndpoint } from '../../routing/endpoint.ts';
import { findSession } from '../../sessions/session-step.ts';
import { arrive, refuse } from '../arrival.ts';
import { hasRoom, noRoom } from '../limits.ts';
import type { Entry, RelayWorld } from '../world.ts';
import { Channel } from './channel.ts';
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

/** Keeps the streams of all sessions at this relay. */
export class GetStreams {
  private readonly channels = new Map<string, Channel>();

  get size(): number {
    return this.channels.size;
  }

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
    const isOwn = parts?.[0] === '';
    const holder = isOwn && parts[1] !== world.relayId ? parts[1] : await this.holderOf(session.id, world);
    if (holder !== undefined && (await world.peers.pass(holder, request, EMPTY, response)) === 'passed') return;
    if (!hasRoom(world)) return refuse(exchange, response, world, noRoom());
    if (parts !== undefined && !isOwn) {
      const [connection = '', eventId = ''] = parts;
      if (await resumeUpstream(exchange, response, world, connection, eventId)) return;
    }
    const resume = isOwn && parts[1] === world.relayId ? { stream: parts[2] ?? '', seq: Number(parts[3]) } : undefined;
    if (response.stream.destroyed) return;
    this.channelOf(exchange, session.id, world).open(exchange, response, resume);
  };

  /** The other relay that has this session's streams: all are at one, since each message goes to one of them. */
  private async holderOf(sessionId: string, world: RelayWorld): Promise<string | undefined> {
    if (this.channels.has(sessionId)) return undefined;
    // Without Postgres there are streams none the less.
    return world.store.holderOf(sessionId, world.relayId).catch(() => undefined);
  }

  private channelOf(exchange: Exchange, sessionId: string, world: RelayWorld): Channel {
    let channel = this.channels.get(sessionId);
    if (channel === undefined) {
      const made = new Channel(exchange, world, () => {
        if (this.channels.get(sessionId) === made) this.channels.delete(sessionId);
      });
      channel = made;
      this.channels.set(sessionId, made);
    }
    return channel;
  }
}

const EMPTY = Buffer.alloc(0);
