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
import type { ProcessingResponse } from '../wire.ts';
import type { Ending } from './ending.ts';
import type { HeaderMap } from './headers.ts';
import * as reply from './reply.ts';
import type { World } from './world.ts';

/** JSON up to this size is seen whole before it goes on; more is passed on as it comes. */
const WHOLE_BYTES = 1 << 20;
/** An event, or a JSON body that must be edited, never grows past this. */
const MAX_HELD_BYTES = 16 << 20;

/** What the conversation lends. */
export interface Mouth {
  write(message: ProcessingResponse | Buffer): void;
  record(ending: Ending): void;
  refuse(problem: Problem, ending: Partial<Ending>): void;
  answer(answer: Answer, ending: Ending): void;
}

type Mode = 'none' | 'whole' | 'held' | 'passing' | 'events';

export class ResponseSide {
  private readonly exchange: Exchange | undefined;
  private readonly world: World;
  private readonly mouth: Mouth;
  private mode: Mode = 'none';
  private status = 0;
  private edgeBytes: number | undefined;
  private held: Buffer[] = [];
  private heldBytes = 0;
  private bytesOut = 0;
  private events: EventSplitter | undefined;
  private final: ResponseEnvelope | undefined;
  private repeating: AbortController | undefined;

  constructor(exchange: Exchange | undefined, world: World, mouth: Mouth) {
    this.exchange = exchange;
    this.world = world;
    this.mouth = mouth;
  }

  /** The answer comes from a processor's HTTP service: nothing to look at. */
  expectEdge(bytes: number): void {
    this.edgeBytes = bytes;
  }

  /** The client is gone: what is still being done for it stops. */
  abandon(): void {
    this.repeating?.abort();
  }

  onHeaders(headers: HeaderMap): Promise<void> | undefined {
    this.status = Number(headers.get(':status') ?? 0);
    const { exchange } = this;
    const call = exchange?.upstream;
    const connection = exchange?.connection;
    const local = headers.get(LOCAL_REPLY_HEADER);
    if (exchange === undefined || call === undefined || connection === undefined)
      return this.onOtherAnswer(headers, local);
    if (local !== undefined) {
      this.mouth.refuse(localProblem(connection, this.status, local), { upstreamStatus: undefined });
      return undefined;
    }
    // 404 is the specification's word for a lost session; many servers say 400 (mcp.md §3.4).
    if (call.session !== undefined && (this.status === 404 || this.status === 400))
      return this.repeat(exchange, connection, call);
    if (this.status === 401 || this.status === 403) {
      this.mouth.refuse(problems.credential(connection.name, this.status), { upstreamStatus: this.status });
      return undefined;
    }
    const refused = this.unreadable(headers);
    if (refused !== undefined) {
      this.mouth.refuse(problems.upstreamError(connection.name, refused), { upstreamStatus: this.status });
      return undefined;
    }
    this.mode = this.chooseMode(headers);
    this.mouth.write(
      reply.continueResponse(headers, this.mode === 'none' ? 'none' : this.mode === 'whole' ? 'buffered' : 'streamed'),
    );
    if (this.mode === 'none') this.finish(undefined);
    return undefined;
  }

  /** Edge answers, and what Envoy refused by itself before an upstream was chosen. */
  private onOtherAnswer(headers: HeaderMap, local: string | undefined): undefined {
    this.mouth.write(reply.continueResponse(headers, 'none'));
    if (this.edgeBytes !== undefined && this.status === 200) {
      this.mouth.record({ verdict: 'allowed', httpStatus: this.status, bytesOut: this.edgeBytes });
    } else {
      this.mouth.record({
        verdict: 'failed',
        reason: local ?? `Envoy answered ${this.status}`,
        httpStatus: this.status,
      });
    }
    return undefined;
  }

  /** Why the answer is not one that a caller could use. Error pages stay with us: nobody knows what they say. */
  private unreadable(headers: HeaderMap): string | undefined {
    if ((headers.get('content-encoding') ?? 'identity') !== 'identity')
      return 'it compressed its answer, which nobody asked for';
    if (this.status >= 200 && this.status < 300) return undefined;
    return isJson(headers) && this.status >= 400 ? undefined : `it answered HTTP ${this.status}`;
  }

  private chooseMode(headers: HeaderMap): Mode {
    const length = headers.get('content-length');
    if (length === '0' || this.status === 202 || this.status === 204) return 'none';
    // A JSON-RPC error under an error status becomes an answer that clients read: that takes the whole body.
    if (this.status >= 400) return 'whole';
    if (/^text\/event-stream/i.test(headers.get('content-type') ?? '')) {
      this.events = new EventSplitter(MAX_HELD_BYTES);
      return 'events';
    }
    if (!isJson(headers)) return 'none';
    return length !== undefined && Number(length) <= WHOLE_BYTES ? 'whole' : 'held';
  }

  onBody({ body, end_of_stream: ended }: { body: Buffer; end_of_stream?: boolean }): void {
    this.bytesOut += body.length;
    switch (this.mode) {
      case 'whole':
        this.onWhole(body);
        break;
      case 'events':
        this.onEvents(body, ended === true);
        break;
      case 'held':
        this.onHeld(body, ended === true);
        break;
      default:
        this.mouth.write(reply.streamPiece(body, ended === true));
        if (ended === true) this.finish(this.final);
    }
  }

  /** A full-duplex response may end with trailers instead of a last piece. */
  onTrailers(): void {
    if (this.mode === 'held') this.releaseHeld(false);
    if (this.mode === 'events') this.flushEvents(false);
    if (this.mode !== 'none' && this.mode !== 'whole') this.finish(this.final);
  }

  private onWhole(body: Buffer): void {
    const restored = this.restoreMessage(body);
    const { replacement } = this.asClientSees(restored);
    if (replacement !== undefined) this.mouth.write(reply.replaceBody(replacement, 200));
    else if (restored === body) this.mouth.write(reply.CONTINUE_RESPONSE_BODY);
    else this.mouth.write(reply.replaceBody(restored));
    this.finish(this.final);
  }

  /** JSON of unknown or large size: whole if it turns out small, else passed on as it comes. */
  private onHeld(body: Buffer, ended: boolean): void {
    this.held.push(Buffer.from(body));
    this.heldBytes += body.length;
    const mustEdit = this.exchange?.upstream?.mintedId !== undefined;
    if (ended) this.releaseHeld(true);
    else if (this.heldBytes > MAX_HELD_BYTES || (this.heldBytes > WHOLE_BYTES && !mustEdit)) {
      this.mouth.write(reply.streamPiece(Buffer.concat(this.held), false));
      this.held = [];
      this.mode = 'passing';
    }
  }

  private releaseHeld(ended: boolean): void {
    const whole = Buffer.concat(this.held);
    this.held = [];
    this.mouth.write(reply.streamPiece(this.restoreMessage(whole), ended));
    if (ended) this.finish(this.final);
  }

  private onEvents(body: Buffer, ended: boolean): void {
    try {
      for (const event of this.events?.push(body) ?? [])
        this.mouth.write(reply.streamPiece(this.restoreEvent(event), false));
    } catch (error) {
      if (!(error instanceof EventTooLarge)) throw error;
      this.mouth.write(reply.streamPiece(Buffer.alloc(0), true));
      this.mode = 'none';
      this.mouth.record({
        verdict: 'failed',
        reason: error.message,
        upstreamStatus: this.status,
        httpStatus: 200,
        bytesOut: this.bytesOut,
      });
      return;
    }
    if (ended) {
      this.flushEvents(true);
      this.finish(this.final);
    }
  }

  private flushEvents(ended: boolean): void {
    const rest = this.events?.rest() ?? Buffer.alloc(0);
    if (ended || rest.length > 0) this.mouth.write(reply.streamPiece(rest, ended));
  }

  private restoreEvent(event: Buffer): Buffer {
    const data = eventData(event);
    if (data === undefined) return event;
    const restored = this.restoreMessage(data);
    return restored === data
      ? event
      : Buffer.concat([Buffer.from('event: message\ndata: '), restored, Buffer.from('\n\n')]);
  }

  /** The client's own id, byte for byte, where the upstream was given another; and what the audit wants to know. */
  private restoreMessage(bytes: Buffer): Buffer {
    const message = parseResponse(bytes);
    if (message === undefined || message.kind === 'message' || message.id === undefined) return bytes;
    this.final = message;
    const { exchange } = this;
    const minted = exchange?.upstream?.mintedId;
    if (minted === undefined || bytes.toString('utf8', message.id.start, message.id.end) !== minted) return bytes;
    return splice(bytes, [{ ...message.id, with: idText(exchange?.envelope) }]);
  }

  /** SDK transports throw on a status that is not 2xx and the model never reads why: it becomes a readable answer. */
  private asClientSees(bytes: Buffer): { replacement: Buffer | undefined } {
    const { exchange } = this;
    if (this.status >= 200 && this.status < 300) return { replacement: undefined };
    if (this.final?.kind === 'error') return { replacement: bytes };
    const connection = exchange?.connection?.name ?? '';
    const problem = problems.upstreamError(connection, `it answered HTTP ${this.status}`);
    if (exchange !== undefined) exchange.problem = problem;
    return { replacement: reply.problemAnswer(exchange, problem).body[0] };
  }

  private finish(final: ResponseEnvelope | undefined): void {
    const failed = this.exchange?.problem !== undefined || this.status >= 400;
    this.mouth.record({
      verdict: failed ? 'failed' : 'allowed',
      reason: failed ? `the upstream answered HTTP ${this.status}` : undefined,
      upstreamStatus: this.status,
      httpStatus: this.mode === 'whole' && failed ? 200 : this.status,
      isError: final?.isError ?? (failed ? true : undefined),
      bytesOut: this.bytesOut,
    });
  }

  /** The upstream session was lost: the call cannot have had an effect, so it is made again on a new one. */
  private async repeat(exchange: Exchange, connection: Connection, call: UpstreamCall): Promise<void> {
    // Envoy's message timer is shorter than the call may take.
    this.mouth.write(reply.extendTimeout(connection.timeoutMs + 5000));
    this.repeating = new AbortController();
    const { signal } = this.repeating;
    const result = await repeatCall(exchange, connection, call, this.status, this.world, signal);
    if (signal.aborted) return;
    if ('problem' in result) {
      this.mouth.refuse(result.problem, { upstreamStatus: result.status });
      return;
    }
    this.bytesOut = result.body.length;
    const restored = this.restoreMessage(result.body);
    this.mouth.answer(
      { kind: 'answer', status: 200, headers: [['content-type', 'application/json']], body: [restored] },
      {
        verdict: 'allowed',
        reason: 'repeated on a new upstream session',
        upstreamStatus: result.status,
        isError: this.final?.isError,
      },
    );
  }
}

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
