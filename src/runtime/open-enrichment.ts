/** What enrichment keeps between calls, opened for one process. */
import { createBudgets } from '../enrichment/budgets.ts';
import { createTripStore } from '../enrichment/budgets-store.ts';
import { createTold } from '../enrichment/told.ts';
import { broadcastTellings } from '../enrichment/told-store.ts';
import type { EnrichmentWorld } from '../enrichment/world.ts';
import type { Snapshot } from '../snapshot/snapshot.ts';
import { openSource } from '../sources/kinds.ts';
import { createSources } from '../sources/pool.ts';
import type { Database } from '../storage/database.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Meters } from '../telemetry/meters.ts';

export interface OpenedEnrichment extends EnrichmentWorld {
  /** By channel: what to do with a NOTIFY payload. */
  readonly notices: Readonly<Record<string, (payload: string) => void>>;
  /** A snapshot is in force: its sources are the ones there are. */
  serve(snapshot: Snapshot): void;
  /** Settles once it is known which rules are off. */
  readonly ready: Promise<void>;
  close(): Promise<void>;
}

export function openEnrichment(database: Database, meters: Meters, log: Logger): OpenedEnrichment {
  const sources = createSources({ open: openSource, log, meters });
  const budgets = createBudgets({ store: createTripStore(database), log, meters });
  const told = createTold({ broadcast: (tellings) => broadcastTellings(database, tellings), log });
  return {
    sources,
    budgets,
    told,
    notices: { sallyport_rule: () => budgets.learn(), sallyport_told: (payload) => told.heard(payload) },
    serve({ tenants }) {
      sources.update([...tenants.values()].flatMap((tenant) => [...tenant.sources.values()]));
    },
    ready: budgets.refresh(),
    async close() {
      await Promise.all([sources.close(), budgets.close(), told.close()]);
    },
  };
}
