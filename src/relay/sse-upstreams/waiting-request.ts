/** A caller's request whose response is still to come: answered with JSON, or with events once something came before it. */
import type { Problem } from '../../exchange/problem.ts';
import { problemBody } from '../../exchange/problem.ts';
import type { Pulse } from '../pulse.ts';
import { sendProblem } from '../refusal.ts';
import { EventStream } from '../stream.ts';
import type { RelayResponse } from '../world.ts';

/** After so long without a word the answer becomes a stream, whose keep-alives hold the connection. Milliseconds. */
const QUIET_MS = 15_000;

/** `gone`: its caller went away. */
export type RequestEnd = 'result' | 'error' | 'refused' | 'gone';

export interface WaitingRequestOptions {
  /** JSON text. */
  readonly id: string;
  /** Of its progress, as keyOf gives it. */
  readonly token: string | undefined;
  readonly response: RelayResponse;
  readonly pulse: Pulse;
  readonly timeoutMs: number;
  /** Of the answer, which is never a stream then. */
  readonly headers: Readonly<Record<string, string>> | undefined;
  /** Its time is over, and a refusal is owed. */
  onLate(): void;
  /** Called once. */
  onEnd(how: RequestEnd): void;
}

export class WaitingRequest {
  /** Milliseconds since the epoch. */
  readonly since = Date.now();
  readonly id: string;
  readonly token: string | undefined;
  /** It can be told something before its response. */
  readonly takesEvents: boolean;
  private readonly options: WaitingRequestOptions;
  private readonly timers: NodeJS.Timeout[] = [];
  private events: EventStream | undefined;
  private isOver = false;

  constructor(options: WaitingRequestOptions) {
    this.options = options;
    this.id = options.id;
    this.token = options.token;
    this.takesEvents = options.headers === undefined;
    this.timers.push(setTimeout(() => options.onLate(), options.timeoutMs));
    if (this.takesEvents) this.timers.push(setTimeout(() => this.stream(), QUIET_MS));
    options.response.stream.once('close', () => this.end('gone'));
  }

  /** Something that comes before the response; false: nobody is there any more. */
  tell(message: Buffer): boolean {
    return !this.isOver && this.takesEvents && this.stream().send(message);
  }

  answer(message: Buffer, isError: boolean): void {
    const { response, headers } = this.options;
    if (!this.end(isError ? 'error' : 'result')) return;
    if (this.events !== undefined) {
      this.events.send(message);
      this.events.end();
    } else if (!response.stream.destroyed) {
      response.writeHead(200, { ...headers, 'content-type': 'application/json', 'content-length': message.length });
      response.end(message);
    }
  }

  refuse(problem: Problem): void {
    if (!this.end('refused')) return;
    const { response, id } = this.options;
    if (this.events === undefined) {
      sendProblem(response, problem, id);
      return;
    }
    this.events.send(problemBody(problem, id, false, 'legacy').body);
    this.events.end();
  }

  private stream(): EventStream {
    this.events ??= new EventStream(this.options.response, this.options.pulse, () => {});
    return this.events;
  }

  /** false: it had ended before. */
  private end(how: RequestEnd): boolean {
    if (this.isOver) return false;
    this.isOver = true;
    for (const timer of this.timers) clearTimeout(timer);
    this.options.onEnd(how);
    return true;
  }
}
