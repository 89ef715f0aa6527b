/**
 * Everything at the relay that lives long is looked at again: when the world or the keys have changed, when its session has
 * ended or expired, and from time to time, because keys expire too.
 */
import type { Snapshot } from '../snapshot/snapshot.ts';

export interface Watched {
  /** Downstream session; undefined for what belongs to none. */
  readonly sessionId: string | undefined;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
  /** Whether its caller may still be here, and what has changed for it; ends itself if not. */
  look(snapshot: Snapshot): void;
  /** Its session is over. */
  end(): void;
  /** The relay is about to stop. */
  drain(): void;
}

const SECOND_MS = 1000;
/** At most this long after its key's expiry a stream still stands. */
const LOOK_AGAIN_MS = 25_000;
/** Several changes in a row are one. */
const DEBOUNCE_MS = 100;
/** So many at a time, so that ten thousand do not keep everything else waiting. */
const BATCH = 250;

export class WatchList {
  private readonly all = new Map<Watched, number>();
  private readonly bySession = new Map<string, Set<Watched>>();
  private readonly snapshot: () => Snapshot | undefined;
  private readonly keysVersion: () => number;
  private seenKeys = 0;
  private readonly timer = setInterval(() => this.everySecond(), SECOND_MS);
  private debounce: NodeJS.Timeout | undefined;
  private sweeping = false;

  /** `keysVersion`: another number means that a key was made, revoked or given other roles. */
  constructor(snapshot: () => Snapshot | undefined, keysVersion: () => number) {
    this.snapshot = snapshot;
    this.keysVersion = keysVersion;
  }

  get size(): number {
    return this.all.size;
  }

  add(one: Watched): void {
    this.all.set(one, nextLook());
    if (one.sessionId === undefined) return;
    const known = this.bySession.get(one.sessionId);
    if (known === undefined) this.bySession.set(one.sessionId, new Set([one]));
    else known.add(one);
  }

  remove(one: Watched): void {
    this.all.delete(one);
    if (one.sessionId === undefined) return;
    const known = this.bySession.get(one.sessionId);
    known?.delete(one);
    if (known?.size === 0) this.bySession.delete(one.sessionId);
  }

  endSession(sessionId: string): void {
    for (const one of [...(this.bySession.get(sessionId) ?? [])]) one.end();
  }

  /** The world has changed: everyone is looked at soon. */
  worldChanged(): void {
    this.debounce ??= setTimeout(() => {
      this.debounce = undefined;
      void this.sweep();
    }, DEBOUNCE_MS);
  }

  drain(): void {
    clearInterval(this.timer);
    clearTimeout(this.debounce);
    for (const one of [...this.all.keys()]) one.drain();
  }

  private async sweep(): Promise<void> {
    if (this.sweeping) return this.worldChanged();
    this.sweeping = true;
    const everyone = [...this.all.keys()];
    for (let from = 0; from < everyone.length; from += BATCH) {
      const snapshot = this.snapshot();
      if (snapshot === undefined) break;
      for (const one of everyone.slice(from, from + BATCH)) if (this.all.has(one)) one.look(snapshot);
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.sweeping = false;
  }

  private everySecond(): void {
    const now = Date.now();
    const snapshot = this.snapshot();
    const keys = this.keysVersion();
    if (keys !== this.seenKeys) this.worldChanged();
    this.seenKeys = keys;
    for (const [one, lookAt] of this.all) {
      if (one.expiresAt <= now) one.end();
      else if (lookAt <= now && snapshot !== undefined) {
        this.all.set(one, nextLook());
        one.look(snapshot);
      }
    }
  }
}

/** Not in step, so that each second has its share. */
const nextLook = (): number => Date.now() + LOOK_AGAIN_MS * (0.6 + 0.4 * Math.random());
