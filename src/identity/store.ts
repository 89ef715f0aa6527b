import { randomUUID } from 'node:crypto';
import { type Selectable, sql } from 'kysely';
import type { SecretReference } from '../config/document.ts';
import type { Queryable } from '../storage/database.ts';
import { notify } from '../storage/notify.ts';
import type { Tables } from '../storage/schema.ts';
import { hashKey, keyHint } from './key-ring.ts';

/**
 * The only SQL that writes keys. All of it runs under the configuration lock: `seq` is how every data-plane process
 * reads on from what it knows, so a lower one may never be committed after a higher one.
 */
export type KeyRow = Omit<Selectable<Tables['api_keys']>, 'hash' | 'seq'>;

const COLUMNS = [
  'id',
  'tenant_id',
  'name',
  'hint',
  'roles',
  'owner',
  'origin',
  'expires_at',
  'revoked_at',
  'created_at',
] as const;

/** Keys of a tenant, the newest first; revoked ones only if asked for. */
export async function listKeys(
  db: Queryable,
  tenant: string,
  options: {
    readonly revoked?: boolean;
    readonly before?: { readonly at: Date; readonly id: string } | undefined;
    readonly limit?: number;
  } = {},
): Promise<KeyRow[]> {
  let query = db.selectFrom('api_keys').select(COLUMNS).where('tenant_id', '=', tenant);
  if (options.revoked !== true) query = query.where('revoked_at', 'is', null);
  if (options.before !== undefined) {
    const { at, id } = options.before;
    query = query.where(sql<boolean>`(date_trunc('milliseconds', created_at), id) < (${at}, ${id})`);
  }
  if (options.limit !== undefined) query = query.limit(options.limit);
  return query.orderBy(sql`date_trunc('milliseconds', created_at)`, 'desc').orderBy('id', 'desc').execute();
}

/** A live key by its name, or any key by its id. */
export async function findKey(db: Queryable, tenant: string, nameOrId: string): Promise<KeyRow | undefined> {
  const query = db.selectFrom('api_keys').select(COLUMNS).where('tenant_id', '=', tenant);
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(nameOrId))
    return query.where('id', '=', nameOrId).executeTakeFirst();
  return query.where('name', '=', nameOrId).where('revoked_at', 'is', null).executeTakeFirst();
}

/** Stores a key by its hash. */
export async function insertKey(
  db: Queryable,
  key: {
    readonly tenant: string;
    readonly name: string;
    readonly key: string;
    readonly roles: readonly string[];
    readonly expiresAt: Date | null;
    readonly owner: 'api' | 'file';
    readonly origin: SecretReference | Record<string, never> | null;
  },
): Promise<KeyRow> {
  const row = await db
    .insertInto('api_keys')
    .values({
      id: randomUUID(),
      tenant_id: key.tenant,
      name: key.name,
      hash: hashKey(key.key),
      hint: keyHint(key.key),
      roles: [...key.roles],
      owner: key.owner,
      origin: key.origin && JSON.stringify(key.origin),
      expires_at: key.expiresAt,
    })
    .returning(COLUMNS)
    .executeTakeFirstOrThrow();
  await notify(db, 'sallyport_keys', '');
  return row;
}

/** Changes what a key may do, or ends it. The row stays: the audit names it. */
export async function updateKey(
  db: Queryable,
  id: string,
  change: {
    readonly roles?: readonly string[];
    readonly expires_at?: Date | null;
    readonly revoked_at?: Date | null;
    readonly owner?: 'api' | 'file';
    readonly origin?: SecretReference | Record<string, never> | null;
  },
): Promise<void> {
  const { roles, origin, ...rest } = change;
  await db
    .updateTable('api_keys')
    .set({
      ...rest,
      ...(roles && { roles: [...roles] }),
      ...(origin !== undefined && { origin: origin && JSON.stringify(origin) }),
      seq: sql`nextval('api_key_seq')`,
    })
    .where('id', '=', id)
    .execute();
  await notify(db, 'sallyport_keys', '');
}

/** Whose hash this is: keys are unique across tenants, revoked ones included. */
export async function findKeyByHash(db: Queryable, key: string): Promise<KeyRow | undefined> {
  return db.selectFrom('api_keys').select(COLUMNS).where('hash', '=', hashKey(key)).executeTakeFirst();
}

/** Whether any key was ever made. */
export async function hasKeys(db: Queryable): Promise<boolean> {
  return (await db.selectFrom('api_keys').select('id').limit(1).executeTakeFirst()) !== undefined;
}
