import { sql } from 'kysely';
import type { RuleConfig } from '../config/document.ts';
import type { Queryable } from '../storage/database.ts';
import { putRow, type Row } from '../storage/named-rows.ts';
import type { Owner } from '../storage/schema.ts';

export type RuleRow = Row<'rules'>;

/** Stores a rule. One that comes back under its name goes on counting where the last one ended. */
export async function saveRule(
  db: Queryable,
  wanted: {
    readonly tenant: string;
    readonly name: string;
    readonly config: RuleConfig;
    readonly owner: Owner;
    readonly touch?: boolean;
  },
) {
  const [last] = await listVersions(db, wanted.tenant, wanted.name, { limit: 1 });
  return putRow(db, 'rules', { ...wanted, firstVersion: (last?.version ?? 0) + 1 });
}

/** Keeps every version of a rule that a change has made, however it was made. Part of each change of the configuration. */
export async function recordVersions(
  trx: Queryable,
  change: { readonly author: string; readonly reason: string },
): Promise<void> {
  await sql`insert into rule_versions (tenant_id, rule_name, version, config, author, reason)
    select tenant_id, name, version, config, ${change.author}, ${change.reason} from rules r
    where not exists (
      select from rule_versions v where v.tenant_id = r.tenant_id and v.rule_name = r.name and v.version = r.version
    )`.execute(trx);
}

/** Versions of what stands or stood under a name, the newest first. */
export async function listVersions(
  db: Queryable,
  tenant: string,
  name: string,
  page: { readonly before?: number | undefined; readonly limit: number },
) {
  let query = db.selectFrom('rule_versions').selectAll().where('tenant_id', '=', tenant).where('rule_name', '=', name);
  if (page.before !== undefined) query = query.where('version', '<', page.before);
  return query.orderBy('version', 'desc').limit(page.limit).execute();
}

/** One version, or undefined. */
export async function findVersion(db: Queryable, tenant: string, name: string, version: number) {
  return db
    .selectFrom('rule_versions')
    .selectAll()
    .where('tenant_id', '=', tenant)
    .where('rule_name', '=', name)
    .where('version', '=', version)
    .executeTakeFirst();
}

/** Why and since when rules are off that spent their error budget, by row id. A changed rule begins anew. */
export async function readTrips(db: Queryable, tenant: string) {
  const rows = await db
    .selectFrom('rule_trips')
    .innerJoin('rules', (join) =>
      join.onRef('rules.id', '=', 'rule_trips.rule_id').onRef('rules.version', '=', 'rule_trips.version'),
    )
    .where('tenant_id', '=', tenant)
    .select(['rules.id', 'rule_trips.reason', 'rule_trips.at'])
    .execute();
  return new Map(rows.map(({ id, reason, at }) => [id, { reason, at }]));
}

/** What was recorded of one call, as JSON text: the driver would round numbers. */
export async function recordedCall(db: Queryable, tenant: string, id: string) {
  return db
    .selectFrom('audit_events')
    .select(['method', 'namespace', 'connection', 'tool', 'upstream_tool', 'subject', 'auth_method', 'result_sha256'])
    .select([sql<string | null>`arguments::text`.as('arguments'), sql<string | null>`result::text`.as('result')])
    .where('tenant_id', '=', tenant)
    .where('id', '=', id)
    .executeTakeFirst();
}
