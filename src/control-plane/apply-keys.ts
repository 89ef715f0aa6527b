import { isDeepStrictEqual } from 'node:util';
import type { ApiKeyConfig } from '../config/document.ts';
import { pathText } from '../config/problems.ts';
import { secretReference, secretValue } from '../config/secrets.ts';
import { findKeyByHash, insertKey, type KeyRow, listKeys, updateKey } from '../identity/store.ts';
import type { ApplyContext } from './apply-context.ts';
import { invalid, ownedByFile } from './refusal.ts';

/**
 * Keys that a document declares. Keys that the gateway made are nobody's to declare and stay. Whatever a key's entry
 * no longer says ends it: another value under the same name revokes the old key.
 */
export async function applyKeys(context: ApplyContext, keys: readonly ApiKeyConfig[] | undefined): Promise<void> {
  const { db, as, tenant } = context;
  const before = new Map((await listKeys(db, tenant)).map((row) => [row.name, row]));
  for (const [i, entry] of (keys ?? []).entries()) {
    const row = before.get(entry.name);
    before.delete(entry.name);
    await applyKey(context, entry, row, pathText(['identity', 'apiKeys', i, 'key']));
  }
  for (const row of before.values()) {
    const declaredHere = as === 'file' ? row.owner === 'file' : row.owner === 'api' && row.origin !== null && keys;
    if (declaredHere) await updateKey(db, row.id, { revoked_at: new Date() });
  }
}

async function applyKey(
  context: ApplyContext,
  entry: ApiKeyConfig,
  live: KeyRow | undefined,
  path: string,
): Promise<void> {
  const { db, as, tenant } = context;
  const value = secretValue(entry.key);
  if (value === undefined && live === undefined) {
    throw invalid([{ path, message: 'is [REDACTED], and no key of that name is stored: write the key itself' }]);
  }
  // The row that has this value: the live one of this name, or one that was revoked and is declared again.
  const row = value === undefined ? live : await findKeyByHash(db, value);
  if (row !== undefined && row.name !== entry.name) {
    throw invalid([{ path, message: `belongs to the key "${row.name}" already: write another one` }]);
  }
  const wanted = {
    roles: entry.roles,
    expires_at: entry.expires === undefined ? null : new Date(entry.expires),
    origin: value === undefined ? (row?.origin ?? {}) : (secretReference(entry.key) ?? {}),
    owner: as === 'file' || row?.owner === 'file' ? ('file' as const) : as,
    revoked_at: null,
  };
  if (row !== undefined && says(row, wanted)) return;
  if (as === 'api' && (live ?? row)?.owner === 'file') throw ownedByFile('key', entry.name);
  if (live !== undefined && live.id !== row?.id) await updateKey(db, live.id, { revoked_at: new Date() });
  if (row !== undefined) return updateKey(db, row.id, wanted);
  const { roles, expires_at: expiresAt, origin } = wanted;
  await insertKey(db, { tenant, name: entry.name, key: value as string, roles, expiresAt, owner: as, origin });
}

function says(row: KeyRow, wanted: Parameters<typeof updateKey>[2]): boolean {
  return Object.entries(wanted).every(([column, value]) => isDeepStrictEqual(row[column as keyof KeyRow], value));
}
