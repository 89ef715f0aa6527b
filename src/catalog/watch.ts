/** Watches one connection: asks what it offers, again on a timer, when it says that a list changed, or when told. */
import { setTimeout as delay } from 'node:timers/promises';
import { startDeadline } from '../egress/deadline.ts';
import { type Egress, EgressError } from '../egress/egress.ts';
import { UpstreamError } from '../egress/upstream-client.ts';
import type { Era } from '../mcp/revision.ts';
import type { Connection, Transport } from '../snapshot/snapshot.ts';
import type { Logger } from '../telemetry/log.ts';
import { followChanges, streamIdentity } from './change-stream.ts';
import { Acquaintance, type Introduction } from './introduction.ts';
import { type CatalogResult, readCatalog } from './read.ts';

/** One attempt: introduction and every page of every list. */
const ATTEMPT_TIMEOUT_MS = 30_000;
const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 60_000;
/** Several changes in a row are one refresh. */
const DEBOUNCE_MS = 100;
/** Between two refreshes that the upstream asks for, with changes or with a short `ttlMs`. */
const MIN_DISTANCE_MS = 2000;
const MIN_TTL_MS = 5000;
/** A stream that lived so long was a good one: when it ends, the next is opened soon. */
const GOOD_STREAM_MS = 60_000;
const FIRST_REOPEN_MS = 1000;
/** A server that had no stream may have one by now. */
const REFUSAL_LIFETIME_MS = 10 * 60_000;

export interface WatchSink {
  found(connection: Connection, result: CatalogResult): Promise<void>;
  /** `spoken`: as far as it is known. */
  failed(connection: Connection, message: string, spoken: { era: Era; transport: Transport }): Promise<void>;
}

export interface Watch {
  /** Asks now; resolves when that attempt is stored. Rejects with the reason if it failed. */
  refresh(): Promise<void>;
  /** A legacy client would call it: finds out soon whether it can do so in its own era. */
  wantLegacy(): void;
  stop(): void;
}

/** Starts at once and never gives up: failures are retried with back-off and jitter. */
export function watchConnection(connection: Connection, egress: Egress, sink: WatchSink, log: Logger): Watch {
  const watcher = new Watcher(connection, egress, sink, log);
  watcher.start();
  return watcher;
}

/** One look at a connection, for `connection test`: nothing is stored. Throws EgressError or UpstreamError. */
export async function examine(connection: Connection, egress: Egress, signal: AbortSignal): Promise<CatalogResult> {
  const server = new Acquaintance(connection, egress);
  try {
    const introduction = await server.meet(signal);
    return await readCatalog(server.reached, egress, introduction, signal, undefined);
  } finally {
    server.close();
  }
}

/** The stream that is open, or was refused. */
interface ChangeStream {
  readonly of: string;
  readonly abort: AbortController;
  /** Milliseconds since the epoch. */
  refusedAt: number | undefined;
  /** Every change of every list will be told on it. */
  isWhole: boolean;
}

class Watcher implements Watch {
  private readonly connection: Connection;
  private readonly egress: Egress;
  private readonly sink: WatchSink;
  private readonly log: Logger;
  private readonly abort = new AbortController();
  private readonly server: Acquaintance;
  private attempt: Promise<void> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private retryMs = FIRST_RETRY_MS;
  /** When the last attempt ended, milliseconds since the epoch. */
  private askedAt = 0;
  /** A change was told and is waiting for its look. */
  private isChanged = false;
  private stream: ChangeStream | undefined;
  private reopenMs = FIRST_REOPEN_MS;
  /** Why the last look that succeeded lacked a list. */
  private lastFault: string | undefined;
  /** Excluded tools that were logged: once is enough. */
  private readonly toldOf = new Set<string>();

  constructor(connection: Connection, egress: Egress, sink: WatchSink, log: Logger) {
    this.connection = connection;
    this.egress = egress;
    this.sink = sink;
    this.log = log;
    this.server = new Acquaintance(connection, egress);
  }

  start(): void {
    this.refresh().catch(() => {});
  }

  refresh(): Promise<void> {
    clearTimeout(this.timer);
    this.attempt ??= this.ask().finally(() => {
      this.attempt = undefined;
    });
    return this.attempt;
  }

  wantLegacy(): void {
    if (this.server.wantLegacy()) this.start();
  }

  stop(): void {
    this.abort.abort();
    clearTimeout(this.timer);
    this.stream?.abort.abort();
    this.server.close();
  }

  private async ask(): Promise<void> {
    const { connection, sink } = this;
    const deadline = startDeadline(ATTEMPT_TIMEOUT_MS, this.abort.signal);
    let next = connection.refreshMs;
    try {
      const result = await this.look(deadline.signal);
      await sink.found(connection, result);
      this.lastFault = result.fault;
      this.tell(result);
      this.retryMs = FIRST_RETRY_MS;
      this.openStream(result);
      next = this.untilNextLook(result.ttlMs);
    } catch (error) {
      if (this.abort.signal.aborted) return;
      this.server.doubt();
      const message = (error as Error).message;
      // Jitter, so that a hundred connections of one dead host do not come back in step.
      next = this.retryMs * (0.75 + Math.random() / 2);
      this.retryMs = Math.min(this.retryMs * 2, MAX_RETRY_MS);
      if (!(error instanceof EgressError) && !(error instanceof UpstreamError))
        this.log.error({ err: error, connection: connection.name }, 'catalog refresh failed');
      await sink
        .failed(connection, message, { era: this.server.era, transport: this.server.transport })
        .catch((storing: unknown) => this.log.error({ err: storing }, 'catalog state was not stored'));
      throw error;
    } finally {
      deadline.release();
      this.askedAt = Date.now();
      if (!this.abort.signal.aborted) this.timer = setTimeout(() => this.start(), next);
    }
  }

  /** On what is open; from the beginning if the upstream has forgotten it. */
  private async look(signal: AbortSignal): Promise<CatalogResult> {
    const { egress, server } = this;
    if (server.hasSession) {
      try {
        const introduction = await server.meet(signal);
        const last = server.hasSession ? { fault: this.lastFault } : undefined;
        return await readCatalog(server.reached, egress, introduction, signal, last);
      } catch (error) {
        if (!(error instanceof UpstreamError)) throw error;
        server.forgetSession();
      }
    }
    const introduction = await server.meet(signal);
    return readCatalog(server.reached, egress, introduction, signal, undefined);
  }

  private tell({ excluded, fault }: CatalogResult): void {
    const { name } = this.connection;
    for (const line of [...excluded, ...(fault === undefined ? [] : [fault])]) {
      if (this.toldOf.has(line)) continue;
      this.toldOf.add(line);
      if (line === fault) this.log.warn({ connection: name, error: fault }, 'a list of an upstream cannot be read');
      else this.log.warn({ connection: name, tool: line }, 'a tool is not offered: its header annotations are faulty');
    }
  }

  /** Many servers have none, and the timer does it alone. */
  private openStream(server: Introduction): void {
    const of = streamIdentity(server);
    const { refusedAt } = this.stream ?? {};
    const isForgiven = refusedAt !== undefined && Date.now() > refusedAt + REFUSAL_LIFETIME_MS;
    if (this.stream?.of === of && !isForgiven) return;
    this.stream?.abort.abort();
    const stream: ChangeStream = { of, abort: new AbortController(), refusedAt: undefined, isWhole: false };
    this.stream = stream;
    const began = Date.now();
    followChanges(this.server.reached, this.egress, server, stream.abort.signal, {
      changed: () => this.changed(),
      promised: () => {
        stream.isWhole = true;
      },
    })
      .catch((error: unknown) => {
        this.log.debug({ connection: this.connection.name, error: String(error) }, 'event stream ended');
        return 'ended' as const;
      })
      .then((how) => {
        if (stream.abort.signal.aborted || this.stream !== stream) return;
        if (how === 'refused') stream.refusedAt = Date.now();
        else this.streamLost(Date.now() - began);
      });
  }

  /** What an upstream says of its `ttlMs` counts as long as it does not tell of changes by itself. */
  private untilNextLook(ttlMs: number | undefined): number {
    const { refreshMs } = this.connection;
    if (ttlMs === undefined || this.stream?.isWhole === true) return refreshMs;
    return Math.min(refreshMs, Math.max(MIN_TTL_MS, ttlMs * (0.9 + Math.random() / 10)));
  }

  /** What changed while nobody listened is not told again: a look finds it, and opens the next stream. */
  private streamLost(livedMs: number): void {
    this.stream = undefined;
    this.reopenMs = livedMs > GOOD_STREAM_MS ? FIRST_REOPEN_MS : Math.min(this.reopenMs * 2, MAX_RETRY_MS);
    delay(this.reopenMs, undefined, { signal: this.abort.signal })
      .then(() => {
        if (this.stream === undefined) this.changed();
      })
      .catch(() => {});
  }

  /** However many changes are told, they are one look, and looks keep a distance: each costs both sides the whole list. */
  private changed(): void {
    if (this.isChanged) return;
    this.isChanged = true;
    const wait = Math.max(DEBOUNCE_MS, this.askedAt + MIN_DISTANCE_MS - Date.now());
    delay(wait, undefined, { signal: this.abort.signal })
      .then(() => this.attempt)
      .catch(() => {})
      .then(() => {
        this.isChanged = false;
        if (!this.abort.signal.aborted) this.start();
      });
  }
}
