import { type ConfigChange, diffDocuments } from '../config/diff.ts';
import { type ApiKeyConfig, type ConfigDocument, REDACTED } from '../config/document.ts';
import { DEFAULT_SETTINGS } from '../config/schema.ts';
import { joinSecrets, secretValue } from '../config/secrets.ts';
import { revealRow } from '../credentials/rows.ts';
import { readReferences, type SecretTable } from '../credentials/store.ts';
import { type Vault, VaultError } from '../credentials/vault.ts';
import { findKeyByHash, type KeyRow, listKeys } from '../identity/store.ts';
import type { Queryable } from '../storage/database.ts';
import { type ConfigOf, listRows, type NamedTable, type Row } from '../storage/named-rows.ts';
import { readSettings } from './store.ts';

/** What is configured now, as one document: secrets as the references they came from, or `[REDACTED]`. */
export async function exportDocument(db: Queryable, tenant: string): Promise<ConfigDocument> {
  const references = await readReferences(db, tenant);
  return document(db, tenant, async (_, row) => joinSecrets(row.config, references.get(row.id) ?? {}));
}

/** What applying a document would change. Needs the vault: a secret that is written again as it was is no change. */
export async function diffAgainst(
  db: Queryable,
  vault: Vault,
  tenant: string,
  after: ConfigDocument,
): Promise<ConfigChange[]> {
  // A secret that cannot be opened differs from whatever is written, which is how one stores it again.
  const before = await document(db, tenant, (table, row) =>
    revealRow(db, vault, table, row).catch((error: unknown) => {
      if (error instanceof VaultError) return row.config;
      throw error;
    }),
  );
  const keys = await Promise.all((before.apiKeys ?? []).map((key) => asKnown(db, key, after.apiKeys)));
  // What was never written is what holds by default.
  return diffDocuments({ ...before, settings: before.settings ?? DEFAULT_SETTINGS, apiKeys: keys }, after);
}

async function document(
  db: Queryable,
  tenant: string,
  configOf: <T extends SecretTable>(table: T, row: Row<T>) => Promise<ConfigOf<T>>,
): Promise<ConfigDocument> {
  const withSecrets = async <T extends SecretTable>(table: T): Promise<Record<string, ConfigOf<T>>> => {
    const configs: Record<string, ConfigOf<T>> = {};
    for (const row of await listRows(db, table, tenant)) configs[row.name] = await configOf(table, row);
    return configs;
  };
  const settings = await readSettings(db);
  const keys = (await listKeys(db, tenant)).filter((row) => row.origin !== null);
  const personas = await section(db, 'personas', tenant);
  const sources = await withSecrets('sources');
  const rules = await section(db, 'rules', tenant);
  return {
    ...(settings && { settings: settings.config }),
    connections: await withSecrets('connections'),
    namespaces: await section(db, 'namespaces', tenant),
    // Left out where there is none: an empty section would mean that nobody may do anything.
    ...(Object.keys(personas).length > 0 && { personas }),
    ...(keys.length > 0 && { apiKeys: keys.map(declared) }),
    ...(Object.keys(sources).length > 0 && { sources }),
    ...(Object.keys(rules).length > 0 && { rules }),
  };
}

async function section<T extends NamedTable>(db: Queryable, table: T, tenant: string) {
  const rows = await listRows(db, table, tenant);
  return Object.fromEntries(rows.map((row) => [row.name, row.config])) as Record<string, Row<T>['config']>;
}

/** A key that a configuration declared, as that configuration may have said it. */
function declared(row: KeyRow): ApiKeyConfig {
  const isReference = row.origin !== null && Object.keys(row.origin).length > 0;
  return {
    name: row.name,
    key: isReference ? (row.origin as Exclude<ApiKeyConfig['key'], string>) : REDACTED,
    roles: row.roles,
    ...(row.expires_at && { expires: row.expires_at.toISOString() }),
  };
}

/** Only a hash is stored: a key reads as the value it is compared with where that has the same hash. */
async function asKnown(db: Queryable, key: ApiKeyConfig, after: ConfigDocument['apiKeys']): Promise<ApiKeyConfig> {
  const wanted = after?.find(({ name }) => name === key.name);
  const value = wanted && secretValue(wanted.key);
  if (wanted === undefined || value === undefined) return key;
  const isSame = (await findKeyByHash(db, value))?.name === key.name;
  const ref = typeof key.key === 'string' ? undefined : (key.key as Exclude<typeof key.key, { value: string }>);
  const known = isSame ? (ref === undefined ? value : { value, ref }) : key.key;
  const sameMoment =
    wanted.expires !== undefined && key.expires !== undefined && Date.parse(wanted.expires) === Date.parse(key.expires);
  return { ...key, key: known, ...(sameMoment && { expires: wanted.expires }) } as ApiKeyConfig;
}
