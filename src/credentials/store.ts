import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { SecretReference } from '../config/document.ts';
import type { Queryable } from '../storage/database.ts';
import { type Vault, VaultError } from './vault.ts';

/** The tables whose rows have secrets, and by which column `credentials` refers to them. */
const COLUMNS = { connections: 'connection_id', sources: 'source_id' } as const;
export type SecretTable = keyof typeof COLUMNS;

/** A row whose secrets these are. */
export interface SecretOwner {
  readonly table: SecretTable;
  readonly id: string;
}

/** The secrets of one row, opened: JSON pointer into its configuration → value. */
export type SecretValues = Readonly<Record<string, string>>;

/** What is stored for a row: the values, and where they came from. */
export interface StoredSecrets {
  readonly id: string;
  readonly values: SecretValues;
  readonly refs: Readonly<Record<string, SecretReference>>;
}

/** Bound to the ciphertext: a sealed value copied to another row does not open there. */
const contextOf = (id: string): string => `credential:${id}`;

/** Opens the credentials with these ids. Throws `VaultError` where one does not open. */
export async function readSecrets(
  db: Queryable,
  vault: Vault,
  ids: readonly string[],
): Promise<Map<string, SecretValues>> {
  if (ids.length === 0) return new Map();
  const rows = await db
    .selectFrom('credentials')
    .select(['id', 'ciphertext', 'key_id'])
    .where('id', 'in', ids)
    .execute();
  return new Map(rows.map((row) => [row.id, unseal(vault, row)]));
}

/**
 * The secrets that a revision's row names, or why there are none to use, in words for callers. `onClosed` is told, in
 * words for operators, why they do not open.
 */
export async function secretsOf(
  db: Queryable,
  vault: Vault,
  id: string | null,
  onClosed: (why: string) => void = () => {},
): Promise<SecretValues | string> {
  if (id === null) return {};
  try {
    // A row that is gone went with a newer revision, which is on its way.
    return (await readSecrets(db, vault, [id])).get(id) ?? 'its secrets were replaced';
  } catch (error) {
    if (!(error instanceof VaultError)) throw error;
    onClosed(error.message);
    return 'its secrets cannot be opened with SALLYPORT_SECRET_KEY';
  }
}

/** A row's own (shared) secrets, or undefined if it has none. */
export async function readOwnSecrets(
  db: Queryable,
  vault: Vault,
  { table, id }: SecretOwner,
): Promise<StoredSecrets | undefined> {
  const row = await db
    .selectFrom('credentials')
    .select(['id', 'ciphertext', 'key_id', 'refs'])
    .where(COLUMNS[table], '=', id)
    .where('owner_subject', '=', '')
    .executeTakeFirst();
  return row && { id: row.id, values: unseal(vault, row), refs: row.refs };
}

/**
 * Makes a row's secrets exactly these; true if they were not. Changed values get a new row with a new id: the id stands
 * for one set of values, so the revision that names it changes with them, and the audit says which were used.
 */
export async function writeOwnSecrets(
  db: Queryable,
  vault: Vault,
  owner: SecretOwner & { readonly tenant: string },
  secrets: { readonly values: SecretValues; readonly refs: Readonly<Record<string, SecretReference>> },
): Promise<boolean> {
  // What does not open any more differs from whatever is written now.
  const before = await readOwnSecrets(db, vault, owner).catch(() => undefined);
  if (before !== undefined && isDeepStrictEqual(before.values, secrets.values)) {
    await db
      .updateTable('credentials')
      .set({ refs: JSON.stringify(secrets.refs) })
      .where('id', '=', before.id)
      .execute();
    return !isDeepStrictEqual(before.refs, secrets.refs);
  }
  await db
    .deleteFrom('credentials')
    .where(COLUMNS[owner.table], '=', owner.id)
    .where('owner_subject', '=', '')
    .execute();
  if (Object.keys(secrets.values).length === 0) return before !== undefined;
  const id = randomUUID();
  const { ciphertext, keyId } = vault.seal(Buffer.from(JSON.stringify(secrets.values)), contextOf(id));
  await db
    .insertInto('credentials')
    .values({
      id,
      tenant_id: owner.tenant,
      [COLUMNS[owner.table]]: owner.id,
      ciphertext,
      key_id: keyId,
      refs: JSON.stringify(secrets.refs),
    })
    .execute();
  return true;
}

/** For each row of a tenant that has any secrets: where they came from, by pointer. What `export` writes. */
export async function readReferences(
  db: Queryable,
  tenant: string,
): Promise<Map<string, Readonly<Record<string, SecretReference>>>> {
  const rows = await db
    .selectFrom('credentials')
    .select(['connection_id', 'source_id', 'refs'])
    .where('tenant_id', '=', tenant)
    .where('owner_subject', '=', '')
    .execute();
  return new Map(rows.map((row) => [(row.connection_id ?? row.source_id) as string, row.refs]));
}

/** For each row of a tenant that has any secrets: the row of `credentials` that holds them. */
export async function credentialIds(db: Queryable, tenant: string): Promise<Map<string, string>> {
  const rows = await db
    .selectFrom('credentials')
    .select(['id', 'connection_id', 'source_id'])
    .where('tenant_id', '=', tenant)
    .where('owner_subject', '=', '')
    .execute();
  return new Map(rows.map((row) => [(row.connection_id ?? row.source_id) as string, row.id]));
}

/** Every secret value that is stored for a tenant and opens. */
export async function allSecretValues(db: Queryable, vault: Vault, tenant: string): Promise<string[]> {
  const rows = await db
    .selectFrom('credentials')
    .select(['id', 'ciphertext', 'key_id'])
    .where('tenant_id', '=', tenant)
    .execute();
  return rows.flatMap((row) => {
    const plain = openOrSkip(vault, row);
    return plain === undefined ? [] : Object.values(JSON.parse(plain.toString()) as SecretValues);
  });
}

/** Seals again, under the newest key, whatever an older one sealed; returns how many rows that were. */
export async function resealCredentials(db: Queryable, vault: Vault): Promise<number> {
  const rows = await db
    .selectFrom('credentials')
    .select(['id', 'ciphertext', 'key_id'])
    .where('key_id', '!=', vault.keyId)
    .execute();
  let resealed = 0;
  for (const row of rows) {
    const plain = openOrSkip(vault, row);
    if (plain === undefined) continue;
    const { ciphertext, keyId } = vault.seal(plain, contextOf(row.id));
    await db.updateTable('credentials').set({ ciphertext, key_id: keyId }).where('id', '=', row.id).execute();
    resealed++;
  }
  return resealed;
}

/** Connections and sources whose secrets this process cannot open, with the reason, for `doctor`. */
export async function unopenableCredentials(
  db: Queryable,
  vault: Vault,
): Promise<{ table: SecretTable; name: string; reason: string }[]> {
  const rows = await db
    .selectFrom('credentials')
    .leftJoin('connections', 'connections.id', 'credentials.connection_id')
    .leftJoin('sources', 'sources.id', 'credentials.source_id')
    .select(['credentials.id', 'ciphertext', 'key_id', 'connections.name as connection', 'sources.name as source'])
    .execute();
  return rows.flatMap((row) => {
    try {
      unseal(vault, row);
      return [];
    } catch (error) {
      const { connection, source } = row;
      const owner = connection === null ? ['sources', source] : ['connections', connection];
      const [table, name] = owner as [SecretTable, string];
      return [{ table, name, reason: (error as Error).message }];
    }
  });
}

interface SealedRow {
  readonly id: string;
  readonly ciphertext: Buffer;
  readonly key_id: string;
}

function unseal(vault: Vault, row: SealedRow): SecretValues {
  return JSON.parse(vault.open(row.ciphertext, row.key_id, contextOf(row.id)).toString()) as SecretValues;
}

/** A row whose key is not at hand stays as it is: `doctor` names it, and the old key can still come back. */
function openOrSkip(vault: Vault, row: SealedRow): Buffer | undefined {
  try {
    return vault.open(row.ciphertext, row.key_id, contextOf(row.id));
  } catch {
    return undefined;
  }
}
