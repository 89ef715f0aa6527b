import type { Selectable } from 'kysely';
import type { SecretReference } from '../config/document.ts';
import { type ConnectionConfig, REDACTED } from '../config/document.ts';
import { type Problem, pathText } from '../config/problems.ts';
import { joinSecrets, pointerSteps, secretReference, secretValue, splitSecrets } from '../config/secrets.ts';
import { readConnectionSecrets, type SecretValues, writeConnectionSecrets } from '../credentials/store.ts';
import type { Vault } from '../credentials/vault.ts';
import { keyFault } from '../snapshot/check.ts';
import type { ItemKind } from '../snapshot/snapshot.ts';
import type { Queryable } from '../storage/database.ts';
import { findRow, putRow, type Row } from '../storage/named-rows.ts';
import type { Owner, Tables } from '../storage/schema.ts';

export type ConnectionRow = Row<'connections'>;

/** Secrets that were to be kept and are not there, or cannot work. Paths are relative to the connection. */
export class SecretProblems extends Error {
  override readonly name = 'SecretProblems';
  readonly problems: readonly Problem[];
  constructor(problems: readonly Problem[]) {
    super('A secret of the connection is missing or cannot work.');
    this.problems = problems;
  }
}

/**
 * Stores a connection whose references are resolved: the configuration without secrets, the secrets sealed beside it.
 * A secret that reads `[REDACTED]` stays what it was; throws `SecretProblems` where nothing was.
 */
export async function saveConnection(
  db: Queryable,
  vault: Vault,
  wanted: { readonly tenant: string; readonly name: string; readonly config: ConnectionConfig; readonly owner: Owner },
): Promise<{ readonly row: ConnectionRow; readonly outcome: 'created' | 'updated' | 'unchanged' }> {
  const { config, secrets } = splitSecrets(wanted.config);
  const before = await findRow(db, 'connections', wanted.tenant, wanted.name);
  const values: Record<string, string> = {};
  const refs: Record<string, SecretReference> = {};
  const problems: Problem[] = [];
  // Opened only if something of it is to be kept: a secret under a lost key can be replaced.
  const kept =
    before && Object.values(secrets).some((secret) => secretValue(secret) === undefined)
      ? await readConnectionSecrets(db, vault, before.id)
      : undefined;
  for (const [pointer, secret] of Object.entries(secrets)) {
    const value = secretValue(secret) ?? kept?.values[pointer];
    const ref = secret === REDACTED ? kept?.refs[pointer] : secretReference(secret);
    if (value === undefined) problems.push({ path: pathText(pointerSteps(pointer)), message: NOTHING_TO_KEEP });
    else values[pointer] = value;
    if (ref !== undefined) refs[pointer] = ref;
  }
  const key = values['/tls/key'];
  const fault = key !== undefined && config.tls?.cert !== undefined && keyFault(key, config.tls.cert);
  if (fault) problems.push({ path: 'tls.key', message: fault });
  if (problems.length > 0) throw new SecretProblems(problems);
  if (before === undefined) {
    const created = await putRow(db, 'connections', { ...wanted, config });
    await writeConnectionSecrets(db, vault, { id: created.row.id, tenant: wanted.tenant }, { values, refs });
    return created;
  }
  const touch = await writeConnectionSecrets(db, vault, { id: before.id, tenant: wanted.tenant }, { values, refs });
  return putRow(db, 'connections', { ...wanted, config, touch });
}

const NOTHING_TO_KEEP = `is ${REDACTED}, which keeps the stored secret, and none is stored: write the secret itself`;

/** The connection with its secrets in place again, each with its reference: for comparing and for testing it. */
export async function revealConnection(db: Queryable, vault: Vault, row: ConnectionRow): Promise<ConnectionConfig> {
  const stored = await readConnectionSecrets(db, vault, row.id);
  if (stored === undefined) return row.config;
  return joinSecrets(row.config, withReferences(stored.values, stored.refs));
}

function withReferences(values: SecretValues, refs: Readonly<Record<string, SecretReference>>) {
  return Object.fromEntries(
    Object.entries(values).map(([pointer, value]) => {
      const ref = refs[pointer];
      return [pointer, ref === undefined ? value : { value, ref }];
    }),
  );
}

/** For each connection of a tenant that has any: where its secrets came from, by pointer. What `export` writes. */
export async function readReferences(
  db: Queryable,
  tenant: string,
): Promise<Map<string, Record<string, SecretReference>>> {
  const rows = await db
    .selectFrom('credentials')
    .select(['connection_id', 'refs'])
    .where('tenant_id', '=', tenant)
    .where('owner_subject', '=', '')
    .execute();
  return new Map(rows.map((row) => [row.connection_id, row.refs]));
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
