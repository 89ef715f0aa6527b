import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import type { ConnectionConfig, NamespaceConfig, PersonaConfig, RuleConfig, SourceConfig } from '../config/document.ts';
import type { Queryable } from './database.ts';
import type { Owner } from './schema.ts';

/** Tables of one shape: a configuration under a name that its tenant chose. */
export type NamedTable = keyof Configs;

interface Configs {
  connections: ConnectionConfig;
  namespaces: NamespaceConfig;
  personas: PersonaConfig;
  sources: SourceConfig;
  rules: RuleConfig;
}

/** What such a row configures. */
export type ConfigOf<T extends NamedTable> = Configs[T];

/** One of them, as read. */
export interface Row<T extends NamedTable> {
  readonly id: string;
  readonly tenant_id: string;
  readonly name: string;
  readonly config: ConfigOf<T>;
  readonly owner: Owner;
  readonly created_at: Date;
  readonly updated_at: Date;
  readonly version: number;
}

/** All rows of a tenant by name; with `after` and `limit`, a page of them. */
export async function listRows<T extends NamedTable>(
  db: Queryable,
  table: T,
  tenant: string,
  page: { readonly after?: string | undefined; readonly limit?: number | undefined } = {},
): Promise<Row<T>[]> {
  let query = db.selectFrom(as(table)).selectAll().where('tenant_id', '=', tenant);
  // Bytewise, as JavaScript compares names: a page must end where the next begins, whatever the database's locale.
  if (page.after !== undefined) query = query.where(sql<boolean>`name collate "C" > ${page.after}`);
  if (page.limit !== undefined) query = query.limit(page.limit);
  return (await query.orderBy(sql`name collate "C"`).execute()) as unknown as Row<T>[];
}

/** One row, or undefined. */
export async function findRow<T extends NamedTable>(
  db: Queryable,
  table: T,
  tenant: string,
  name: string,
): Promise<Row<T> | undefined> {
  const query = db.selectFrom(as(table)).selectAll();
  const row = await query.where('tenant_id', '=', tenant).where('name', '=', name).executeTakeFirst();
  return row as unknown as Row<T> | undefined;
}

/**
 * Makes the row say this. A row that says it already is left alone, unless `touch` tells that something that belongs
 * to it (its secrets) changed: then its version grows.
 */
export async function putRow<T extends NamedTable>(
  db: Queryable,
  table: T,
  wanted: {
    readonly tenant: string;
    readonly name: string;
    readonly config: ConfigOf<T>;
    readonly owner: Owner;
    readonly touch?: boolean;
    /** Of a row that is new; 1 when not written. */
    readonly firstVersion?: number;
  },
): Promise<{ readonly row: Row<T>; readonly outcome: 'created' | 'updated' | 'unchanged' }> {
  const before = await findRow(db, table, wanted.tenant, wanted.name);
  const config = JSON.stringify(wanted.config);
  if (before === undefined) {
    const { tenant, name, owner } = wanted;
    const values = { id: randomUUID(), tenant_id: tenant, name, config, owner, version: wanted.firstVersion ?? 1 };
    const row = await db.insertInto(as(table)).values(values).returningAll().executeTakeFirstOrThrow();
    return { row: row as unknown as Row<T>, outcome: 'created' };
  }
  const differs = sql<boolean>`(config <> ${config}::jsonb or owner <> ${wanted.owner} or ${wanted.touch === true})`;
  const row = await db
    .updateTable(as(table))
    .set({ config, owner: wanted.owner, updated_at: sql`now()`, version: sql`version + 1` })
    .where('id', '=', before.id)
    .where(differs)
    .returningAll()
    .executeTakeFirst();
  if (row === undefined) return { row: before, outcome: 'unchanged' };
  return { row: row as unknown as Row<T>, outcome: 'updated' };
}

/** Removes a row and whatever hangs on it. */
export async function removeRow(db: Queryable, table: NamedTable, id: string): Promise<void> {
  await db.deleteFrom(as(table)).where('id', '=', id).execute();
}

/** The tables differ in the type of `config` only; Kysely's types take one name at a time. */
const as = (table: NamedTable): 'connections' => table as 'connections';
