/** The way back: what an upstream (or Envoy in its place) answered, restored for the client and read for the audit. */

import { LOCAL_REPLY_HEADER } from '../egress/egress.ts';
import type { Answer, Exchange, UpstreamCall } from '../exchange/exchange.ts';
import { type Problem, problems } from '../exchange/problem.ts';
import { idText } from '../mcp/envelope.ts';
import { EventSplitter, EventTooLarge, eventData } from '../mcp/events.ts';
import { parseResponse, type ResponseEnvelope } from '../mcp/response.ts';
import { splice } from '../mcp/splice.ts';
import { repeatCall } from '../routing/repeat.ts';
import type { Connection } from '../snapshot/snapshot.ts';
import type { Ending, Write } from './ending.ts';
import type { HeaderMap } from './headers.ts';
import * as reply from './reply.ts';
import type { World } from './world.ts';

/** JSON up to this size is seen whole before it goes on; more is passed on as it comes. */
const WHOLE_BYTES = 1 << 20;
/** An event, or a JSON body that must be edited, never grows past this. */
const MAX_HELD_BYTES = 16 << 20;

/** What the conversation lends. */
export interface Mouth {
  readonly write: Write;
  record(ending: Ending): void;
  refuse(problem: Problem, ending: Partial<Ending>): void;
  answer(answer: Answer, ending: Ending): void;
}

/**
 * `whole`: Envoy buffers the body and hands it over once. `held`: it comes in pieces and is kept until it is complete
 * or too large. `events`: an event stream, one event at a time. `passing`: pieces go on as they come. `over`: the
 * client has its answer; what still comes is of no interest.
 */
type Mode = 'none' | 'whole' | 'held' | 'events' | 'passing' | 'over';

export class ResponseSide {
  private readonly exchange: Exchange | undefined;
  private readonly world: World;
  private readonly mouth: Mouth;
  /** Body pieces come without waiting for our reply to the headers, and go nowhere unless we send them on. */
  private readonly isDuplex: boolean;
  private mode: Mode = 'none';
  private status = 0;
  /** Response headers that are not answered yet: the body may still change them. */
  private waiting: HeaderMap | undefined;
  private edgeBytes: number | undefined;
  private held: Buffer[] = [];
  private heldBytes = 0;
  private bytesOut = 0;
  private events: EventSplitter | undefined;
  private final: ResponseEnvelope | undefined;
  private repeating: AbortController | undefined;

  constructor(exchange: Exchange | undefined, world: World, mouth: Mouth, isDuplex: boolean) {
    this.exchange = exchange;
    this.world = world;
    this.mouth = mouth;
    this.isDuplex = isDuplex;
  }

  /** The answer comes from a processor's HTTP service: nothing to look at. */
  expectEdge(bytes: number): void {
    this.edgeBytes = bytes;
  }

  /** The client is gone: what is still being done for it stops. */
  abandon(): void {
    this.repeating?.abort();
  }

  onHeaders(headers: HeaderMap, isLast: boolean): Promise<void> | undefined {
    this.status = Number(headers.get(':status') ?? 0);
    const { exchange } = this;
    const call = exchange?.upstream;
    const connection = exchange?.connection;
    const local = headers.get(LOCAL_REPLY_HEADER);
    if (exchange === undefined || call === undefined || connection === undefined) {
      this.onOtherAnswer(headers, local, isLast);
      return undefined;
    }
    if (local !== undefined) return this.refuse(localProblem(connection, this.status, local), undefined);
    // 404 is the specification's word for a lost session; many servers say 400 instead.
    if (call.session !== undefined && (this.status === 404 || this.status === 400)) {
      this.mode = 'over';
      return this.repeat(exchange, connection, call);
    }
    if (this.status === 401 || this.status === 403) {
      return this.refuse(problems.credential(connection.name, this.status), this.status);
    }
    const unreadable = this.unreadable(headers);
    if (unreadable !== undefined) return this.refuse(problems.upstreamError(connection.name, unreadable), this.status);
    this.begin(headers, isLast);
    return undefined;
  }

  /** Edge answers, and what Envoy refused by itself before an upstream was chosen. */
  private onOtherAnswer(headers: HeaderMap, local: string | undefined, isLast: boolean): void {
    this.mode = this.isDuplex && !isLast ? 'passing' : 'none';
    this.mouth.write(reply.continueResponse(headers, this.isDuplex ? 'as chosen' : 'none'), this.mode === 'none');
    if (this.edgeBytes !== undefined && this.status === 200) {
      this.mouth.record({ verdict: 'allowed', httpStatus: this.status, bytesOut: this.edgeBytes });
    } else {
      const reason = local ?? `Envoy answered ${this.status}`;
      this.mouth.record({ verdict: 'failed', reason, httpStatus: this.status });
    }
  }

  private refuse(problem: Problem, upstreamStatus: number | undefined): undefined {
    this.mode = 'over';
    this.mouth.refuse(problem, { upstreamStatus });
  }

  /** Why the answer is not one that a caller could use. Error pages stay with us: nobody knows what they say. */
  private unreadable(headers: HeaderMap): string | undefined {
    if ((headers.get('content-encoding') ?? 'identity') !== 'identity') {
      return 'it compressed its answer, which nobody asked for';
    }
    if (this.status >= 200 && this.status < 300) return undefined;
    return isJson(headers) && this.status >= 400 ? undefined : `it answered HTTP ${this.status}`;
  }

  /** Answers the headers, or keeps them until the body says what they should be. */
  private begin(headers: HeaderMap, isLast: boolean): void {
    const length = headers.get('content-length');
    const isStream = /^text\/event-stream/i.test(headers.get('content-type') ?? '');
    if (isLast || length === '0') this.mode = 'none';
    else if (isStream && this.status < 300) this.mode = 'events';
    else if (!isJson(headers)) this.mode = this.isDuplex ? 'passing' : 'none';
    // A JSON-RPC error under an error status becomes an answer that clients read: that takes the whole body.
    else if (this.isDuplex) this.mode = Number(length ?? 0) > WHOLE_BYTES && !this.mustEdit() ? 'passing' : 'held';
    else this.mode = this.status >= 400 || Number(length ?? Infinity) <= WHOLE_BYTES ? 'whole' : 'held';

    if (this.mode === 'events') this.events = new EventSplitter(MAX_HELD_BYTES);
    if (this.mode === 'held' && this.isDuplex) {
      this.waiting = headers;
      return;
    }
    const view = this.mode === 'none' ? 'none' : this.mode === 'whole' ? 'buffered' : 'streamed';
    this.mouth.write(reply.continueResponse(headers, this.isDuplex ? 'as chosen' : view), this.mode === 'none');
    if (this.mode === 'none') this.finish();
  }

  onBody({ body, end_of_stream: ended }: { body: Buffer; end_of_stream?: boolean }): void {
    this.bytesOut += body.length;
    const isLast = ended === true;
    switch (this.mode) {
      case 'whole':
        this.onWhole(body);
        break;
      case 'held':
        this.onHeld(body, isLast);
        break;
      case 'events':
        this.onEvents(body, isLast);
        break;
      case 'passing':
        this.mouth.write(reply.streamPiece(body, isLast), isLast);
        if (isLast) this.finish();
        break;
      default:
    }
  }

  /** A streamed response may end with trailers instead of a last piece. */
  onTrailers(): void {
    if (this.mode === 'held') this.releaseHeld(false);
    if (this.mode === 'events') this.flushEvents(false);
    if (this.mode !== 'over') this.finish();
  }

  private onWhole(body: Buffer): void {
    const { bytes, isReplaced } = this.asClientSees(this.restore(body));
    this.mouth.write(
      bytes === body && !isReplaced ? reply.CONTINUE_RESPONSE_BODY : reply.replaceBody(bytes, isReplaced),
      true,
    );
    this.finish();
  }

  /** Complete if it turns out small, else passed on as it comes. */
  private onHeld(body: Buffer, isLast: boolean): void {
    // Pieces are views of gRPC frames; a single last one is used before the next frame is read.
    this.held.push(isLast ? body : Buffer.from(body));
    this.heldBytes += body.length;
    if (isLast) this.releaseHeld(true);
    else if (this.heldBytes > MAX_HELD_BYTES || (this.heldBytes > WHOLE_BYTES && !this.mustEdit())) {
      this.releaseHeaders(false);
      this.mouth.write(reply.streamPiece(Buffer.concat(this.held), false), false);
      this.held = [];
      this.mode = 'passing';
    }
  }

  private releaseHeld(isLast: boolean): void {
    const whole = this.held.length === 1 ? (this.held[0] as Buffer) : Buffer.concat(this.held);
    this.held = [];
    const restored = this.restore(whole);
    // Without waiting headers (they went on to ask for the body) the status stands.
    const { bytes, isReplaced } =
      this.waiting === undefined ? { bytes: restored, isReplaced: false } : this.asClientSees(restored);
    this.releaseHeaders(isReplaced);
    this.mouth.write(reply.streamPiece(bytes, isLast), isLast);
    if (isLast) this.finish();
  }

  private releaseHeaders(isReplaced: boolean): void {
    if (this.waiting === undefined) return;
    this.mouth.write(reply.continueResponse(this.waiting, 'as chosen', isReplaced), false);
    this.waiting = undefined;
  }

  private onEvents(body: Buffer, isLast: boolean): void {
    try {
      for (const event of this.events?.push(body) ?? []) {
        this.mouth.write(reply.streamPiece(this.restoreEvent(event), false), false);
      }
    } catch (error) {
      if (!(error instanceof EventTooLarge)) throw error;
      this.mode = 'over';
      this.mouth.write(reply.streamPiece(Buffer.alloc(0), true), true);
      this.mouth.record({ ...this.ending(), verdict: 'failed', reason: error.message });
      return;
    }
    if (isLast) {
      this.flushEvents(true);
      this.finish();
    }
  }

  private flushEvents(isLast: boolean): void {
    const rest = this.events?.rest() ?? Buffer.alloc(0);
    if (isLast || rest.length > 0) this.mouth.write(reply.streamPiece(rest, isLast), isLast);
  }

  private restoreEvent(event: Buffer): Buffer {
    const data = eventData(event);
    if (data === undefined) return event;
    const restored = this.restore(data);
    return restored === data ? event : Buffer.concat([EVENT_START, restored, EVENT_END]);
  }

  /** Whether the answer carries an id that is not the client's. */
  private mustEdit(): boolean {
    return this.exchange?.upstream?.mintedId !== undefined;
  }

  /** The client's own id, byte for byte, where the upstream was given another; and what the audit wants to know. */
  private restore(bytes: Buffer): Buffer {
    const message = parseResponse(bytes);
    if (message === undefined || message.kind === 'message' || message.id === undefined) return bytes;
    this.final = message;
    const { exchange } = this;
    const minted = exchange?.upstream?.mintedId;
    if (minted === undefined || bytes.toString('utf8', message.id.start, message.id.end) !== minted) return bytes;
    return splice(bytes, [{ ...message.id, with: idText(exchange?.envelope) }]);
  }

  /** SDK transports throw on a status that is not 2xx and the model never reads why: it becomes a readable answer. */
  private asClientSees(bytes: Buffer): { bytes: Buffer; isReplaced: boolean } {
    if (this.status < 300) return { bytes, isReplaced: false };
    if (this.final?.kind === 'error') return { bytes, isReplaced: true };
    const { exchange } = this;
    const problem = problems.upstreamError(exchange?.connection?.name ?? '', `it answered HTTP ${this.status}`);
    if (exchange !== undefined) exchange.problem = problem;
    const [body = bytes] = reply.problemAnswer(exchange, problem).body;
    return { bytes: body, isReplaced: true };
  }

  private ending(): Omit<Ending, 'verdict'> {
    const { final } = this;
    return {
      upstreamStatus: this.status,
      httpStatus: 200,
      isError: final?.isError,
      bytesOut: this.bytesOut,
      result: final?.outcome && final.bytes.subarray(final.outcome.start, final.outcome.end),
    };
  }

  private finish(): void {
    if (this.status < 300) this.mouth.record({ ...this.ending(), verdict: 'allowed', httpStatus: this.status });
    else {
      const reason = `the upstream answered HTTP ${this.status}`;
      this.mouth.record({ ...this.ending(), verdict: 'failed', reason, isError: true });
    }
  }

  /** The upstream session was lost: the call cannot have had an effect, so it is made again on a new one. */
  private async repeat(exchange: Exchange, connection: Connection, call: UpstreamCall): Promise<void> {
    // Envoy's message timer is shorter than the call may take; in a duplex conversation there is none.
    if (!this.isDuplex) this.mouth.write(reply.extendTimeout(connection.timeoutMs + 5000), false);
    this.repeating = new AbortController();
    const { signal } = this.repeating;
    const result = await repeatCall(exchange, connection, call, this.status, this.world, signal);
    if (signal.aborted) return;
    if ('problem' in result) {
      this.mouth.refuse(result.problem, { upstreamStatus: result.status });
      return;
    }
    const restored = this.restore(result.body);
    this.bytesOut = restored.length;
    this.mouth.answer(
      { kind: 'answer', status: 200, headers: [['content-type', 'application/json']], body: [restored] },
      {
        ...this.ending(),
        verdict: 'allowed',
        reason: 'repeated on a new upstream session',
        upstreamStatus: result.status,
      },
    );
  }
}

const EVENT_START = Buffer.from('event: message\ndata: ');
const EVENT_END = Buffer.from('\n\n');

const isJson = (headers: HeaderMap): boolean =>
  /^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i.test(headers.get('content-type') ?? '');

/** What Envoy's flags mean for a caller (docs: "response flags"). */
function localProblem(connection: Connection, status: number, local: string): Problem {
  const retry = 'Other tools still work; try this one again in a few seconds.';
  if (status === 504 || local.startsWith('UT')) {
    const seconds = Math.round(connection.timeoutMs / 100) / 10;
    return problems.unavailable(
      connection.name,
      `did not answer within ${seconds} s`,
      'The call may have had an effect; check before repeating it.',
    );
  }
  if (local.startsWith('UO')) return problems.unavailable(connection.name, 'has too many calls in progress', retry);
  if (local.startsWith('UC')) {
    return problems.unavailable(
      connection.name,
      'closed the connection before it answered',
      'The call may have had an effect; check before repeating it.',
    );
  }
  return problems.unavailable(connection.name, 'cannot be reached', retry);
}
