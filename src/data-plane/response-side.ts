/** The way back: what an upstream (or Envoy in its place) answered, restored for the client and read for the audit. */

import type { Answer, Exchange } from '../exchange/exchange.ts';
import { type Judgement, readJudgement } from '../exchange/judgement.ts';
import { problems } from '../exchange/problem.ts';
import { EventTooLarge } from '../mcp/events.ts';
import { JUDGEMENT_HEADER, LOCAL_REPLY_HEADER } from '../snapshot/revision.ts';
import type { Ending, Mouth } from './ending.ts';
import { type Enriching, enrichmentOf } from './enriching.ts';
import { EventPassage } from './event-passage.ts';
import { type HeaderMap, isEventStream } from './headers.ts';
import { LostCall } from './lost-call.ts';
import * as reply from './reply.ts';
import { Restoration, type Restored } from './restoration.ts';
import { upstreamProblem } from './upstream-problem.ts';
import type { World } from './world.ts';

/** JSON up to this size is seen whole before it goes on; more is passed on as it comes. */
const WHOLE_BYTES = 1 << 20;
/** A JSON body that may hold names of the upstream's is edited up to this size; a larger one is passed on as it is. */
const EDITED_BYTES = 4 << 20;
/** An event, or a JSON body that must be edited, never grows past this. */
const MAX_HELD_BYTES = 16 << 20;
/** How long a stream may stay open after the response. Ended at once, its connection would be lost for the next call. */
const LINGER_MS = 2000;
const EMPTY = Buffer.alloc(0);

/**
 * `whole`: Envoy buffers the body and hands it over once. `held`: it comes in pieces and is kept until it is complete
 * or too large. `events`: an event stream, one event at a time. `passing`: pieces go on as they come. `over`: the
 * client has its answer; what still comes is of no interest.
 */
type Mode = 'none' | 'whole' | 'held' | 'events' | 'passing' | 'over';

export class ResponseSide {
  private readonly exchange: Exchange | undefined;
  private readonly mouth: Mouth;
  /** Body pieces come without waiting for our reply to the headers, and go nowhere unless we send them on. */
  private readonly isDuplex: boolean;
  private mode: Mode = 'none';
  private status = 0;
  /** Response headers that are not answered yet: the body may still change them. */
  private waiting: HeaderMap | undefined;
  private readonly lost: LostCall;
  private edgeBytes: number | undefined;
  private held: Buffer[] = [];
  private heldBytes = 0;
  private bytesOut = 0;
  private events: EventPassage | undefined;
  private readonly restoration: Restoration | undefined;
  private readonly enriching: Enriching | undefined;
  /** How the relay judged what it answers. */
  private judgement: Judgement | undefined;
  private lingering: NodeJS.Timeout | undefined;

  constructor(exchange: Exchange | undefined, world: World, mouth: Mouth, isDuplex: boolean) {
    this.exchange = exchange;
    this.mouth = mouth;
    this.isDuplex = isDuplex;
    this.restoration = exchange === undefined ? undefined : new Restoration(exchange, world);
    this.enriching = exchange === undefined ? undefined : enrichmentOf(exchange, world, mouth.ran);
    this.lost = new LostCall(world, mouth, isDuplex, {
      finish: (body, status, then) => {
        const restored = this.restored(body, status);
        this.bytesOut = restored.bytes.length;
        return this.enriched(restored, then);
      },
      ending: () => this.ending(),
    });
  }

  /** The answer comes from a processor's HTTP service: nothing to look at. */
  expectEdge(bytes: number): void {
    this.edgeBytes = bytes;
  }

  /** The client is gone: what is still being done for it stops. */
  abandon(): void {
    this.lost.abandon();
    this.hurry();
    clearTimeout(this.lingering);
  }

  /** Nobody wants to know what rules would still find out. */
  hurry(): void {
    this.enriching?.abandon();
  }

  onHeaders(headers: HeaderMap, isLast: boolean): Promise<void> | undefined {
    this.status = Number(headers.get(':status') ?? 0);
    const { exchange } = this;
    const call = exchange?.upstream;
    const connection = exchange?.connection;
    const local = headers.get(LOCAL_REPLY_HEADER);
    if (exchange === undefined || call === undefined) {
      this.onOtherAnswer(headers, local, isLast);
      return undefined;
    }
    if (call.via === 'relay') {
      this.onRelayed(headers, local, isLast);
      return undefined;
    }
    if (connection === undefined) throw new Error('an upstream call without its connection');
    const isRequest = exchange.envelope?.kind === 'request';
    if (!isRequest && local === undefined && this.status >= 200 && this.status < 300) {
      // A notification or an answer of the client's, taken: there is nothing to read.
      this.mode = 'over';
      this.mouth.answer(ACCEPTED, { verdict: 'allowed', upstreamStatus: this.status });
      return undefined;
    }
    const isEmpty = isLast || headers.get('content-length') === '0';
    if (isRequest && local === undefined && call.session !== undefined) {
      // 404 says that the session is gone, before anything ran.
      if (this.status === 404) {
        this.mode = 'over';
        return this.lost.repeatAtOnce(exchange);
      }
      this.lost.expect(this.status, isEmpty);
    }
    const problem = this.lost.isExpected
      ? undefined
      : upstreamProblem(connection, this.status, headers, local, !isEmpty);
    if (problem === undefined) this.begin(headers);
    else {
      this.mode = 'over';
      this.mouth.refuse(problem, { upstreamStatus: local === undefined ? this.status : undefined });
    }
    return undefined;
  }

  /** Edge answers, and what Envoy refused by itself before an upstream was chosen. */
  private onOtherAnswer(headers: HeaderMap, local: string | undefined, isLast: boolean): void {
    this.mode = this.isDuplex && !isLast ? 'passing' : 'none';
    // Not the last word, though nothing more will be asked: the body is still on its way, and Envoy would reset a stream
    // that we end before it (many resets, and Node's HTTP/2 drops the whole connection).
    this.mouth.write(reply.continueResponse(headers, this.isDuplex ? 'as chosen' : 'none'), false);
    if (this.edgeBytes !== undefined && this.status === 200) {
      this.mouth.record({ verdict: 'allowed', httpStatus: this.status, bytesOut: this.edgeBytes });
    } else {
      const reason = local ?? `Envoy answered ${this.status}`;
      this.mouth.record({ verdict: 'failed', reason, httpStatus: this.status });
    }
  }

  /** The relay has made an answer for this client; a body that names things of one connection is still to be renamed. */
  private onRelayed(headers: HeaderMap, local: string | undefined, isLast: boolean): void {
    this.judgement = readJudgement(headers.get(JUDGEMENT_HEADER));
    if (local !== undefined) {
      this.mode = 'over';
      this.mouth.refuse(problems.relayAway(), { reason: local });
    } else if (isLast || headers.get('content-length') === '0') {
      this.mode = 'over';
      this.mouth.write(reply.continueResponse(headers, 'as chosen'), true);
      this.finish();
    } else this.begin(headers);
  }

  /** Answers the headers, or keeps them until the body says what they should be. */
  private begin(headers: HeaderMap): void {
    const length = Number(headers.get('content-length') ?? (this.isDuplex ? 0 : Number.POSITIVE_INFINITY));
    const isSmall = length <= WHOLE_BYTES;
    if (isEventStream(headers) && this.status < 300) this.mode = 'events';
    // A JSON-RPC error under an error status becomes an answer that clients read: that takes the whole body.
    else if (this.isDuplex) this.mode = isSmall || this.status >= 400 || this.mayEdit ? 'held' : 'passing';
    else this.mode = isSmall || this.status >= 400 ? 'whole' : 'held';

    if (this.mode === 'events' && this.restoration !== undefined) {
      this.events = new EventPassage(this.restoration, MAX_HELD_BYTES, {
        write: (piece) => this.mouth.write(reply.streamPiece(piece, false), false),
        enriched:
          this.enriching &&
          ((data, then) => this.enriched({ bytes: data, status: undefined }, (one) => then(one.bytes))),
      });
    }
    if (this.mode === 'held' && this.isDuplex) {
      this.waiting = headers;
      return;
    }
    const view = this.isDuplex ? 'as chosen' : this.mode === 'whole' ? 'buffered' : 'streamed';
    this.mouth.write(reply.continueResponse(headers, view), false);
  }

  private get mayEdit(): boolean {
    return this.restoration?.mayEdit === true || this.enriching !== undefined;
  }

  onBody({ body, end_of_stream: ended }: { body: Buffer; end_of_stream?: boolean }): Promise<void> | undefined {
    this.bytesOut += body.length;
    const isLast = ended === true;
    switch (this.mode) {
      case 'whole':
        return this.onWhole(body);
      case 'held':
        return this.onHeld(body, isLast);
      case 'events':
        return this.onEvents(body, isLast);
      case 'passing':
        this.mouth.write(reply.streamPiece(body, isLast), isLast);
        if (isLast) this.finish();
        return undefined;
      default:
        return undefined;
    }
  }

  /** A streamed response may end with trailers instead of a last piece. */
  onTrailers(): Promise<void> | undefined {
    const end = (): void => {
      if (this.mode === 'events') this.flushEvents(false);
      if (this.mode !== 'over') this.finish();
    };
    const released = this.mode === 'held' ? this.releaseHeld(Buffer.concat(this.held), false) : undefined;
    if (released !== undefined) return released.then(end);
    end();
    return undefined;
  }

  private onWhole(body: Buffer): Promise<void> | undefined {
    if (this.lost.isMeant(body)) {
      return this.lost.repeatInstead(this.exchange, (bytes, status) =>
        this.mouth.write(reply.replaceBody(bytes, status), true),
      );
    }
    return this.enriched(this.restored(body), ({ bytes, status }) => {
      const same = bytes === body && status === undefined;
      this.mouth.write(same ? reply.CONTINUE_RESPONSE_BODY : reply.replaceBody(bytes, status), true);
      this.finish();
    });
  }

  /** Hands on what the rules make of a result: at once where none fits. */
  private enriched(restored: Restored, then: (enriched: Restored) => void): Promise<void> | undefined {
    const final = this.restoration?.final;
    if (this.enriching === undefined || final?.kind !== 'result' || final.isError) {
      then(restored);
      return undefined;
    }
    const { bytes: before, status } = restored;
    return this.enriching.apply(before, final).then((bytes) => {
      this.bytesOut += bytes.length - before.length;
      then({ bytes, status });
    });
  }

  /** Complete if it turns out small, else passed on as it comes. */
  private onHeld(body: Buffer, isLast: boolean): Promise<void> | undefined {
    // Pieces are views of gRPC frames; a single last one is used before the next frame is read.
    this.held.push(isLast ? body : Buffer.from(body));
    this.heldBytes += body.length;
    const mayPass = this.restoration?.mustEdit !== true && this.status < 400;
    const passAbove = this.mayEdit ? EDITED_BYTES : WHOLE_BYTES;
    if (isLast) {
      const whole = this.held.length === 1 ? body : Buffer.concat(this.held);
      this.held = [];
      if (!this.lost.isMeant(whole)) return this.releaseHeld(whole, true);
      return this.lost.repeatInstead(this.exchange, (bytes, status) => {
        this.releaseHeaders(status);
        this.mouth.write(reply.streamPiece(bytes, true), true);
      });
    }
    if (this.heldBytes > MAX_HELD_BYTES && !mayPass) this.tooLarge();
    else if (this.heldBytes > passAbove && mayPass) {
      this.enriching?.tooLarge(passAbove);
      this.releaseHeaders(undefined);
      this.mouth.write(reply.streamPiece(Buffer.concat(this.held), false), false);
      this.held = [];
      this.mode = 'passing';
    }
    return undefined;
  }

  /** It would have to be edited, and is too large for that: better no answer than one nobody can match to its call. */
  private tooLarge(): void {
    const what = `its answer is larger than ${MAX_HELD_BYTES >> 20} MiB`;
    const problem = problems.upstreamError(this.exchange?.connection?.name ?? '', what);
    this.mode = 'over';
    this.held = [];
    if (this.waiting !== undefined) {
      this.mouth.refuse(problem, { upstreamStatus: this.status });
      return;
    }
    // The headers are gone, but nothing of the body.
    const [body = EMPTY] = reply.problemAnswer(this.exchange, problem).body;
    this.mouth.write(reply.streamPiece(body, true), true);
    this.mouth.record({ ...this.ending(), verdict: 'failed', reason: what });
  }

  private releaseHeld(whole: Buffer, isLast: boolean): Promise<void> | undefined {
    return this.enriched(this.restored(whole), ({ bytes, status }) => {
      this.releaseHeaders(status);
      this.mouth.write(reply.streamPiece(bytes, isLast), isLast);
      if (isLast) this.finish();
    });
  }

  /** `status`: of the answer that this is the body of. */
  private restored(whole: Buffer, status = this.status): Restored {
    return this.restoration?.answer(whole, status) ?? { bytes: whole, status: undefined };
  }

  /** `status`: replaces the upstream's, with a body of ours. */
  private releaseHeaders(status: number | undefined): void {
    if (this.waiting === undefined) return;
    this.mouth.write(reply.continueResponse(this.waiting, 'as chosen', status), false);
    this.waiting = undefined;
  }

  private onEvents(body: Buffer, isLast: boolean): Promise<void> | undefined {
    const end = (): void => {
      if (isLast) {
        this.flushEvents(true);
        this.finish();
      } else if (this.restoration?.isComplete === true) this.waitForEnd();
    };
    let passing: Promise<void> | undefined;
    try {
      passing = this.events?.pass(body);
    } catch (error) {
      if (!(error instanceof EventTooLarge)) throw error;
      this.mode = 'over';
      const last = this.restoration?.breakOff(`its answer holds ${error.message}`) ?? EMPTY;
      this.mouth.write(reply.streamPiece(last, true), true);
      this.mouth.record({ ...this.ending(), verdict: 'failed', reason: error.message });
      return undefined;
    }
    if (passing !== undefined) return passing.then(end);
    end();
    return undefined;
  }

  /** After the response a stream is to end; one that does not is ended here, so that it holds nothing and nobody up. */
  private waitForEnd(): void {
    this.lingering ??= setTimeout(() => {
      if (this.mode !== 'events') return;
      this.mode = 'over';
      this.mouth.write(reply.streamPiece(EMPTY, true), true);
      this.finish();
    }, LINGER_MS).unref();
  }

  private flushEvents(isLast: boolean): void {
    clearTimeout(this.lingering);
    // An event that the stream's end cut off is none (WHATWG HTML, "Interpreting an event stream").
    const rest = this.restoration?.end() ?? EMPTY;
    if (isLast || rest.length > 0) this.mouth.write(reply.streamPiece(rest, isLast), isLast);
  }

  private ending(): Omit<Ending, 'verdict'> {
    const final = this.restoration?.final;
    return {
      upstreamStatus: this.status,
      httpStatus: 200,
      isError: final?.isError,
      bytesOut: this.bytesOut,
      result: final?.outcome && final.bytes.subarray(final.outcome.start, final.outcome.end),
      enrichment: this.enriching?.recorded,
    };
  }

  private finish(): void {
    if (this.judgement !== undefined) {
      this.mouth.record({ ...this.ending(), ...this.judgement, httpStatus: this.status, isError: true });
      return;
    }
    if (this.status < 300 && this.exchange?.problem === undefined)
      this.mouth.record({ ...this.ending(), verdict: 'allowed', httpStatus: this.status });
    else {
      const reason = this.exchange?.problem?.reason ?? `the upstream answered HTTP ${this.status}`;
      this.mouth.record({ ...this.ending(), verdict: 'failed', reason, isError: true });
    }
  }
}

const ACCEPTED: Answer = { kind: 'answer', status: 202, headers: [], body: [] };
