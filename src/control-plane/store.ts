import { sql } from 'kysely';
import type { SettingsConfig } from '../config/document.ts';
import { DEFAULT_SETTINGS } from '../config/schema.ts';
import { credentialIds } from '../credentials/store.ts';
import type {
  ConnectionRevision,
  RevisionDocument,
  RuleRevision,
  SourceRevision,
  TenantRevision,
} from '../snapshot/revision.ts';
import type { Queryable } from '../storage/database.ts';
import { listRows } from '../storage/named-rows.ts';
import { notify } from '../storage/notify.ts';

/** One writer at a time: revisions and key sequences then commit in the order of their numbers. */
export async function lockConfiguration(trx: Queryable): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtext('sallyport configuration'))`.execute(trx);
}

/** What the rows say now, as one document. Pure reading: inside a change it sees the change. */
export async function buildRevision(db: Queryable): Promise<RevisionDocument> {
  const settings = await db.selectFrom('settings').select('config').executeTakeFirst();
  const tenants = await db.selectFrom('tenants').select('id').orderBy('id').execute();
  const built: TenantRevision[] = [];
  for (const { id } of tenants) built.push(await buildTenant(db, id));
  return { settings: settings?.config ?? DEFAULT_SETTINGS, tenants: built };
}

async function buildTenant(db: Queryable, tenant: string): Promise<TenantRevision> {
  const credentialOf = await credentialIds(db, tenant);
  const connections = (await listRows(db, 'connections', tenant)).map(
    ({ id, name, config }): ConnectionRevision => ({ id, name, config, credentialId: credentialOf.get(id) ?? null }),
  );
  const sources = (await listRows(db, 'sources', tenant)).map(
    ({ id, name, config }): SourceRevision => ({ id, name, config, credentialId: credentialOf.get(id) ?? null }),
  );
  const rules = (await listRows(db, 'rules', tenant)).map(
    ({ id, name, version, config }): RuleRevision => ({ id, name, version, config }),
  );
  const namespaces = (await listRows(db, 'namespaces', tenant)).map(({ name, config }) => ({ name, ...config }));
  const personas = (await listRows(db, 'personas', tenant)).map(({ name, config }) => ({ name, ...config }));
  return { id: tenant, connections, namespaces, personas, sources, rules };
}

/** Settings that were written, if any were; and who owns them. */
export async function readSettings(db: Queryable) {
  return db.selectFrom('settings').select(['config', 'owner']).executeTakeFirst();
}

/** Replaces the settings as a whole; false if they were these already. */
export async function writeSettings(db: Queryable, settings: SettingsConfig, owner: 'api' | 'file'): Promise<boolean> {
  const config = JSON.stringify(settings);
  const { numInsertedOrUpdatedRows } = await db
    .insertInto('settings')
    .values({ config, owner })
    .onConflict((conflict) =>
      conflict
        .column('id')
        .doUpdateSet({ config, owner })
        .where(sql<boolean>`settings.config <> ${config}::jsonb or settings.owner <> ${owner}`),
    )
    .executeTakeFirst();
  return numInsertedOrUpdatedRows === 1n;
}

/** Back to the defaults. */
export async function removeSettings(db: Queryable): Promise<void> {
  await db.deleteFrom('settings').execute();
}

/** Whether the newest revision says exactly this. */
export async function isNewest(db: Queryable, document: RevisionDocument): Promise<boolean> {
  const newest = await db
    .selectFrom('revisions')
    .select(sql<boolean>`document = ${JSON.stringify(document)}::jsonb`.as('same'))
    .orderBy('id', 'desc')
    .limit(1)
    .executeTakeFirst();
  return newest?.same === true;
}

/** Stores a revision and tells everyone; its id. */
export async function storeRevision(
  trx: Queryable,
  document: RevisionDocument,
  change: { readonly author: string; readonly reason: string },
): Promise<number> {
  const { id } = await trx
    .insertInto('revisions')
    .values({ document: JSON.stringify(document), ...change })
    .returning('id')
    .executeTakeFirstOrThrow();
  await notify(trx, 'sallyport_revision', String(id));
  return id;
}

const revisionHead = ['id', 'author', 'reason', 'created_at', 'active_at'] as const;

/** Newest first. */
export async function listRevisions(db: Queryable, page: { before?: number | undefined; limit: number }) {
  let query = db.selectFrom('revisions').select(revisionHead);
  if (page.before !== undefined) query = query.where('id', '<', page.before);
  return query.orderBy('id', 'desc').limit(page.limit).execute();
}

export async function findRevision(db: Queryable, id: number) {
  return db.selectFrom('revisions').select(revisionHead).select('document').where('id', '=', id).executeTakeFirst();
}

export async function newestRevision(db: Queryable) {
  return db
    .selectFrom('revisions')
    .select(revisionHead)
    .select('document')
    .orderBy('id', 'desc')
    .limit(1)
    .executeTakeFirst();
}

export async function newestRevisionId(db: Queryable): Promise<number | undefined> {
  const row = await db.selectFrom('revisions').select('id').orderBy('id', 'desc').limit(1).executeTakeFirst();
  return row?.id;
}

/** Id of the newest revision that processors may serve. */
export async function activeRevisionId(db: Queryable): Promise<number | undefined> {
  const row = await db
    .selectFrom('revisions')
    .select('id')
    .where('active_at', 'is not', null)
    .orderBy('id', 'desc')
    .limit(1)
    .executeTakeFirst();
  return row?.id;
}

/** Lets processors serve a revision: Envoy has what it needs. */
export async function activateRevision(db: Queryable, id: number): Promise<void> {
  await db
    .updateTable('revisions')
    .set({ active_at: sql`now()` })
    .where('id', '=', id)
    .where('active_at', 'is', null)
    .execute();
  await notify(db, 'sallyport_revision', String(id));
}

/** Without configuration files nothing is a file's any more: the rows stay and the API may change them. */
export async function releaseFileRows(db: Queryable): Promise<void> {
  for (const table of ['settings', 'connections', 'namespaces', 'personas', 'sources', 'rules', 'api_keys'] as const) {
    await sql`update ${sql.table(table)} set owner = 'api' where owner = 'file'`.execute(db);
  }
}

/** Sessions that are over by their own clock. */
export async function pruneSessions(db: Queryable): Promise<void> {
  await sql`delete from upstream_sessions where expires_at < now()`.execute(db);
  await sql`delete from session_tombstones where expires_at < now()`.execute(db);
  await sql`delete from session_log_levels where expires_at < now()`.execute(db);
  await sql`delete from session_subscriptions where expires_at < now()`.execute(db);
  await sql`delete from session_streams s where expires_at < now()
    or not exists (select 1 from replicas r where r.id = s.relay_id)`.execute(db);
}

/** Keeps the last `keep` revisions, and always the newest active one. */
export async function pruneRevisions(db: Queryable, keep: number): Promise<void> {
  await sql`delete from revisions where id < (select max(id) from revisions where active_at is not null)
    and id <= (select max(id) - ${keep} from revisions)`.execute(db);
}

/** Data-plane processes that reported within the last ten seconds. */
export async function liveReplicas(db: Queryable) {
  return db
    .selectFrom('replicas')
    .select(['id', 'role', 'revision', 'seen_at'])
    .where('seen_at', '>', sql<Date>`now() - interval '10 seconds'`)
    .orderBy('id')
    .execute();
}

/** Forgets replicas that have been silent for an hour. */
export async function pruneReplicas(db: Queryable): Promise<void> {
  await db.deleteFrom('replicas').where('seen_at', '<', sql<Date>`now() - interval '1 hour'`).execute();
}

/** Difference between Postgres' clock and ours, milliseconds. */
export async function clockSkewMs(db: Queryable): Promise<number> {
  const before = Date.now();
  const { rows } = await sql<{
    ms: number;
  }>`select (extract(epoch from clock_timestamp()) * 1000)::float8 as ms`.execute(db);
  return (rows[0]?.ms ?? before) - (before + Date.now()) / 2;
}
