/**
 * A call that its upstream refused because the session is gone: it cannot have had an effect, so it is made again on a new
 * one, and the client never hears of it.
 */
import type { Exchange } from '../exchange/exchange.ts';
import type { Problem } from '../exchange/problem.ts';
import { repeatCall, speaksOfSession } from '../routing/repeat.ts';
import type { Ending, Mouth } from './ending.ts';
import * as reply from './reply.ts';
import type { Restored } from './restoration.ts';
import type { World } from './world.ts';

/** What the response side lends. */
interface Lent {
  /** Makes of the new answer what the client gets. */
  finish(body: Buffer, status: number, then: (finished: Restored) => void): Promise<void> | undefined;
  ending(): Omit<Ending, 'verdict'>;
}

export class LostCall {
  private readonly world: World;
  private readonly mouth: Mouth;
  private readonly isDuplex: boolean;
  private readonly lent: Lent;
  /** Status of an answer that may be about the session instead of the call: its body tells. */
  private status: number | undefined;
  private repeating: AbortController | undefined;

  constructor(world: World, mouth: Mouth, isDuplex: boolean, lent: Lent) {
    this.world = world;
    this.mouth = mouth;
    this.isDuplex = isDuplex;
    this.lent = lent;
  }

  /** Many servers say 400 where the specification says 404. */
  expect(status: number, isEmpty: boolean): void {
    if (status === 400 && !isEmpty) this.status = status;
  }

  get isExpected(): boolean {
    return this.status !== undefined;
  }

  /** A 400 that speaks of the session: the call did not run. Any other 400 is about the call, and is its answer. */
  isMeant(body: Buffer): boolean {
    return this.status !== undefined && speaksOfSession(body);
  }

  /** The client is gone. */
  abandon(): void {
    this.repeating?.abort();
  }

  /** In the headers phase. */
  repeatAtOnce(exchange: Exchange): Promise<void> {
    const { mouth } = this;
    return this.repeat(
      exchange,
      404,
      (bytes, status, ending) =>
        mouth.answer(
          { kind: 'answer', status, headers: [['content-type', 'application/json']], body: [bytes] },
          ending,
        ),
      (problem, upstreamStatus) => mouth.refuse(problem, { upstreamStatus }),
    );
  }

  /** In the body phase: `send` writes the body in the lost one's place. */
  repeatInstead(exchange: Exchange | undefined, send: (bytes: Buffer, status: number) => void): Promise<void> {
    const { mouth, lent } = this;
    return this.repeat(
      exchange,
      400,
      (bytes, status, ending) => {
        send(bytes, status);
        mouth.record(ending);
      },
      (problem) => {
        if (exchange !== undefined) exchange.problem = problem;
        const [body = EMPTY] = reply.problemAnswer(exchange, problem).body;
        send(body, 200);
        mouth.record({ ...lent.ending(), verdict: 'failed', reason: problem.reason, isError: true });
      },
    );
  }

  private async repeat(
    exchange: Exchange | undefined,
    lostStatus: number,
    say: (bytes: Buffer, status: number, ending: Ending) => void,
    refuse: (problem: Problem, upstreamStatus: number) => void,
  ): Promise<void> {
    if (exchange?.upstream === undefined || exchange.connection === undefined) throw new Error('nothing to repeat');
    const { connection, upstream } = exchange;
    // Envoy's message timer is shorter than the call may take; in a duplex conversation there is none.
    if (!this.isDuplex) this.mouth.write(reply.extendTimeout(connection.timeoutMs + AFTERWARDS_MS), false);
    this.repeating = new AbortController();
    const { signal } = this.repeating;
    const answer = await repeatCall(exchange, connection, upstream, lostStatus, this.world, signal);
    if (signal.aborted) return;
    if ('problem' in answer) {
      refuse(answer.problem, answer.status);
      return;
    }
    await this.lent.finish(answer.body, answer.status, ({ bytes, status = 200 }) =>
      say(bytes, status, {
        ...this.lent.ending(),
        verdict: 'allowed',
        reason: REPEATED,
        upstreamStatus: answer.status,
      }),
    );
  }
}

/** A session has to be opened before the call, and rules may run after it (5 s). */
const AFTERWARDS_MS = 10_000;
const REPEATED = 'repeated on a new upstream session';
const EMPTY = Buffer.alloc(0);
