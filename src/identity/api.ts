import { z } from '@hono/zod-openapi';
import { parseKeyBody } from '../config/bodies.ts';
import type { AdminContext } from '../control-plane/context.ts';
import {
  type Api,
  decodeCursor,
  encodeCursor,
  endpoint,
  newApi,
  pageOf,
  pageQuery,
  Reply,
} from '../control-plane/endpoint.ts';
import { exists, invalid, notFound, ownedByFile } from '../control-plane/refusal.ts';
import { lockConfiguration } from '../control-plane/store.ts';
import type { Queryable } from '../storage/database.ts';
import { generateKey } from './key-ring.ts';
import { findKey, insertKey, type KeyRow, listKeys, updateKey } from './store.ts';

/** `keys`: what clients authenticate with. Stored as hashes; a new key is in one answer and nowhere else. */
export function keysApi(context: AdminContext): Api {
  const { database, tenant } = context;
  const api = newApi();
  const own = { tag: 'keys' };
  // Keys are no part of a revision; they share its lock, so that processes can read them on by `seq`.
  const change = <T>(work: (trx: Queryable) => Promise<T>): Promise<T> =>
    database.kysely.transaction().execute(async (trx) => {
      await lockConfiguration(trx);
      return work(trx);
    });

  endpoint(
    api,
    {
      ...own,
      method: 'get',
      path: '/keys',
      summary: 'List keys, the newest first',
      query: z.strictObject({ ...pageQuery, revoked: z.enum(['true', 'false']).default('false') }),
      response: pageOf(keySchema),
    },
    async ({ query }) => {
      const place = decodeCursor(query.cursor, isPlace);
      const before = place && { at: new Date(place[0]), id: place[1] };
      const limit = query.limit + 1;
      const rows = await listKeys(database.kysely, tenant, { revoked: query.revoked === 'true', before, limit });
      const items = rows.slice(0, query.limit);
      const last = items.at(-1);
      return {
        items: items.map(shown),
        ...(rows.length > query.limit && last && { nextCursor: encodeCursor([last.created_at.getTime(), last.id]) }),
      };
    },
  );

  endpoint(
    api,
    {
      ...own,
      method: 'post',
      path: '/keys',
      summary: 'Make a key; the answer is the only place where it can be read',
      body: z.strictObject({ name: z.string(), roles: z.array(z.string()), expires: z.string().optional() }),
      status: 201,
      response: keySchema.extend({ key: z.string() }).openapi('NewKey'),
      refusals: [400, 409],
    },
    async (request) => {
      const parsed = parseKeyBody(await request.json());
      if ('problems' in parsed) throw invalid(parsed.problems);
      const { name, roles, expires } = parsed.value;
      const expiresAt = expires === undefined ? null : new Date(expires);
      if (expiresAt !== null && expiresAt.getTime() <= Date.now()) {
        throw invalid([{ path: 'expires', message: 'is in the past: the key would never work' }]);
      }
      const key = generateKey();
      const row = await change(async (trx) => {
        if (await findKey(trx, tenant, name)) throw exists('key', name);
        return insertKey(trx, { tenant, name, key, roles, expiresAt, owner: 'api', origin: null });
      });
      return new Reply(
        201,
        { ...shown(row), key },
        { location: `/api/v1/keys/${row.id}`, 'cache-control': 'no-store' },
      );
    },
  );

  endpoint(
    api,
    {
      ...own,
      method: 'get',
      path: '/keys/{name}',
      summary: 'Read a key by name or id',
      response: keySchema,
      refusals: [404],
    },
    async (request) => {
      const row = await findKey(database.kysely, tenant, request.param('name'));
      if (row === undefined) throw notFound('key', request.param('name'));
      return shown(row);
    },
  );

  endpoint(
    api,
    {
      ...own,
      method: 'delete',
      path: '/keys/{name}',
      summary: 'Revoke a key, by name or id',
      status: 204,
      refusals: [404, 409],
    },
    async (request) => {
      await change(async (trx) => {
        const row = await findKey(trx, tenant, request.param('name'));
        if (row === undefined) throw notFound('key', request.param('name'));
        if (row.owner === 'file') throw ownedByFile('key', row.name);
        if (row.revoked_at === null) await updateKey(trx, row.id, { revoked_at: new Date() });
      });
      return new Reply(204);
    },
  );
  return api;
}

/** Milliseconds and id of the last key of a page. */
const isPlace = (place: unknown): place is [number, string] =>
  Array.isArray(place) && Number.isSafeInteger(place[0]) && z.uuid().safeParse(place[1]).success;

function shown(row: KeyRow) {
  return {
    id: row.id,
    name: row.name,
    hint: row.hint,
    roles: row.roles,
    owner: row.owner,
    createdAt: row.created_at.toISOString(),
    ...(row.expires_at && { expiresAt: row.expires_at.toISOString() }),
    ...(row.revoked_at && { revokedAt: row.revoked_at.toISOString() }),
  };
}

const keySchema = z
  .object({
    id: z.string(),
    name: z.string(),
    hint: z.string(),
    roles: z.array(z.string()),
    owner: z.enum(['api', 'file']),
    createdAt: z.string(),
    expiresAt: z.string().optional(),
    revokedAt: z.string().optional(),
  })
  .openapi('Key');
