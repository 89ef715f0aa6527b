import { ensureAuditPartitions, pruneAudit } from '../audit/store.ts';
import { DEFAULT_SETTINGS } from '../config/schema.ts';
import type { Database } from '../storage/database.ts';
import type { Logger } from '../telemetry/log.ts';
import { pruneReplicas, pruneRevisions, pruneSessions, readSettings } from './store.ts';

const EVERY_MS = 3_600_000;
const KEPT_REVISIONS = 1_000;

/** Now and every hour: partitions for the audit to come, and an end to what is past its time. */
export function startMaintenance({ database, log }: { database: Database; log: Logger }): { close(): Promise<void> } {
  const run = async () => {
    const now = new Date();
    const settings = (await readSettings(database.kysely))?.config ?? DEFAULT_SETTINGS;
    await ensureAuditPartitions(database, now);
    await pruneAudit(database, settings.audit.retentionMs, now);
    await pruneRevisions(database.kysely, KEPT_REVISIONS);
    await pruneReplicas(database.kysely);
    await pruneSessions(database.kysely);
  };
  let running = Promise.resolve();
  const start = () => {
    running = run().catch((error: Error) =>
      log.error({ error: error.message }, 'maintenance failed; it is tried again in an hour'),
    );
  };
  start();
  const timer = setInterval(start, EVERY_MS);
  return {
    async close() {
      clearInterval(timer);
      await running;
    },
  };
}
