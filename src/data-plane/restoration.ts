/**
 * The answer to one exchange as its client gets it: each message translated, each question of the upstream's put or
 * answered, and something readable where the upstream gave nothing that is an answer.
 */
import { answerUpstream } from '../egress/tell.ts';
import type { Exchange } from '../exchange/exchange.ts';
import { type Problem, problems } from '../exchange/problem.ts';
import { NO_CAPABILITIES } from '../mcp/capabilities.ts';
import { canReturnTo, eventData, eventFields, formatEvent } from '../mcp/events.ts';
import type { ResponseEnvelope } from '../mcp/response.ts';
import { question } from '../translate/ask.ts';
import { modernStatus, readError } from '../translate/error.ts';
import { type Translated, Translation } from '../translate/translation.ts';
import { problemAnswer } from './reply.ts';
import type { World } from './world.ts';

/** A whole answer; `status` where the response's own will not do. */
export interface Restored {
  readonly bytes: Buffer;
  readonly status: number | undefined;
}

/** Each is sealed, so that a flood of them would cost everybody. An agent that samples in a loop needs hundreds. */
const MAX_ASKS = 1000;

export class Restoration {
  private readonly exchange: Exchange;
  private readonly world: World;
  /** undefined: what comes was made for this client by a relay, and is about no single connection. */
  private readonly translation: Translation | undefined;
  /** The stream can be taken up again where it breaks off: its events are numbered. */
  private isResumable = false;
  private asked = 0;
  /** A message of ours has ended the stream in the upstream's place. */
  private isOver = false;

  constructor(exchange: Exchange, world: World) {
    this.exchange = exchange;
    this.world = world;
    const call = exchange.upstream;
    const isOpaque = call === undefined || (call.via === 'relay' && exchange.connection === undefined);
    this.translation = isOpaque ? undefined : new Translation(exchange, call, world.handles);
  }

  /** The response to the call, once it has come. */
  get final(): ResponseEnvelope | undefined {
    return this.translation?.final;
  }

  /** Without an edit the client could not use the answer, however large it is. */
  get mustEdit(): boolean {
    return this.translation?.mustEdit === true;
  }

  /** The answer may hold names that clients know by others. */
  get mayEdit(): boolean {
    return this.translation?.mayEdit === true;
  }

  /** One event of a stream; undefined when it is not for the client. */
  event(event: Buffer): Buffer | undefined {
    if (this.translation === undefined) return event;
    if (this.isOver) return undefined;
    const fields = eventFields(event);
    const id = this.wrappedId(fields.id);
    const data = eventData(event);
    // Comments keep a connection alive; an empty event with an id is where a stream can be taken up again.
    if (data === undefined || data.length === 0) {
      if (fields.id === undefined) return KEEP_ALIVE;
      return id === undefined ? undefined : formatEvent(EMPTY, { id, retry: fields.retry });
    }
    const bytes = this.take(this.translation.message(data));
    if (bytes === undefined) return undefined;
    // A client skips a byte order mark at the beginning, and would read a line that was none here.
    const isPlain = bytes === data && fields.id === undefined && event[0] !== MARK;
    return isPlain ? event : formatEvent(bytes, { id, retry: fields.retry });
  }

  /** The client has its answer: nothing that still comes is for it. */
  get isComplete(): boolean {
    return this.final !== undefined || this.isOver;
  }

  /** What a stream that has ended still owes its client. */
  end(): Buffer | undefined {
    // A relay ends a stream without an answer where its client has taken the request back.
    const isMeant = this.isResumable || this.exchange.upstream?.via === 'relay';
    return isMeant ? undefined : this.breakOff('its answer ended before the response');
  }

  /** The event that says why no more will come; undefined where the client has its answer, or waits for none. */
  breakOff(what: string): Buffer | undefined {
    if (this.translation === undefined || this.isComplete) return undefined;
    if (this.exchange.envelope?.kind !== 'request') return undefined;
    return formatEvent(this.problem(this.upstreamError(what)), {});
  }

  /**
   * A whole JSON answer. SDK transports throw on a status that is not 2xx and the model never reads why: an error becomes an
   * answer with the status its era gives it, and what is no JSON-RPC response becomes one.
   */
  answer(bytes: Buffer, status: number): Restored {
    if (this.translation === undefined) return { bytes, status: undefined };
    const translated = this.translation.message(bytes);
    const final = this.take(translated);
    if (final !== undefined && translated.kind === 'final') {
      const wanted = translated.response.kind === 'error' ? this.errorStatus(translated.response) : 200;
      // An error page with a result in it is no answer.
      if (translated.response.kind === 'error' || status < 300) {
        return { bytes: final, status: wanted === status ? undefined : wanted };
      }
    } else if (this.isOver && final !== undefined) return { bytes: final, status: 200 };
    const what = status < 300 ? 'its answer is not a JSON-RPC response to it' : `it answered HTTP ${status}`;
    return { bytes: this.problem(this.upstreamError(what)), status: 200 };
  }

  /** undefined: nothing goes on. */
  private take(translated: Translated): Buffer | undefined {
    const { exchange, world } = this;
    switch (translated.kind) {
      case 'pass':
      case 'final':
        return translated.bytes;
      case 'needs input':
        return this.problem(problems.needsInput(exchange.connection?.name ?? '', 'input from the user'));
      case 'ask':
        return this.ask(translated);
      case 'drop':
        world.log.debug(
          { connection: exchange.connection?.name, requestId: exchange.requestId, reason: translated.reason },
          'a message of an upstream was dropped',
        );
        return undefined;
    }
  }

  private ask({ message }: Translated & { kind: 'ask' }): Buffer | undefined {
    const { exchange, world } = this;
    const { client, session, upstream: call, connection } = exchange;
    const names = this.translation?.names;
    if (client === undefined || call === undefined || connection === undefined || names === undefined) return undefined;
    // A client without a session could not answer.
    const capabilities = session === undefined ? NO_CAPABILITIES : client.capabilities;
    const put = question(message, { sessionId: session?.id ?? '', capabilities, names });
    if ('forClient' in put) {
      if (++this.asked <= MAX_ASKS) return put.forClient;
      return this.problem(problems.upstreamError(connection.name, 'it asked for too much in the middle of it'));
    }
    answerUpstream(world, connection, call.session, put.forUpstream);
    return undefined;
  }

  /** Upstream event ids are the upstream's own business; a legacy client gets ones that lead back to it. */
  private wrappedId(id: string | undefined): string | undefined {
    const { session, connection, upstream: call } = this.exchange;
    if (id === undefined || session === undefined || connection === undefined || call?.session === undefined)
      return undefined;
    // A session that many share is nobody's to come back to.
    if (call.owner?.sessionId === null || !canReturnTo(id)) return undefined;
    this.isResumable = true;
    return this.world.handles.wrap('event', session.id, [connection.name, id]);
  }

  private errorStatus({ bytes, outcome }: ResponseEnvelope): number {
    if (this.exchange.client?.era !== 'modern' || outcome === undefined) return 200;
    return modernStatus(readError(bytes, outcome)?.code ?? 0);
  }

  private upstreamError(what: string): Problem {
    return problems.upstreamError(this.exchange.connection?.name ?? '', what);
  }

  /** The message that tells of a problem in the answer's place. */
  private problem(problem: Problem): Buffer {
    this.isOver = true;
    this.exchange.problem = problem;
    return problemAnswer(this.exchange, problem).body[0] ?? EMPTY;
  }
}

const EMPTY = Buffer.alloc(0);
/** First byte of U+FEFF in UTF-8. */
const MARK = 0xef;
/** Says nothing, in our own bytes: what a client might read into the upstream's is nobody's knowledge. */
const KEEP_ALIVE = Buffer.from(':\n\n');
