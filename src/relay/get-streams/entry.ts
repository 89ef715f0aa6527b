/** GET of an MCP endpoint: who may have an event stream, and which (MCP 2025-11-25 transports, "Listening for Messages"). */

import { runSteps } from '../../data-plane/pipeline.ts';
import type { World } from '../../data-plane/world.ts';
import { type Exchange, refuse, type Step, type StepResult } from '../../exchange/exchange.ts';
import { type Problem, problems } from '../../exchange/problem.ts';
import { identify } from '../../identity/identify.ts';
import { MODERN_VERSIONS } from '../../mcp/revision.ts';
import { findEndpoint } from '../../routing/endpoint.ts';
import { findSession } from '../../sessions/session-step.ts';
import { exchangeOf, record } from '../arrival.ts';
import { hasRoom, noRoom } from '../limits.ts';
import { sendProblem } from '../refusal.ts';
import type { Entry, RelayResponse, RelayWorld } from '../world.ts';
import { Channel } from './channel.ts';
import { resumeUpstream } from './resume-upstream.ts';

/** Step: what a client must say to get events, and that it is one of the revisions that have this stream. */
const checkStream: Step<World> = {
  name: 'check stream',
  needs: ['principal'],
  gives: [],
  run({ head }): StepResult {
    if (MODERN_VERSIONS.includes(head.header('mcp-protocol-version') ?? '')) {
      return refuse({
        ...problems.method('GET', 'POST'),
        message: 'GET is not available in this revision of MCP. Use subscriptions/listen.',
      });
    }
    if (/text\/event-stream|text\/\*|\*\/\*/i.test(head.header('accept') ?? '')) return undefined;
    return refuse({ ...problems.notAcceptable(), message: 'Accept must allow text/event-stream.' });
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
    const snapshot = world.snapshot();
    if (snapshot === undefined) {
      sendProblem(response, problems.starting());
      return;
    }
    const exchange = exchangeOf(request, snapshot);
    const result = await runSteps(steps, exchange, world);
    if (result?.kind === 'refuse') return this.refuse(exchange, response, world, result.problem);
    const { session } = exchange;
    if (session === undefined) return this.refuse(exchange, response, world, problems.sessionMissing());
    if (!hasRoom(world)) return this.refuse(exchange, response, world, noRoom());
    const parts = world.handles.unwrap('event', session.id, exchange.head.header('last-event-id') ?? '');
    if (parts !== undefined && parts[0] !== '') {
      const [connection = '', eventId = ''] = parts;
      if (await resumeUpstream(exchange, response, world, connection, eventId)) return;
    }
    const mine = parts?.[0] === '' && parts[1] === world.relayId;
    const resume = mine ? { stream: parts[2] ?? '', seq: Number(parts[3]) } : undefined;
    if (response.stream.destroyed) return;
    this.channelOf(exchange, session.id, world).open(exchange, response, resume);
  };

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

  private refuse(exchange: Exchange, response: RelayResponse, world: RelayWorld, problem: Problem): void {
    exchange.problem = problem;
    const bytesOut = sendProblem(response, problem);
    record(exchange, world, { verdict: problem.verdict, reason: problem.reason, httpStatus: problem.status, bytesOut });
  }
}
