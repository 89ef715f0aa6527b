import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { SecretReference } from '../config/document.ts';
import type { Queryable } from '../storage/database.ts';
import type { Vault } from './vault.ts';

/** A connection's secrets, opened: JSON pointer into its configuration → value. */
export type SecretValues = Readonly<Record<string, string>>;

/** What is stored for a connection: the values, and where they came from. */
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

/** A connection's own (shared) secrets, or undefined if it has none. */
export async function readConnectionSecrets(
  db: Queryable,
  vault: Vault,
  connectionId: string,
): Promise<StoredSecrets | undefined> {
  const row = await db
    .selectFrom('credentials')
    .select(['id', 'ciphertext', 'key_id', 'refs'])
    .where('connection_id', '=', connectionId)
    .where('owner_subject', '=', '')
    .executeTakeFirst();
  return row && { id: row.id, values: unseal(vault, row), refs: row.refs };
}

/**
 * Makes a connection's secrets exactly these; true if they were not. Changed values get a new row with a new id: the id stands for one set of
 * values, so the revision that names it changes with them, and the audit says which were used.
 */
export async function writeConnectionSecrets(
  db: Queryable,
  vault: Vault,
  connection: { readonly id: string; readonly tenant: string },
  secrets: { readonly values: SecretValues; readonly refs: Readonly<Record<string, SecretReference>> },
): Promise<boolean> {
  // What does not open any more differs from whatever is written now.
  const before = await readConnectionSecrets(db, vault, connection.id).catch(() => undefined);
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
    .where('connection_id', '=', connection.id)
    .where('owner_subject', '=', '')
    .execute();
  if (Object.keys(secrets.values).length === 0) return before !== undefined;
  const id = randomUUID();
  const { ciphertext, keyId } = vault.seal(Buffer.from(JSON.stringify(secrets.values)), contextOf(id));
  await db
    .insertInto('credentials')
    .values({
      id,
      tenant_id: connection.tenant,
      connection_id: connection.id,
      ciphertext,
      key_id: keyId,
      refs: JSON.stringify(secrets.refs),
    })
    .execute();
  return true;
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

/** Connections whose secrets this process cannot open, with the reason, for `doctor`. */
export async function unopenableCredentials(
  db: Queryable,
  vault: Vault,
): Promise<{ connection: string; reason: string }[]> {
  const rows = await db
    .selectFrom('credentials')
    .innerJoin('connections', 'connections.id', 'credentials.connection_id')
    .select(['credentials.id', 'ciphertext', 'key_id', 'connections.name'])
    .execute();
  return rows.flatMap((row) => {
    try {
      unseal(vault, row);
      return [];
    } catch (error) {
      return [{ connection: row.name, reason: (error as Error).message }];
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
