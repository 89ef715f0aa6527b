/** Keeps a source from being asked more at once than it may be: the rest waits in line, and the line has an end. */
export interface QueueOptions {
  readonly maxConcurrent: number;
  /** Who comes when as many wait already is turned away. */
  readonly maxWaiting: number;
  /** What such a one is told. */
  readonly full: () => Error;
}

export class Queue {
  private readonly options: QueueOptions;
  private running = 0;
  /** First come, first served; a Set, so that one who leaves does not cost a search. */
  private readonly line = new Set<() => void>();

  constructor(options: QueueOptions) {
    this.options = options;
  }

  /**
   * Does the work when it is its turn. A signal that aborts before takes it out of the line, and rejects with the signal's
   * reason; afterwards the work itself must end, since its place is taken until it has.
   */
  async run<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    if (this.running < this.options.maxConcurrent) this.running++;
    else await this.turn(signal);
    try {
      return await work();
    } finally {
      this.leave();
    }
  }

  private turn(signal: AbortSignal): Promise<void> {
    if (this.line.size >= this.options.maxWaiting) throw this.options.full();
    return new Promise((resolve, reject) => {
      const go = (): void => {
        signal.removeEventListener('abort', give);
        resolve();
      };
      const give = (): void => {
        this.line.delete(go);
        reject(signal.reason);
      };
      this.line.add(go);
      signal.addEventListener('abort', give, { once: true });
    });
  }

  /** Hands the place to the next in line, without letting anybody else in between. */
  private leave(): void {
    const next = this.line.values().next().value;
    if (next === undefined) {
      this.running--;
      return;
    }
    this.line.delete(next);
    next();
  }
}
