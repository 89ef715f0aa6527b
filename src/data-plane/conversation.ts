/**
 * One ext_proc stream = one exchange: which phase Envoy is in, what it feeds, what is remembered in between, and
 * that every message gets exactly one reply. What a message means is decided by the steps, not here.
 */
import { randomUUID } from 'node:crypto';
import { auditRow } from '../audit/record.ts';
import type { Answer, Exchange, StepResult, UpstreamCall } from '../exchange/exchange.ts';
import { type Problem, problems } from '../exchange/problem.ts';
import { idText } from '../mcp/envelope.ts';
import { cancelUpstream } from '../routing/cancel.ts';
import { StoreAway } from '../sessions/stored-session.ts';
import type { ExchangeSpan } from '../telemetry/tracing.ts';
import type { ProcessingRequest } from '../wire.ts';
import type { Ending, Write } from './ending.ts';
import { readHeaders, requestHead } from './headers.ts';
import { onBody, onDelete, onHeaders, runSteps } from './pipeline.ts';
import * as reply from './reply.ts';
import { ResponseSide } from './response-side.ts';
import type { World } from './world.ts';

/** Below Envoy's message_timeout of 15 s: our own refusal is better than Envoy's. */
const STEP_DEADLINE_MS = 12_000;
/** Bytes of body that may wait behind something slow; what else an upstream sends stays with Envoy until then. */
const MAX_WAITING_BYTES = 1 << 20;

/** Where messages come from: held, no more come than are on their way. */
export interface Flow {
  hold(): void;
  release(): void;
}

export class Conversation {
  private readonly world: World;
  private readonly write: Write;
  private readonly startedAt = performance.now();
  private exchange: Exchange | undefined;
  private response: ResponseSide | undefined;
  private processorMs = 0;
  /** When the request went on to the upstream, and when its response headers came. */
  private forwardedAt: number | undefined;
  private answeredAt: number | undefined;
  private recorded = false;
  private isDuplex = false;
  private span: ExchangeSpan | undefined;
  private busy: Promise<void> | undefined;
  private waitingBytes = 0;
  private isHeld = false;
  private readonly flow: Flow;
  private readonly abort: () => void;
  private cancelled = false;
  /** Takes the call off the list of those that can be cancelled. */
  private landed: (() => void) | undefined;

  /** `abort`: ends the exchange with an error, and with it the request at the upstream. */
  constructor(world: World, write: Write, abort: () => void, flow: Flow) {
    this.abort = abort;
    this.flow = flow;
    this.world = world;
    this.write = write;
  }

  /** Messages are handled strictly one after the other, whatever waits in between. */
  onMessage(message: ProcessingRequest): void {
    if (this.busy !== undefined) {
      const bytes = message.response_body?.body.length ?? 0;
      this.wait(bytes);
      this.busy = this.busy.then(() => {
        this.wait(-bytes);
        return this.handle(message);
      });
      return;
    }
    const pending = this.handle(message);
    if (pending === undefined) return;
    const done: Promise<void> = pending.finally(() => {
      if (this.busy === done) this.busy = undefined;
    });
    this.busy = done;
  }

  private wait(bytes: number): void {
    this.waitingBytes += bytes;
    const isFull = this.waitingBytes > MAX_WAITING_BYTES;
    if (isFull === this.isHeld) return;
    this.isHeld = isFull;
    if (isFull) this.flow.hold();
    else this.flow.release();
  }

  /** Envoy has closed the stream: the response is complete, or the client went away. */
  onEnd(): void {
    if (this.exchange !== undefined && !this.recorded) {
      const { client, upstream, envelope } = this.exchange;
      // To a modern upstream its stream has just ended, and a legacy client may come back for the answer.
      const isCancelled = client?.era === 'modern' && upstream?.via === 'upstream' && envelope?.kind === 'request';
      if (isCancelled) cancelUpstream(this.exchange, upstream, this.world, undefined);
      if (envelope?.method === 'subscriptions/listen')
        this.record({ verdict: 'allowed', reason: 'the client ended it' });
      else {
        this.record({
          verdict: 'failed',
          reason: this.cancelled
            ? 'cancelled by the client'
            : 'ended before its answer was complete: the client went away or the upstream broke off',
        });
      }
    }
    this.landed?.();
    this.response?.abandon();
  }

  /** A legacy client may take its request back with a message of its own, which may reach any process. */
  private watchForCancel(exchange: Exchange, call: UpstreamCall): void {
    const { session, envelope } = exchange;
    if (session === undefined || envelope?.kind !== 'request' || call.via === 'relay') return;
    this.landed = this.world.inFlight.add(session.id, idText(envelope), (reason) => {
      this.cancelled = true;
      this.response?.hurry();
      const upstream = exchange.upstream ?? call;
      if (upstream.session !== undefined) cancelUpstream(exchange, upstream, this.world, reason);
      // Without a session an upstream takes the end of the request for it; the one leaves its client an answer.
      else if (this.answeredAt === undefined) this.refuse(problems.cancelled());
      else this.abort();
    });
  }

  /** A call that waits for a session with its upstream can be taken back, too: then nobody has to be told. */
  private watchWhileWaiting({ session, envelope }: Exchange): void {
    if (session === undefined || envelope?.kind !== 'request') return;
    this.landed = this.world.inFlight.add(session.id, idText(envelope), () => {
      this.cancelled = true;
    });
  }

  private handle(message: ProcessingRequest): Promise<void> | undefined {
    const began = performance.now();
    const spent = (): void => {
      this.processorMs += performance.now() - began;
    };
    try {
      const pending = this.dispatch(message);
      if (pending !== undefined) return pending.catch((error: unknown) => this.fail(error)).finally(spent);
    } catch (error) {
      this.fail(error);
    }
    spent();
    return undefined;
  }

  private dispatch(message: ProcessingRequest): Promise<void> | undefined {
    switch (message.request) {
      case 'request_headers':
        return this.onRequestHeaders(message);
      case 'request_body':
        return this.onRequestBody((message.request_body as { body: Buffer }).body);
      case 'request_trailers':
        this.write(reply.CONTINUE_REQUEST_TRAILERS, false);
        return undefined;
      case 'response_headers':
        this.answeredAt = performance.now();
        return this.responseSide().onHeaders(
          readHeaders(message.response_headers ?? {}),
          message.response_headers?.end_of_stream === true,
        );
      case 'response_body':
        return this.response?.onBody(message.response_body as { body: Buffer; end_of_stream?: boolean });
      case 'response_trailers':
        return this.onResponseTrailers();
      default:
        return undefined;
    }
  }

  private onResponseTrailers(): Promise<void> | undefined {
    const pending = this.response?.onTrailers();
    const goOn = (): void => this.write(reply.CONTINUE_RESPONSE_TRAILERS, true);
    if (pending !== undefined) return pending.then(goOn);
    goOn();
    return undefined;
  }

  private onRequestHeaders(message: ProcessingRequest): Promise<void> | undefined {
    const headers = readHeaders(message.request_headers ?? {});
    const snapshot = this.world.snapshot();
    if (snapshot === undefined) {
      this.write(reply.immediate(reply.problemAnswer(undefined, problems.starting())), true);
      return undefined;
    }
    const exchange: Exchange = {
      head: requestHead(headers, message.request_headers?.end_of_stream === true),
      requestId: headers.get('x-request-id') ?? randomUUID(),
      at: Date.now(),
      snapshot,
    };
    this.exchange = exchange;
    return this.settle(runSteps(onHeaders, exchange, this.world), (result) => {
      if (result !== undefined) return this.conclude(result);
      if (exchange.head.method === 'DELETE') {
        return this.settle(runSteps(onDelete, exchange, this.world), (deleted) => this.conclude(deleted));
      }
      // A POST without a body gets no body message: it is judged as an empty one.
      if (exchange.head.endOfStream) return this.onRequestBody(Buffer.alloc(0));
      this.isDuplex = looksLikeCall(exchange);
      this.write(reply.continueRequestHeaders(this.isDuplex), false);
      return undefined;
    });
  }

  private onRequestBody(body: Buffer): Promise<void> | undefined {
    const { exchange } = this;
    if (exchange === undefined) throw new Error('a body before its headers');
    exchange.body = body;
    const result = runSteps(onBody, exchange, this.world);
    if (result instanceof Promise) this.watchWhileWaiting(exchange);
    return this.settle(result, (settled) => this.conclude(settled));
  }

  /** Goes on at once where it can, else when the promise settles or the deadline passes. */
  private settle(
    result: StepResult | Promise<StepResult>,
    then: (result: StepResult) => Promise<void> | undefined,
  ): Promise<void> | undefined {
    if (!(result instanceof Promise)) return then(result);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<StepResult>((resolve) => {
      timer = setTimeout(() => resolve({ kind: 'refuse', problem: problems.deadline() }), STEP_DEADLINE_MS);
    });
    return Promise.race([result, late])
      .finally(() => clearTimeout(timer))
      .then(then);
  }

  private conclude(result: StepResult): undefined {
    this.landed?.();
    if (this.cancelled) this.refuse(problems.cancelled());
    else if (result === undefined) this.forward();
    else if (result.kind === 'refuse') this.refuse(result.problem);
    else this.answer(result, { verdict: 'allowed' });
    return undefined;
  }

  private forward(): void {
    const { exchange } = this;
    if (exchange?.upstream === undefined) throw new Error('a pipeline that decided nothing');
    this.write(reply.forward(exchange, exchange.upstream), false);
    this.forwardedAt = performance.now();
    this.span = this.world.tracing.exchange(exchange, this.startedAt);
    this.watchForCancel(exchange, exchange.upstream);
  }

  private answer(answer: Answer, ending: Ending): void {
    const size = answer.body.reduce((sum, part) => sum + part.length, 0);
    const { edgeThresholdBytes } = this.world;
    if (
      answer.edge !== undefined &&
      edgeThresholdBytes !== undefined &&
      size > edgeThresholdBytes &&
      this.exchange !== undefined
    ) {
      this.write(reply.toEdge(this.exchange, answer.edge), false);
      this.responseSide().expectEdge(size);
      return;
    }
    this.write(reply.immediate(answer), true);
    this.record({ httpStatus: answer.status, bytesOut: size, ...ending });
  }

  private refuse(problem: Problem, ending: Partial<Ending> = {}): void {
    if (this.exchange !== undefined) this.exchange.problem = problem;
    this.answer(reply.problemAnswer(this.exchange, problem), {
      verdict: problem.verdict,
      reason: problem.reason,
      ...ending,
    });
  }

  private responseSide(): ResponseSide {
    if (this.response !== undefined) return this.response;
    this.response = new ResponseSide(
      this.exchange,
      this.world,
      {
        write: this.write,
        ran: (outcome, began, ended) => this.span?.rule(outcome, began, ended),
        record: (ending) => this.record(ending),
        refuse: (problem, ending) => this.refuse(problem, ending),
        answer: (answer, ending) => this.answer(answer, ending),
      },
      this.isDuplex,
    );
    if (this.cancelled) this.response.hurry();
    return this.response;
  }

  /** A bug: this exchange fails, with a number that joins the client's message to the log line. */
  private fail(error: unknown): void {
    if (error instanceof StoreAway) {
      this.world.log.warn({ error: error.message, requestId: this.exchange?.requestId }, 'Postgres is away');
      this.refuse(problems.storeAway(), { reason: error.message });
      return;
    }
    const incident = randomUUID().slice(0, 8);
    this.world.log.error({ incident, err: error, requestId: this.exchange?.requestId }, 'exchange failed');
    this.refuse(problems.internal(incident), { reason: `incident ${incident}` });
  }

  private record(ending: Ending): void {
    const { exchange, world } = this;
    if (this.recorded || exchange === undefined) return;
    this.recorded = true;
    this.landed?.();
    const now = performance.now();
    const durationUs = Math.round((now - this.startedAt) * 1000);
    this.span?.end(ending, now);
    world.audit.push(
      auditRow(exchange, {
        verdict: ending.verdict,
        reason: ending.reason,
        upstreamStatus: ending.upstreamStatus,
        isError: ending.isError,
        httpStatus: ending.httpStatus,
        bytesOut: ending.bytesOut,
        result: ending.result,
        enrichment: ending.enrichment,
        traceId: this.span?.traceId,
        durationUs,
        upstreamUs:
          this.forwardedAt === undefined ? undefined : Math.round(((this.answeredAt ?? now) - this.forwardedAt) * 1000),
        processorUs: Math.round(this.processorMs * 1000),
      }),
    );
    world.meters.exchange(
      exchange.envelope?.method ?? exchange.head.method,
      ending.verdict,
      exchange.connection?.name,
      durationUs,
    );
  }
}

/** `tools/list` and its like fit; a call's name and arguments do not. Bytes. */
const SHORT_BODY = 80;

/**
 * A guess from the length alone, since the body is not here yet; a wrong one costs a round trip, or copies of a big
 * list, and nothing else. Calls want their answer in one go, big lists want to stay out of here.
 */
function looksLikeCall({ head }: Exchange): boolean {
  return Number(head.header('content-length') ?? SHORT_BODY + 1) > SHORT_BODY;
}
