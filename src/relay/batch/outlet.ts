/** An event stream that several sources write to: one message after the other, each when its client has room for it. */
import type { EventStream } from '../stream.ts';

export class Outlet {
  private readonly stream: EventStream;
  private turn: Promise<void> = Promise.resolve();

  constructor(stream: EventStream) {
    this.stream = stream;
  }

  /** Resolves when it is written, or nobody is there to take it: then the source may bring the next. */
  write(message: Buffer): Promise<void> {
    this.turn = this.turn.then(async () => {
      await this.stream.drained();
      this.stream.send(message);
    });
    return this.turn;
  }
}
