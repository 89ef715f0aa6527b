/** The one answer to a batch: a JSON array, unless one of its answers is a stream; then a stream of all of them. */
import type { Pulse } from '../pulse.ts';
import { EventStream } from '../stream.ts';
import type { RelayResponse } from '../world.ts';
import { TooMuch } from './allowance.ts';
import { lostAnswer } from './answers.ts';
import { Outlet } from './outlet.ts';

/** What a JSON array may come to. */
const MAX_ARRAY_BYTES = 32 << 20;

export class BatchAnswer {
  private readonly out: RelayResponse;
  /** Keeps a stream alive; undefined: the client takes no stream. */
  private readonly pulse: Pulse | undefined;
  private events: { readonly stream: EventStream; readonly outlet: Outlet } | undefined;
  /** By the place of the request in the batch; all that there is, unless it leaves as events. */
  private collected: Buffer[] = [];
  private size = 0;

  constructor(response: RelayResponse, pulse: Pulse | undefined) {
    this.out = response;
    this.pulse = pulse;
  }

  /** Nothing has been said yet. */
  get isEmpty(): boolean {
    return this.events === undefined && this.size === 0;
  }

  /** From now on every message leaves as it comes, if the client takes that. */
  async stream(): Promise<void> {
    if (this.events !== undefined || this.pulse === undefined) return;
    const stream = new EventStream(this.out, this.pulse, () => {});
    const outlet = new Outlet(stream);
    this.events = { stream, outlet };
    for (const message of Object.values(this.collected)) await outlet.write(message);
    this.collected = [];
  }

  /** The response to the message at `index`. */
  async response(index: number, id: string, message: Buffer): Promise<void> {
    if (this.events !== undefined) return this.events.outlet.write(message);
    const fits = this.size + message.length <= MAX_ARRAY_BYTES;
    const kept = fits ? message : lostAnswer(id, new TooMuch('with the others'));
    this.collected[index] = kept;
    this.size += kept.length;
  }

  /** What is no response: told while it is news, or not at all, since an array of responses has no place for it. */
  async aside(message: Buffer): Promise<void> {
    await this.events?.outlet.write(message);
  }

  end(): void {
    if (this.events !== undefined) {
      this.events.stream.end();
      return;
    }
    const parts = Object.values(this.collected).flatMap((message, i) => [i === 0 ? OPEN : COMMA, message]);
    parts.push(CLOSE);
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    this.out.writeHead(200, { 'content-type': 'application/json', 'content-length': length });
    for (const part of parts) this.out.write(part);
    this.out.end();
  }
}

const OPEN = Buffer.from('[');
const COMMA = Buffer.from(',');
const CLOSE = Buffer.from(']');
