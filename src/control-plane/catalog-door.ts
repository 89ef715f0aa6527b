import { startCatalogSync } from '../catalog/sync.ts';
import type { Vault } from '../credentials/vault.ts';
import type { Egress } from '../egress/egress.ts';
import { KeyRing } from '../identity/key-ring.ts';
import { Tombstones } from '../sessions/tombstones.ts';
import { startFeed } from '../snapshot/feed.ts';
import type { Snapshot } from '../snapshot/snapshot.ts';
import type { Database } from '../storage/database.ts';
import type { Logger } from '../telemetry/log.ts';
import type { CatalogDoor, TestResult } from './context.ts';
import { newestRevisionId } from './store.ts';

/** How long the first look at the upstreams waits for an Envoy to look through. */
const ENVOY_MS = 10_000;
/** How long a request waits for a change that was just stored to be served. */
const CAUGHT_UP_MS = 4_000;

export interface CatalogOptions {
  readonly database: Database;
  readonly databaseUrl: string;
  readonly vault: Vault;
  readonly egress: Egress;
  /** Settles when an Envoy serves what was published. */
  readonly listens: Promise<void>;
  readonly log: Logger;
}

/**
 * The catalog sync, following the active revision: what it asks upstreams through is there by then. The first look
 * waits for Envoy, so that a start does not begin with every upstream unavailable.
 */
export function startCatalog(options: CatalogOptions): CatalogDoor & { close(): Promise<void> } {
  const { database, databaseUrl, vault, egress, listens, log } = options;
  const sync = startCatalogSync({ database, egress, log });
  let newest: Snapshot | undefined;
  let begun = false;
  let closed = false;
  const feed = startFeed({
    database,
    databaseUrl,
    vault,
    keys: new KeyRing(),
    tombstones: new Tombstones(),
    onSessionEnded: () => {},
    notices: { sallyport_legacy: (connectionId) => sync.wantLegacy(connectionId) },
    onSnapshot: (snapshot) => {
      newest = snapshot;
      if (begun) sync.follow(snapshot);
    },
    log,
  });
  const begin = () => {
    clearTimeout(patience);
    if (begun || closed) return;
    begun = true;
    if (newest !== undefined) sync.follow(newest);
  };
  // Without an Envoy, too, the reason why a connection has no tools should be there to read.
  const patience = setTimeout(begin, ENVOY_MS);
  listens.then(begin, () => {});

  const caughtUp = async (): Promise<void> => {
    const wanted = (await newestRevisionId(database.kysely)) ?? 0;
    const deadline = Date.now() + CAUGHT_UP_MS;
    while ((!begun || (newest?.revision ?? 0) < wanted) && Date.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  return {
    async refresh(connectionId) {
      await caughtUp();
      // Why it failed is stored with the connection's status, which the caller shows.
      await sync.refresh(connectionId).catch(() => {});
    },
    async test(tenant, name): Promise<TestResult> {
      await caughtUp();
      const started = performance.now();
      const result = await look(newest, tenant, name).catch((error: Error) => ({ ok: false, error: error.message }));
      return { ...result, durationMs: Math.round(performance.now() - started) };
    },
    async close() {
      closed = true;
      clearTimeout(patience);
      sync.stop();
      await feed.close();
    },
  };

  async function look(
    snapshot: Snapshot | undefined,
    tenant: string,
    name: string,
  ): Promise<Omit<TestResult, 'durationMs'>> {
    const connection = snapshot?.tenants.get(tenant)?.connections.get(name);
    if (connection === undefined)
      return { ok: false, error: 'It is disabled, or its revision is not active yet; see the doctor.' };
    if (connection.injection.fault !== undefined) return { ok: false, error: connection.injection.fault };
    const { serverName, serverVersion, protocolVersion, era, transport, lists, fault } = await sync.test(connection);
    return {
      ok: true,
      era,
      transport,
      protocolVersion,
      tools: lists.tools?.length ?? 0,
      prompts: lists.prompts?.length ?? 0,
      resources: lists.resources?.length ?? 0,
      templates: lists.templates?.length ?? 0,
      ...(fault !== undefined && { error: fault }),
      ...(serverName !== undefined && { serverName }),
      ...(serverVersion !== undefined && { serverVersion }),
    };
  }
}
