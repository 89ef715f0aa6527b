import type { Selectable } from 'kysely';
import { saveWithSecrets, type WantedRow } from '../credentials/rows.ts';
import type { Vault } from '../credentials/vault.ts';
import { keyFault } from '../snapshot/check.ts';
import type { ItemKind } from '../snapshot/snapshot.ts';
import type { Queryable } from '../storage/database.ts';
import type { Row } from '../storage/named-rows.ts';
import type { Tables } from '../storage/schema.ts';

export type ConnectionRow = Row<'connections'>;

/** Stores a connection; its client key must belong to its certificate. See `saveWithSecrets`. */
export function saveConnection(db: Queryable, vault: Vault, wanted: WantedRow<'connections'>) {
  return saveWithSecrets(db, vault, 'connections', wanted, ({ tls }, secrets) => {
    const key = secrets['/tls/key'];
    const fault = key !== undefined && tls?.cert !== undefined && keyFault(key, tls.cert);
    return fault ? [{ path: 'tls.key', message: fault }] : [];
  });
}

/** How a tenant's connections stand, and how much of each kind they offer. */
export async function readStatuses(db: Queryable, tenant: string): Promise<StatusRow[]> {
  const rows = await db.selectFrom('catalog_status').selectAll().where('tenant_id', '=', tenant).execute();
  const counted = await db
    .selectFrom('catalog_items')
    .innerJoin('catalog_status', 'catalog_status.connection_id', 'catalog_items.connection_id')
    .where('tenant_id', '=', tenant)
    .groupBy(['catalog_items.connection_id', 'kind'])
    .select((eb) => ['catalog_items.connection_id', 'kind', eb.fn.countAll<number>().as('count')])
    .execute();
  const counts = new Map(counted.map(({ connection_id: id, kind, count }) => [`${id} ${kind}`, Number(count)]));
  return rows.map((row) => {
    const count = (kind: ItemKind): number => counts.get(`${row.connection_id} ${kind}`) ?? 0;
    return {
      ...row,
      counts: {
        tools: count('tools'),
        prompts: count('prompts'),
        resources: count('resources'),
        templates: count('templates'),
      },
    };
  });
}

export type StatusRow = Selectable<Tables['catalog_status']> & { readonly counts: Readonly<Record<ItemKind, number>> };
