import { sql } from 'kysely';
import type { Database, Queryable } from '../storage/database.ts';
import type { AuditRow } from './record.ts';

/** Column → type, in the order of the table; the batch is one JSON text that Postgres takes apart itself. */
const COLUMNS = {
  id: 'uuid',
  at: 'timestamptz',
  tenant_id: 'text',
  namespace: 'text',
  request_id: 'text',
  trace_id: 'text',
  session_id: 'text',
  subject: 'text',
  auth_method: 'text',
  client_name: 'text',
  persona: 'text',
  method: 'text',
  connection: 'text',
  connection_kind: 'text',
  tool: 'text',
  upstream_tool: 'text',
  definition_digest: 'text',
  arguments: 'jsonb',
  arguments_sha256: 'text',
  result: 'jsonb',
  result_sha256: 'text',
  verdict: 'text',
  rule: 'text',
  pattern: 'text',
  reason: 'text',
  findings: 'jsonb',
  enrichment: 'jsonb',
  credential_id: 'uuid',
  upstream_status: 'integer',
  is_error: 'boolean',
  http_status: 'integer',
  duration_us: 'integer',
  upstream_us: 'integer',
  processor_us: 'integer',
  bytes_in: 'integer',
  bytes_out: 'integer',
} as const satisfies Record<keyof AuditRow, string>;

const NAMES = Object.keys(COLUMNS).join(', ');
const INSERT = `insert into audit_events (${NAMES}) select ${NAMES} from json_to_recordset($1::json) as batch(${Object.entries(
  COLUMNS,
)
  .map(([name, type]) => `${name} ${type}`)
  .join(', ')}) on conflict do nothing`;

/**
 * Stores a batch in one statement. Safe to repeat after a failure that left the outcome unknown: a row that is there
 * already stays as it is. A value that Postgres cannot hold never costs more than that row's own text: the batch is
 * then stored row by row, the offending row with its strings cleaned, at worst without arguments.
 */
export async function insertAuditEvents(database: Database, rows: readonly AuditRow[]): Promise<void> {
  if (rows.length === 0) return;
  try {
    await insertJson(database, `[${rows.map(rowJson).join(',')}]`);
  } catch (error) {
    if (!isValueError(error)) throw error;
    for (const row of rows) await insertDoubtful(database, row);
  }
}

async function insertDoubtful(database: Database, row: AuditRow): Promise<void> {
  const text = `[${rowJson(row)}]`;
  const bare = `[${rowJson({ ...row, arguments: null, result: null, findings: null, enrichment: null })}]`;
  let refused: unknown;
  for (const attempt of [text, storable(text), storable(bare), `[${storable(JSON.stringify(skeleton(row)))}]`]) {
    try {
      return await insertJson(database, attempt);
    } catch (error) {
      if (!isValueError(error)) throw error;
      refused = error;
    }
  }
  throw refused;
}

/** What happened and to whom. A row that is refused for ever would hold up all that come after it. */
const skeleton = ({
  id,
  at,
  tenant_id,
  namespace,
  request_id,
  subject,
  persona,
  method,
  verdict,
}: AuditRow): object => ({
  ...{ id, at, tenant_id, namespace, request_id, subject, persona, method, verdict },
  reason: 'Postgres refused the rest of this row',
  duration_us: 0,
  processor_us: 0,
  bytes_in: 0,
});

/** Without U+0000 and lone surrogates, the two things that JSON can say and Postgres cannot store. */
const storable = (json: string): string => json.replace(/\\u(?:0000|d[89a-f][0-9a-f]{2})/gi, '\\ufffd');

/** What is JSON text already goes in as it is: parsing and writing it again would cost time and digits. */
function rowJson(row: AuditRow): string {
  const { arguments: sent, result, findings, enrichment, ...plain } = row;
  const text = JSON.stringify(plain);
  return `${text.slice(0, -1)},"arguments":${sent},"result":${result},"findings":${findings},"enrichment":${enrichment}}`;
}

const insertJson = async (database: Database, json: string): Promise<void> => {
  await database.pool.query({ name: 'insert-audit', text: INSERT, values: [json] });
};

/** SQLSTATE class 22: data exceptions. */
const isValueError = (error: unknown): boolean => /^22/.test(String((error as { code?: unknown }).code));

/** What a reader of the audit may ask for; every filter narrows. */
export interface AuditFilter {
  readonly method?: string | undefined;
  readonly verdict?: AuditRow['verdict'] | undefined;
  readonly tool?: string | undefined;
  readonly principal?: string | undefined;
  readonly persona?: string | undefined;
  readonly connection?: string | undefined;
  readonly namespace?: string | undefined;
  readonly session?: string | undefined;
  readonly since?: Date | undefined;
  readonly until?: Date | undefined;
  /** Only what is older than this event: the last one of the page before. */
  readonly before?: { readonly at: Date; readonly id: string } | undefined;
}

/** Newest first, at most `limit`. */
export async function readAuditEvents(db: Queryable, tenant: string, filter: AuditFilter, limit: number) {
  let query = filtered(db, tenant, filter).selectAll();
  if (filter.before !== undefined) {
    const { at, id } = filter.before;
    query = query.where(sql<boolean>`(at, id) < (${at}, ${id})`);
  }
  return query.orderBy('at', 'desc').orderBy('id', 'desc').limit(limit).execute();
}

export type AuditEvent = Awaited<ReturnType<typeof readAuditEvents>>[number];

/** How many events there were by verdict, method, tool and principal (the twenty most frequent of each). */
export async function auditStats(db: Queryable, tenant: string, filter: AuditFilter) {
  const count = (column: 'verdict' | 'method' | 'tool' | 'subject' | 'connection') =>
    filtered(db, tenant, filter)
      .where(column, 'is not', null)
      .select([sql<string>`${sql.ref(column)}`.as('value'), sql<number>`count(*)`.as('count')])
      .groupBy(column)
      .orderBy('count', 'desc')
      .limit(20)
      .execute();
  const durations = filtered(db, tenant, filter)
    .where('method', '=', 'tools/call')
    .select([
      sql<number>`count(*)`.as('calls'),
      sql<number | null>`percentile_disc(0.5) within group (order by duration_us)`.as('p50'),
      sql<number | null>`percentile_disc(0.95) within group (order by duration_us)`.as('p95'),
      sql<number | null>`percentile_disc(0.99) within group (order by duration_us)`.as('p99'),
    ])
    .executeTakeFirstOrThrow();
  const [verdict, method, tool, principal, connection] = await Promise.all(
    (['verdict', 'method', 'tool', 'subject', 'connection'] as const).map(count),
  );
  return { verdict, method, tool, principal, connection, calls: await durations };
}

function filtered(db: Queryable, tenant: string, filter: AuditFilter) {
  let query = db.selectFrom('audit_events').where('tenant_id', '=', tenant);
  const equal = {
    method: filter.method,
    verdict: filter.verdict,
    tool: filter.tool,
    subject: filter.principal,
    persona: filter.persona,
    connection: filter.connection,
    namespace: filter.namespace,
    session_id: filter.session,
  };
  for (const [column, value] of Object.entries(equal)) {
    if (value !== undefined) query = query.where(column as 'method', '=', value);
  }
  if (filter.since !== undefined) query = query.where('at', '>=', filter.since);
  if (filter.until !== undefined) query = query.where('at', '<', filter.until);
  return query;
}

/**
 * Makes the partitions of this month and the next. Rows that were written before their partition existed are in the
 * default one and move.
 */
export async function ensureAuditPartitions(database: Database, now: Date): Promise<void> {
  for (const offset of [0, 1]) {
    const from = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + offset, 1));
    const until = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + offset + 1, 1));
    await ensurePartition(database, from, until);
  }
}

async function ensurePartition(database: Database, from: Date, until: Date): Promise<void> {
  const name = partitionName(from);
  await database.kysely.transaction().execute(async (trx) => {
    await sql`select pg_advisory_xact_lock(hashtext('sallyport audit partitions'))`.execute(trx);
    const { rows } = await sql<{ there: boolean }>`select to_regclass(${name}) is not null as there`.execute(trx);
    if (rows[0]?.there === true) return;
    const [low, high] = [sql.lit(from.toISOString()), sql.lit(until.toISOString())];
    await sql`create table ${sql.id(name)} (like audit_events including defaults including constraints)`.execute(trx);
    await sql`lock table audit_events_default in access exclusive mode`.execute(trx);
    await sql`with moved as (delete from audit_events_default where at >= ${low} and at < ${high} returning *)
      insert into ${sql.id(name)} select * from moved`.execute(trx);
    await sql`alter table audit_events attach partition ${sql.id(name)} for values from (${low}) to (${high})`.execute(
      trx,
    );
  });
}

/**
 * Drops the months that are wholly past the retention and deletes what else is, `batch` rows at a time: no statement
 * takes longer than a query may.
 */
export async function pruneAudit(database: Database, retentionMs: number, now: Date, batch = 10_000): Promise<void> {
  const { kysely } = database;
  const cutoff = new Date(now.getTime() - retentionMs);
  const cutMonth = partitionName(new Date(Date.UTC(cutoff.getUTCFullYear(), cutoff.getUTCMonth(), 1)));
  const { rows } = await sql<{ name: string }>`
    select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'audit_events'::regclass and c.relname ~ '^audit_events_([0-9]{4}_[0-9]{2}|default)$'`.execute(
    kysely,
  );
  for (const { name } of rows) {
    if (name < cutMonth) await sql`drop table if exists ${sql.id(name)}`.execute(kysely);
    else if (name === cutMonth || name === 'audit_events_default') {
      const table = sql.id(name);
      const old = sql`select ctid from ${table} where at < ${cutoff} limit ${batch}`;
      const remove = sql`delete from ${table} where ctid = any(array(${old}))`;
      while ((await remove.execute(kysely)).numAffectedRows === BigInt(batch));
    }
  }
}

/** `audit_events_2026_11`: sorts by time. */
const partitionName = (month: Date): string => `audit_events_${month.toISOString().slice(0, 7).replace('-', '_')}`;
