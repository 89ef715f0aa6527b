/** A modern client's call at a legacy upstream, which goes on while one request after the other of the client reads from it. */
import { tell, tellUpstream } from '../../egress/tell.ts';
import type { Exchange, UpstreamCall } from '../../exchange/exchange.ts';
import { cancelUpstream } from '../../routing/cancel.ts';
import type { Connection } from '../../snapshot/snapshot.ts';
import type { InputRequest } from '../../translate/input-required.ts';
import type { RelayWorld } from '../world.ts';
import type { OpenedCall } from './open-call.ts';
import type { UpstreamAnswer } from './upstream-answer.ts';

/** What the upstream asked and nobody has answered yet. */
export interface Ask extends InputRequest {
  /** JSON text of the upstream's own id. */
  readonly id: string;
}

/** No sound server needs more of one call; what exceeds it is ended. */
const MAX_ASKS = 32;
/** Pings, and requests that are refused in the client's place. */
const MAX_REPLIES = 100;

export class WaitingCall {
  /** Nobody reads now. */
  isParked = false;
  readonly answer: UpstreamAnswer;
  readonly connection: Connection;
  private readonly exchange: Exchange;
  private readonly opened: OpenedCall;
  /** JSON text of the token under which the upstream reports progress. */
  private readonly token: string | undefined;
  private readonly world: RelayWorld;
  private readonly onEnd: () => void;
  private readonly asks = new Map<string, Ask>();
  private asked = 0;
  private replied = 0;

  constructor(exchange: Exchange, connection: Connection, opened: OpenedCall, world: RelayWorld, onEnd: () => void) {
    this.exchange = exchange;
    this.connection = connection;
    this.opened = opened;
    this.answer = opened.answer;
    this.world = world;
    this.onEnd = onEnd;
    this.token = opened.call.mintedToken ?? tokenOf(exchange);
  }

  /** The upstream's side as the client's request `exchange` is to see it: the ids stay what the upstream was given. */
  callFor(exchange: Exchange): UpstreamCall {
    const isOwn = exchange === this.exchange;
    return { ...this.opened.call, mintedToken: isOwn ? this.opened.call.mintedToken : tokenTo(exchange, this.token) };
  }

  get open(): readonly Ask[] {
    return [...this.asks.values()];
  }

  /** false: it has asked too much. */
  ask(id: string, method: string, params: Buffer | undefined): boolean {
    if (this.asked >= MAX_ASKS) return false;
    const key = `input-${++this.asked}`;
    this.asks.set(key, { key, id, method, params });
    return true;
  }

  /** Answers in the client's place, in the background. `message`: JSON-RPC. false: it has asked too much. */
  reply(message: string): boolean {
    if (++this.replied > MAX_REPLIES) return false;
    tellUpstream(this.world, this.connection, this.opened.call.session, message);
    return true;
  }

  /** Gives the upstream the answers to what it asked. Throws EgressError. */
  async give(responses: ReadonlyMap<string, Buffer>, signal: AbortSignal): Promise<void> {
    const given = this.open.filter(({ key }) => responses.has(key));
    for (const { key } of given) this.asks.delete(key);
    await Promise.all(
      given.map(({ key, id }) =>
        this.tell(`{"jsonrpc":"2.0","id":${id},"result":${responses.get(key)?.toString('utf8')}}`, signal),
      ),
    );
  }

  /** The upstream took a question back. `id`: JSON text. */
  withdraw(id: string): void {
    for (const ask of this.asks.values()) if (ask.id === id) this.asks.delete(ask.key);
  }

  /** The answer is complete. */
  finish(): void {
    this.onEnd();
    this.answer.release();
  }

  /** Nobody will read the answer: the upstream is told, and its stream ends. */
  cancel(reason: string): void {
    this.onEnd();
    cancelUpstream(this.exchange, this.opened.call, this.world, reason);
    this.answer.close();
  }

  private tell(message: string, signal: AbortSignal): Promise<void> {
    return tell(this.world.egress, this.connection, this.opened.call.session, message, signal);
  }
}

function tokenOf({ envelope }: Exchange): string | undefined {
  const token = envelope?.meta?.progressToken;
  return token === undefined ? undefined : envelope?.bytes.toString('utf8', token.start, token.end);
}

/** Progress is of no use to a request that brought no token: none is the one the upstream has. */
const tokenTo = (exchange: Exchange, token: string | undefined): string | undefined =>
  tokenOf(exchange) === undefined || token === undefined ? 'none' : token;
