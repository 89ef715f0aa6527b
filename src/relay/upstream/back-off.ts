/** Waiting between attempts at an upstream. */
import { setTimeout as after } from 'node:timers/promises';

const FIRST_MS = 500;
const MAX_MS = 30_000;
/** A stream that lived for so long was a good one: the next attempt comes soon. */
const STEADY_MS = 10_000;

export class BackOff {
  private nextMs = FIRST_MS;

  /** `livedMs`: how long what has just ended had lasted. Ends early, without an error, when the signal says so. */
  async wait(livedMs: number, signal: AbortSignal, askedMs = 0): Promise<void> {
    if (livedMs >= STEADY_MS) this.nextMs = FIRST_MS;
    const ms = Math.max(askedMs, this.nextMs) * (0.75 + Math.random() / 2);
    this.nextMs = Math.min(this.nextMs * 2, MAX_MS);
    await after(Math.min(ms, MAX_MS), undefined, { signal, ref: false }).catch(() => {});
  }
}
