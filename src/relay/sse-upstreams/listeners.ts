/** The GET streams of one session: what belongs to no request goes to the newest, or waits for the next. */
import type { Pulse } from '../pulse.ts';
import { EventStream } from '../stream.ts';
import type { RelayResponse } from '../world.ts';

/** Streams of one session; the oldest gives way. */
const MAX_STREAMS = 16;
/** What may wait; the oldest goes first. */
const MAX_KEPT = 100;
const MAX_KEPT_BYTES = 256 << 10;

export class Listeners {
  private readonly streams: EventStream[] = [];
  private kept: Buffer[] = [];
  private keptBytes = 0;

  get size(): number {
    return this.streams.length;
  }

  /** Answers with a stream. `onEnd`: it is over. */
  add(response: RelayResponse, pulse: Pulse, onEnd: () => void): void {
    const stream = new EventStream(response, pulse, () => {
      const at = this.streams.indexOf(stream);
      if (at >= 0) this.streams.splice(at, 1);
      onEnd();
    });
    if (!stream.isOpen) return;
    this.streams.push(stream);
    if (this.streams.length > MAX_STREAMS) this.streams[0]?.end();
    const waiting = this.kept;
    this.kept = [];
    this.keptBytes = 0;
    for (const message of waiting) this.tell(message);
  }

  tell(message: Buffer): void {
    for (let i = this.streams.length - 1; i >= 0; i--) if (this.streams[i]?.send(message) === true) return;
    if (message.length > MAX_KEPT_BYTES) return;
    // A view of a whole chunk otherwise.
    this.kept.push(Buffer.from(message));
    this.keptBytes += message.length;
    while (this.kept.length > MAX_KEPT || this.keptBytes > MAX_KEPT_BYTES) {
      this.keptBytes -= this.kept.shift()?.length ?? 0;
    }
  }

  end(): void {
    for (const stream of [...this.streams]) stream.end();
    this.kept = [];
    this.keptBytes = 0;
  }
}
