import { compileSnapshot } from '../snapshot/compile.ts';
import { catalogsSince } from '../snapshot/feed-store.ts';
import type { Snapshot, Tenant } from '../snapshot/snapshot.ts';
import type { AdminContext } from './context.ts';
import { Refusal } from './refusal.ts';
import { newestRevision } from './store.ts';

/**
 * The newest revision with the catalogs, compiled as the data plane will: what an operator who has just changed
 * something asks about, whether or not processors have switched already. Without secrets.
 */
export async function compileWorld({
  database,
  tenant,
}: AdminContext): Promise<{ snapshot: Snapshot; tenant: Tenant }> {
  const revision = await newestRevision(database.kysely);
  if (revision === undefined) throw new Refusal(503, 'Starting', 'No revision is stored yet. Try again in a moment.');
  const { changed } = await catalogsSince(database, 0);
  const catalogs = new Map(changed.map(({ connectionId, catalog }) => [connectionId, catalog]));
  const { id, document } = revision;
  const snapshot = compileSnapshot({ revision: id, document, catalogs, injections: new Map() });
  const own = snapshot.tenants.get(tenant);
  if (own === undefined) throw new Error(`The revision ${id} lacks the tenant ${tenant}`);
  return { snapshot, tenant: own };
}
