/** Answers of sources, kept for as long as the rule that asks allows, and shared by all who ask the same at once. */
import { LRUCache } from 'lru-cache';
import { ExactNumber, type Json } from '../mcp/exact-json.ts';
import { type SourceAnswer, SourceError } from './source.ts';
import type { KnownAnswer } from './sources.ts';
import { within } from './within.ts';

export interface CacheOptions {
  /** Roughly what all answers together may take in memory. */
  readonly maxBytes: number;
  /** Milliseconds that only grow. */
  readonly now: () => number;
}

/** How one asker asks. */
export interface Asker {
  readonly signal: AbortSignal;
  /** How old an answer may be, and how long it may be given to others: the shorter of both rules' counts. Milliseconds. */
  readonly cacheMs: number;
}

interface Entry {
  /** Made once: a hit allocates nothing. Frozen, as everything in it. */
  readonly answer: Promise<KnownAnswer>;
  readonly at: number;
  readonly cacheMs: number;
  readonly bytes: number;
}

/** A question that is being asked, for all who want to know. */
interface Flight {
  readonly answer: Promise<SourceAnswer>;
  /** Ends it when nobody wants to know any more. */
  readonly controller: AbortController;
  askers: number;
  /** Why it ends: that an asker's time was up says more about the source than that one left. */
  reason: unknown;
}

export class AnswerCache {
  private readonly now: () => number;
  private readonly entries: LRUCache<string, Entry>;
  private readonly flights = new Map<string, Flight>();

  constructor({ maxBytes, now }: CacheOptions) {
    this.now = now;
    this.entries = new LRUCache({ maxSize: maxBytes, sizeCalculation: (entry, key) => entry.bytes + 2 * key.length });
  }

  find(key: string, cacheMs: number): Promise<KnownAnswer> | undefined {
    const entry = this.entries.get(key);
    if (entry === undefined) return undefined;
    return this.now() - entry.at < Math.min(entry.cacheMs, cacheMs) ? entry.answer : undefined;
  }

  /**
   * The answer that is being waited for already, else a new one by `ask`, which is kept. Whoever leaves leaves the others
   * their answer: the question is given up when the last one has. Failures are shared, but not kept.
   */
  async share(key: string, asker: Asker, ask: (signal: AbortSignal) => Promise<SourceAnswer>): Promise<KnownAnswer> {
    for (;;) {
      const known = this.find(key, asker.cacheMs);
      if (known !== undefined) return known;
      const shared = this.flights.get(key);
      const flight = shared ?? this.start(key, asker.cacheMs, ask);
      try {
        const answer = await this.wait(key, flight, asker.signal);
        return { ...answer, isCached: shared !== undefined };
      } catch (error) {
        // The source kept to the time of the one who asked first; this one may have more.
        const isOthersTime = shared !== undefined && error instanceof SourceError && error.kind === 'timeout';
        if (!isOthersTime || asker.signal.aborted) throw error;
      }
    }
  }

  private start(key: string, cacheMs: number, ask: (signal: AbortSignal) => Promise<SourceAnswer>): Flight {
    const controller = new AbortController();
    const answer = ask(controller.signal).then(
      (given) => {
        this.land(key, flight);
        return this.keep(key, cacheMs, given);
      },
      (error) => {
        this.land(key, flight);
        throw error;
      },
    );
    const flight: Flight = { answer, controller, askers: 0, reason: undefined };
    this.flights.set(key, flight);
    return flight;
  }

  private async wait(key: string, flight: Flight, signal: AbortSignal): Promise<SourceAnswer> {
    flight.askers++;
    try {
      return await within(signal, flight.answer);
    } finally {
      if (signal.aborted && !(flight.reason instanceof SourceError)) flight.reason = signal.reason;
      // One that has landed needs no end.
      if (--flight.askers === 0 && this.land(key, flight)) flight.controller.abort(flight.reason);
    }
  }

  /** From now on nobody joins it. False: it had landed before. */
  private land(key: string, flight: Flight): boolean {
    return this.flights.get(key) === flight && this.flights.delete(key);
  }

  private keep(key: string, cacheMs: number, { rows, isTruncated }: SourceAnswer): SourceAnswer {
    const answer = Object.freeze({ rows, isTruncated, isCached: true });
    const bytes = freeze(rows);
    this.entries.set(key, { answer: Promise.resolve(answer), at: this.now(), cacheMs, bytes });
    return answer;
  }
}

/** Several calls will read it, so none may write. Returns about how many bytes it takes; without recursion, however deep. */
function freeze(rows: readonly Json[]): number {
  let bytes = 64;
  const open: Json[] = [rows];
  while (open.length > 0) {
    const value = open.pop() as Json;
    if (typeof value === 'string') bytes += 16 + 2 * value.length;
    else if (typeof value !== 'object' || value === null) bytes += 8;
    else if (value instanceof ExactNumber) bytes += 32 + 2 * value.text.length;
    else {
      Object.freeze(value);
      bytes += 32;
      // Keys are usually the same in all rows, and then held once.
      for (const inner of Object.values(value)) open.push(inner);
    }
  }
  return bytes;
}
