/**
 * What a legacy upstream asks on its session's GET stream instead of the call's own, as servers do that do not say which
 * call a question belongs to. A modern client can only be asked in a call, so one of that session's calls asks it: they
 * are all the same principal's.
 */
import { answerUpstream } from '../../egress/tell.ts';
import type { UpstreamSession } from '../../exchange/exchange.ts';
import { parseResponse } from '../../mcp/response.ts';
import type { Connection } from '../../snapshot/snapshot.ts';
import { answerInClientsPlace } from '../../translate/ask.ts';
import { Shares } from '../limits.ts';
import { followGet } from '../upstream/follow-get.ts';
import type { RelayWorld } from '../world.ts';
import type { WaitingCall } from './waiting-call.ts';

/** What is asked while nobody listens is lost, so a call waits for the stream; but some servers are slow to open it. Milliseconds. */
const OPEN_MS = 500;
/** The stream outlives the last call for the next. Milliseconds. */
const LINGER_MS = 60_000;
const MAX_STREAMS = 2000;
/** Of one principal, which could have a session with an upstream for each set of capabilities that it declares. */
const MAX_OF_ONE = 500;

/** A call's place at the stream of its session. */
export interface Seat {
  /** The stream is open, or will not be soon. */
  readonly ready: Promise<void>;
  /** From now on the call may be asked. */
  take(call: WaitingCall): void;
  leave(): void;
}

export class SideQuestions {
  private readonly bySession = new Map<string, Stream>();
  private readonly shares = new Shares(MAX_OF_ONE);

  /** `owner`: whose session it is. */
  join(owner: string, connection: Connection, session: UpstreamSession, world: RelayWorld): Seat {
    const key = `${connection.id} ${session.id}`;
    let stream = this.bySession.get(key);
    if (stream === undefined) {
      if (this.bySession.size >= MAX_STREAMS || !this.shares.take(owner)) return NOWHERE;
      stream = new Stream(connection, session, world, () => {
        if (this.bySession.delete(key)) this.shares.give(owner);
      });
      this.bySession.set(key, stream);
    }
    return stream.seat();
  }

  close(): void {
    for (const stream of this.bySession.values()) stream.close();
  }
}

const NOWHERE: Seat = { ready: Promise.resolve(), take() {}, leave() {} };

class Stream {
  private readonly seats = new Set<{ call: WaitingCall | undefined }>();
  private readonly stop = new AbortController();
  private readonly ready: Promise<void>;
  private readonly connection: Connection;
  private readonly session: UpstreamSession;
  private readonly world: RelayWorld;
  private readonly onClose: () => void;
  private linger: NodeJS.Timeout | undefined;

  constructor(connection: Connection, session: UpstreamSession, world: RelayWorld, onClose: () => void) {
    this.connection = connection;
    this.session = session;
    this.world = world;
    this.onClose = onClose;
    this.ready = new Promise((resolve) => {
      const late = setTimeout(resolve, OPEN_MS);
      const opened = (): void => {
        clearTimeout(late);
        resolve();
      };
      void followGet({
        egress: world.egress,
        connection: () => world.snapshot()?.tenants.get(connection.tenant)?.connections.get(connection.name),
        session,
        signal: this.stop.signal,
        onOpen: opened,
        onMessage: (message) => this.heard(message),
      }).finally(opened);
    });
  }

  seat(): Seat {
    const seat: { call: WaitingCall | undefined } = { call: undefined };
    clearTimeout(this.linger);
    this.seats.add(seat);
    return {
      ready: this.ready,
      take: (call) => {
        seat.call = call;
      },
      leave: () => {
        if (!this.seats.delete(seat) || this.seats.size > 0) return;
        this.linger = setTimeout(() => this.close(), LINGER_MS);
        this.linger.unref();
      },
    };
  }

  close(): void {
    clearTimeout(this.linger);
    this.stop.abort();
    this.onClose();
  }

  private heard(bytes: Buffer): void {
    const message = parseResponse(bytes);
    if (message?.kind !== 'message') return;
    const calls = [...this.seats].flatMap(({ call }) => (call === undefined ? [] : [call]));
    if (message.id === undefined) {
      // Other notifications are of no call; subscriptions have streams of their own.
      if (message.method === 'notifications/cancelled') for (const call of calls) call.answer.insert(bytes);
      return;
    }
    const call = calls.find(({ isParked }) => !isParked) ?? calls[0];
    if (call?.answer.insert(bytes) === true) return;
    const id = bytes.toString('utf8', message.id.start, message.id.end);
    answerUpstream(this.world, this.connection, this.session, answerInClientsPlace(message.method, id));
  }
}
