/** Keeps every connection's catalog current: one watch each, so that a bad upstream hides and slows nobody else. */
import type { Egress } from '../egress/egress.ts';
import type { Connection, Snapshot } from '../snapshot/snapshot.ts';
import type { Database } from '../storage/database.ts';
import type { Logger } from '../telemetry/log.ts';
import type { CatalogResult } from './read.ts';
import { storeCatalog, storeFailure } from './store.ts';
import { examine, type Watch, type WatchSink, watchConnection } from './watch.ts';

const TEST_TIMEOUT_MS = 15_000;

export interface CatalogSync {
  /** Watches exactly the snapshot's connections from now on. Called with every new snapshot. */
  follow(snapshot: Snapshot): void;
  /** Asks one connection now. Rejects with the reason if it cannot be asked; resolves false if it is not watched. */
  refresh(connectionId: string): Promise<boolean>;
  /** A legacy client would call it. Nothing happens if it is not watched, or known well enough. */
  wantLegacy(connectionId: string): void;
  /** One look at a connection, stored nowhere. Rejects with the reason. */
  test(connection: Connection): Promise<CatalogResult>;
  stop(): void;
}

export function startCatalogSync(options: { database: Database; egress: Egress; log: Logger }): CatalogSync {
  const { database, egress, log } = options;
  const watches = new Map<string, { fingerprint: string; watch: Watch }>();
  const sink: WatchSink = {
    found: (connection, result) => storeCatalog(database, connection, result),
    async failed(connection, message, spoken) {
      log.warn({ connection: connection.name, error: message }, 'upstream is unavailable');
      await storeFailure(database, connection, message, spoken);
    },
  };
  return {
    follow(snapshot) {
      const wanted = new Map<string, Connection>();
      for (const tenant of snapshot.tenants.values())
        for (const connection of tenant.connections.values()) wanted.set(connection.id, connection);
      for (const [id, { watch, fingerprint }] of watches) {
        const connection = wanted.get(id);
        if (connection !== undefined && fingerprintOf(connection) === fingerprint) continue;
        watch.stop();
        watches.delete(id);
      }
      for (const [id, connection] of wanted) {
        if (watches.has(id)) continue;
        if (connection.injection.fault !== undefined) {
          void sink.failed(connection, connection.injection.fault, connection.catalog).catch(() => {});
          continue;
        }
        watches.set(id, {
          fingerprint: fingerprintOf(connection),
          watch: watchConnection(connection, egress, sink, log),
        });
      }
    },
    async refresh(connectionId) {
      const entry = watches.get(connectionId);
      if (entry === undefined) return false;
      await entry.watch.refresh();
      return true;
    },
    wantLegacy: (connectionId) => watches.get(connectionId)?.watch.wantLegacy(),
    test: (connection) => examine(connection, egress, AbortSignal.timeout(TEST_TIMEOUT_MS)),
    stop() {
      for (const { watch } of watches.values()) watch.stop();
      watches.clear();
    },
  };
}

/** Changes exactly when the upstream must be asked anew. */
function fingerprintOf({ url, path, session, refreshMs, injection }: Connection): string {
  return JSON.stringify([url.href, path, session, refreshMs, injection.credentialId, injection.headers]);
}
