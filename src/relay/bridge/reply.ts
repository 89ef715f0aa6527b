/** The client's side of a bridged call: plain JSON as long as there is one thing to say, an event stream once there is more. */
import type { Exchange } from '../../exchange/exchange.ts';
import { judgementOf } from '../../exchange/judgement.ts';
import { type Problem, problemBody } from '../../exchange/problem.ts';
import { idText } from '../../mcp/envelope.ts';
import { JUDGEMENT_HEADER } from '../../snapshot/revision.ts';
import type { Pulse } from '../pulse.ts';
import { EventStream } from '../stream.ts';
import type { RelayResponse } from '../world.ts';

/** After so long without a word the stream begins, to be kept alive: Envoy ends silent ones (xds/routes.ts). Milliseconds. */
const QUIET_MS = 20_000;

export class Reply {
  /** Aborted when the client has gone before its answer was complete. */
  readonly gone: AbortSignal;
  private readonly exchange: Exchange;
  private readonly response: RelayResponse;
  private readonly pulse: Pulse;
  private readonly quiet: NodeJS.Timeout;
  private events: EventStream | undefined;
  private isOver = false;

  constructor(exchange: Exchange, response: RelayResponse, pulse: Pulse) {
    this.exchange = exchange;
    this.response = response;
    this.pulse = pulse;
    const gone = new AbortController();
    this.gone = gone.signal;
    response.stream.once('close', () => {
      clearTimeout(this.quiet);
      if (!this.isOver) gone.abort(new Error('the client went away'));
    });
    this.quiet = setTimeout(() => this.begin(), QUIET_MS);
  }

  /** A message before the answer. Resolves when the client can take more. */
  async say(message: Buffer): Promise<void> {
    if (this.isOver) return;
    const events = this.begin();
    events.send(message);
    await events.drained();
  }

  /** The answer, after which nothing comes. */
  finish(message: Buffer, problem?: Problem): void {
    if (this.isOver) return;
    this.close();
    if (this.events !== undefined) {
      this.events.send(message);
      this.events.end();
    } else if (!this.response.stream.destroyed) {
      // The status that an error has in the client's era is the processor's to set.
      this.response.writeHead(200, {
        'content-type': 'application/json',
        'content-length': message.length,
        ...(problem === undefined ? {} : { [JUDGEMENT_HEADER]: judgementOf(problem) }),
      });
      this.response.end(message);
    }
  }

  refuse(problem: Problem): void {
    const { envelope, client } = this.exchange;
    const isToolCall = envelope?.method === 'tools/call';
    this.finish(problemBody(problem, idText(envelope), isToolCall, client?.era ?? 'legacy').body, problem);
  }

  /** A request that its client took back gets no answer (MCP cancellation). */
  endWithoutAnswer(): void {
    if (this.isOver) return;
    const events = this.begin();
    this.close();
    events.end();
  }

  private begin(): EventStream {
    clearTimeout(this.quiet);
    this.events ??= new EventStream(this.response, this.pulse, () => {});
    return this.events;
  }

  private close(): void {
    clearTimeout(this.quiet);
    this.isOver = true;
  }
}
