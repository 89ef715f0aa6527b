/**
 * Restores an upstream's messages for the client: its own id where the upstream was given another, and a readable answer
 * where it would get an error status. Remembers the response, which the audit wants to know about.
 */
import type { Exchange } from '../exchange/exchange.ts';
import { problems } from '../exchange/problem.ts';
import { idText } from '../mcp/envelope.ts';
import { eventData } from '../mcp/events.ts';
import { parseResponse, type ResponseEnvelope } from '../mcp/response.ts';
import { splice } from '../mcp/splice.ts';
import { problemAnswer } from './reply.ts';

export class Restoration {
  /** The response to the call, once it has come. */
  final: ResponseEnvelope | undefined;
  private readonly exchange: Exchange | undefined;

  constructor(exchange: Exchange | undefined) {
    this.exchange = exchange;
  }

  /** Whether the answer carries an id that is not the client's. */
  get mustEdit(): boolean {
    return this.exchange?.upstream?.mintedId !== undefined;
  }

  /** One whole JSON-RPC message; the same bytes unless the id has to change. */
  message(bytes: Buffer): Buffer {
    const message = parseResponse(bytes);
    if (message === undefined || message.kind === 'message' || message.id === undefined) return bytes;
    this.final = message;
    const minted = this.exchange?.upstream?.mintedId;
    if (minted === undefined || bytes.toString('utf8', message.id.start, message.id.end) !== minted) return bytes;
    return splice(bytes, [{ ...message.id, with: idText(this.exchange?.envelope) }]);
  }

  /** One event of a stream. */
  event(event: Buffer): Buffer {
    const data = eventData(event);
    if (data === undefined) return event;
    const restored = this.message(data);
    if (restored === data) return event;
    // Whitespace between values may hold line ends: each line of data has its own field.
    const lines = restored.toString('utf8').split('\n');
    return Buffer.from(`event: message\n${lines.map((line) => `data: ${line}\n`).join('')}\n`);
  }

  /**
   * A whole JSON answer as the client should get it. SDK transports throw on a status that is not 2xx and the model never
   * reads why: an error becomes an answer with status 200 (`isReplaced`), and so does what is no JSON-RPC at all.
   */
  answer(bytes: Buffer, status: number): { bytes: Buffer; isReplaced: boolean } {
    const restored = this.message(bytes);
    if (this.final?.kind === 'error') return { bytes: restored, isReplaced: status >= 300 };
    if (this.final !== undefined && status < 300) return { bytes: restored, isReplaced: false };
    const { exchange } = this;
    const what = status < 300 ? 'its answer is not a JSON-RPC response' : `it answered HTTP ${status}`;
    const problem = problems.upstreamError(exchange?.connection?.name ?? '', what);
    if (exchange !== undefined) exchange.problem = problem;
    const [body = restored] = problemAnswer(exchange, problem).body;
    return { bytes: body, isReplaced: true };
  }
}
