/**
 * Rows wait here for the next batch: recording never waits for Postgres and never fails a call. A batch leaves
 * soon after its first row; while Postgres is away rows are kept up to a bound, then the oldest are dropped and counted.
 */
import type { Logger } from '../telemetry/log.ts';
import type { AuditRow } from './record.ts';

const FLUSH_MS = 250;
const MAX_BACKOFF_MS = 5000;
const BATCH_ROWS = 500;
const MAX_QUEUED = 50_000;

/** Stores a batch or throws; a row whose content Postgres refuses is its business (audit/store.ts). */
export type InsertRows = (rows: readonly AuditRow[]) => Promise<void>;

export class AuditQueue {
  /** Rows that were lost because Postgres was away for too long. */
  dropped = 0;
  private readonly insert: InsertRows;
  private readonly log: Logger;
  private rows: AuditRow[] = [];
  private timer: NodeJS.Timeout | undefined;
  private flushing: Promise<void> | undefined;
  private delayMs = FLUSH_MS;

  constructor(insert: InsertRows, log: Logger) {
    this.insert = insert;
    this.log = log;
  }

  get queued(): number {
    return this.rows.length;
  }

  push(row: AuditRow): void {
    this.rows.push(row);
    this.timer ??= setTimeout(() => void this.flush(), this.delayMs);
  }

  /** Stores everything that is queued; gives up after `deadlineMs`. */
  async close(deadlineMs: number): Promise<void> {
    const deadline = Date.now() + deadlineMs;
    while (this.rows.length > 0 && Date.now() < deadline) {
      await this.flush();
      if (this.rows.length > 0) await new Promise((resolve) => setTimeout(resolve, 100));
    }
    clearTimeout(this.timer);
    if (this.rows.length > 0) this.log.error({ lost: this.rows.length }, 'audit rows were lost at the stop');
  }

  private flush(): Promise<void> {
    clearTimeout(this.timer);
    this.flushing ??= this.drain().finally(() => {
      this.flushing = undefined;
      this.timer = this.rows.length === 0 ? undefined : setTimeout(() => void this.flush(), this.delayMs);
    });
    return this.flushing;
  }

  private async drain(): Promise<void> {
    while (this.rows.length > 0) {
      const batch = this.rows.splice(0, BATCH_ROWS);
      try {
        await this.insert(batch);
        this.delayMs = FLUSH_MS;
      } catch (error) {
        this.rows = batch.concat(this.rows);
        this.delayMs = Math.min(this.delayMs * 2, MAX_BACKOFF_MS);
        this.dropOldest();
        this.log.error(
          { error: (error as Error).message, queued: this.rows.length },
          'audit rows could not be stored; they are kept and tried again',
        );
        return;
      }
    }
  }

  private dropOldest(): void {
    const excess = this.rows.length - MAX_QUEUED;
    if (excess <= 0) return;
    this.rows.splice(0, excess);
    this.dropped += excess;
    this.log.error({ dropped: this.dropped }, 'audit rows were dropped: Postgres has been away for too long');
  }
}
