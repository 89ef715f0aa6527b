/** The one answer to a batch: a JSON array, unless one of its answers is a stream; then a stream of all of them. */
import type { RelayResponse } from '../world.ts';
import { TooMuch } from './allowance.ts';
import { lostAnswer } from './answers.ts';
import { STREAM_HEADERS, sseMessage, writeWithin } from './sse.ts';

/** What a JSON array may come to. */
const MAX_ARRAY_BYTES = 32 << 20;

export class BatchAnswer {
  private readonly out: RelayResponse;
  private readonly acceptsStream: boolean;
  /** By the place of the request in the batch; undefined once they leave as events. */
  private collected: Buffer[] | undefined = [];
  private size = 0;

  constructor(response: RelayResponse, acceptsStream: boolean) {
    this.out = response;
    this.acceptsStream = acceptsStream;
  }

  /** Nothing has been said yet. */
  get isEmpty(): boolean {
    return this.collected !== undefined && this.size === 0;
  }

  /** From now on every message leaves as it comes, if the client takes that. */
  async stream(): Promise<void> {
    const { collected } = this;
    if (collected === undefined || !this.acceptsStream) return;
    this.collected = undefined;
    this.out.writeHead(200, STREAM_HEADERS);
    for (const message of Object.values(collected)) await this.write(message);
  }

  /** The response to the message at `index`. */
  async response(index: number, id: string, message: Buffer): Promise<void> {
    if (this.collected === undefined) return this.write(message);
    const kept =
      this.size + message.length <= MAX_ARRAY_BYTES ? message : lostAnswer(id, new TooMuch('with the others'));
    this.collected[index] = kept;
    this.size += kept.length;
  }

  /** What is no response: told while it is news, or not at all, since an array of responses has no place for it. */
  async aside(message: Buffer): Promise<void> {
    if (this.collected === undefined) await this.write(message);
  }

  end(): void {
    if (this.collected === undefined) {
      this.out.end();
      return;
    }
    const parts = Object.values(this.collected).flatMap((message, i) => [i === 0 ? OPEN : COMMA, message]);
    parts.push(CLOSE);
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    this.out.writeHead(200, { 'content-type': 'application/json', 'content-length': length });
    for (const part of parts) this.out.write(part);
    this.out.end();
  }

  private write(message: Buffer): Promise<void> {
    return writeWithin(this.out, sseMessage(message));
  }
}

const OPEN = Buffer.from('[');
const COMMA = Buffer.from(',');
const CLOSE = Buffer.from(']');
