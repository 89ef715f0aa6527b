import { z } from '@hono/zod-openapi';
import type { Named, Parsed } from '../config/bodies.ts';
import type { Written } from '../config/written.ts';
import { SecretProblems } from '../credentials/rows.ts';
import type { Queryable } from '../storage/database.ts';
import { type ConfigOf, findRow, listRows, type NamedTable, type Row, removeRow } from '../storage/named-rows.ts';
import type { AdminContext } from './context.ts';
import {
  type Api,
  type ApiRequest,
  decodeCursor,
  encodeCursor,
  endpoint,
  isNumberPlace,
  type JsonSchema,
  pageQuery,
  Reply,
} from './endpoint.ts';
import { changedMeanwhile, exists, invalid, notFound, ownedByFile } from './refusal.ts';
import { describeRows } from './row-schemas.ts';

/** What tells connections, namespaces, personas, sources and rules apart for the admin API. */
export interface NamedResource<T extends NamedTable> {
  readonly table: T;
  /** For sentences and for the published schema: `connection`. */
  readonly kind: 'connection' | 'namespace' | 'persona' | 'source' | 'rule';
  readonly parse: (body: unknown) => Parsed<Named<ConfigOf<T>>>;
  readonly write: (config: ConfigOf<T>) => Written;
  readonly save: (
    trx: Queryable,
    wanted: { tenant: string; name: string; config: ConfigOf<T>; owner: 'api' },
  ) => Promise<{ row: Row<T> }>;
  /** Members that answers have besides, by row id; read for all rows at once. */
  readonly extra?: {
    readonly schema: JsonSchema;
    readonly read: (db: Queryable, rows: readonly Row<T>[]) => Promise<Map<string, Written>>;
  };
  /** The order of lists; by name where there is none. */
  readonly order?: (rows: readonly Row<T>[]) => Row<T>[];
  /** Throws where a row must not be removed now. */
  readonly mayRemove?: (trx: Queryable, row: Row<T>) => Promise<void>;
}

/** What the gateway says of a row besides its configuration. May be sent back; it is ignored then. */
const READ_ONLY = new Set(['id', 'owner', 'version', 'createdAt', 'updatedAt', 'status', 'runs']);

/** What rooms need that do more with rows than this. */
export interface NamedRows<T extends NamedTable> {
  readonly show: (row: Row<T>) => Promise<Reply>;
  /** Throws 404. */
  readonly mustFind: (db: Queryable, name: string) => Promise<Row<T>>;
  /** Throws where `If-Match` does not, or a configuration file owns the row. */
  readonly mayChange: (request: ApiRequest<unknown>, row: Row<T>) => void;
  readonly change: <V>(reason: string, work: (trx: Queryable) => Promise<V>) => Promise<V>;
  /** Of the published schema: as answers have it. */
  readonly shown: JsonSchema;
}

/** List, create, read, replace, merge and remove, the same for every named thing. */
export function namedResource<T extends NamedTable>(
  api: Api,
  context: AdminContext,
  resource: NamedResource<T>,
): NamedRows<T> {
  const { table, kind, parse, write } = resource;
  const { database, writer, tenant } = context;
  const path = `/${table}`;
  const tag = table;
  const { body, shown, page } = describeRows(api, kind, resource.extra?.schema);

  const show = (row: Row<T>, extra?: Written): Written => ({
    name: row.name,
    ...write(row.config),
    ...extra,
    owner: row.owner,
    version: row.version,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  });
  const showAll = async (rows: readonly Row<T>[]): Promise<Written[]> => {
    const extra = await resource.extra?.read(database.kysely, rows);
    return rows.map((row) => show(row, extra?.get(row.id)));
  };
  const reply = async (status: 200 | 201, row: Row<T>): Promise<Reply> => {
    const location = status === 201 ? { location: `/api/v1${path}/${encodeURIComponent(row.name)}` } : {};
    return new Reply(status, (await showAll([row]))[0], { etag: etag(row), ...location });
  };
  const mustFind = async (db: Queryable, name: string): Promise<Row<T>> => {
    const row = await findRow(db, table, tenant, name);
    if (row === undefined) throw notFound(kind, name);
    return row;
  };
  const mayChange = (request: ApiRequest<unknown>, row: Row<T>): void => {
    if (!matches(request.header('if-match'), row)) throw changedMeanwhile(kind, row.name, row.version);
    if (row.owner === 'file') throw ownedByFile(kind, row.name);
  };
  /** The body, under the name in the path where there is one. */
  const read = (body: unknown, name?: string): { name: string; config: ConfigOf<T> } => {
    const given = withoutReadOnly(body);
    const parsed = parse(name === undefined || !isObject(given) ? given : { name, ...given });
    if ('problems' in parsed) throw invalid(parsed.problems);
    const { config, name: own } = parsed.value;
    if (own === undefined) throw invalid([{ path: 'name', message: 'is required' }]);
    if (name === undefined || own === name) return { name: own, config };
    throw invalid([{ path: 'name', message: `is "${own}", but the path says "${name}": a ${kind} keeps its name` }]);
  };
  const change = <V>(reason: string, work: (trx: Queryable) => Promise<V>): Promise<V> =>
    writer.change({ author: 'admin api', reason }, work).then(({ value }) => value);
  const save = (trx: Queryable, wanted: { name: string; config: ConfigOf<T> }) =>
    resource.save(trx, { tenant, owner: 'api', ...wanted }).then(({ row }) => row, asRefusal);

  endpoint(
    api,
    { method: 'get', path, tag, summary: `List ${table}`, query: z.strictObject(pageQuery), response: page },
    async ({ query }) => {
      const { limit } = query;
      if (resource.order !== undefined) {
        const start = decodeCursor(query.cursor, isNumberPlace) ?? 0;
        const rows = resource.order(await listRows(database.kysely, table, tenant));
        const items = await showAll(rows.slice(start, start + limit));
        return { items, ...(rows.length > start + limit && { nextCursor: encodeCursor(start + limit) }) };
      }
      const after = decodeCursor(query.cursor, (place) => typeof place === 'string');
      const rows = await listRows(database.kysely, table, tenant, { after, limit: limit + 1 });
      const items = await showAll(rows.slice(0, limit));
      return { items, ...(rows.length > limit && { nextCursor: encodeCursor(rows[limit - 1]?.name) }) };
    },
  );

  endpoint(
    api,
    {
      method: 'post',
      path,
      tag,
      summary: `Add a ${kind}`,
      body,
      status: 201,
      response: shown,
      refusals: [400, 409, 422],
    },
    async (request) => {
      const wanted = read(await request.json());
      const row = await change(`add ${kind} ${wanted.name}`, async (trx) => {
        if (await findRow(trx, table, tenant, wanted.name)) throw exists(kind, wanted.name);
        return save(trx, wanted);
      });
      return reply(201, row);
    },
  );

  endpoint(
    api,
    { method: 'get', path: `${path}/{name}`, tag, summary: `Read a ${kind}`, response: shown, refusals: [404] },
    async (request) => reply(200, await mustFind(database.kysely, request.param('name'))),
  );

  endpoint(
    api,
    {
      method: 'put',
      path: `${path}/{name}`,
      tag,
      summary: `Replace a ${kind}, or add it`,
      body,
      response: shown,
      refusals: [400, 409, 412, 422],
    },
    async (request) => {
      const wanted = read(await request.json(), request.param('name'));
      return change(`put ${kind} ${wanted.name}`, async (trx) => {
        const before = await findRow(trx, table, tenant, wanted.name);
        if (before === undefined && request.header('if-match') !== undefined) throw notFound(kind, wanted.name);
        if (before !== undefined && request.header('if-none-match') === '*') throw exists(kind, wanted.name);
        if (before !== undefined) mayChange(request, before);
        return { row: await save(trx, wanted), status: before === undefined ? (201 as const) : (200 as const) };
      }).then(({ row, status }) => reply(status, row));
    },
  );

  endpoint(
    api,
    {
      method: 'patch',
      path: `${path}/{name}`,
      tag,
      summary: `Change members of a ${kind} (JSON merge patch, RFC 7396)`,
      body: z.looseObject({}),
      response: shown,
      refusals: [400, 404, 409, 412, 422],
    },
    async (request) => {
      const patch = withoutReadOnly(await request.json());
      const name = request.param('name');
      const row = await change(`patch ${kind} ${name}`, async (trx) => {
        const before = await mustFind(trx, name);
        mayChange(request, before);
        return save(trx, read(mergePatch(write(before.config), patch), name));
      });
      return reply(200, row);
    },
  );

  endpoint(
    api,
    {
      method: 'delete',
      path: `${path}/{name}`,
      tag,
      summary: `Remove a ${kind}`,
      status: 204,
      refusals: [404, 409, 412, 422],
    },
    async (request) => {
      const name = request.param('name');
      await change(`remove ${kind} ${name}`, async (trx) => {
        const before = await mustFind(trx, name);
        mayChange(request, before);
        await resource.mayRemove?.(trx, before);
        await removeRow(trx, table, before.id);
      });
      return new Reply(204);
    },
  );
  return { show: (row) => reply(200, row), mustFind, mayChange, change, shown };
}

const asRefusal = (error: unknown): never => {
  throw error instanceof SecretProblems ? invalid(error.problems) : error;
};

const etag = (row: { readonly version: number }): string => `"${row.version}"`;

/** RFC 9110 §13.1.1; weak validators never match. */
function matches(header: string | undefined, row: { readonly version: number }): boolean {
  if (header === undefined || header.trim() === '*') return true;
  return header.split(',').some((tag) => tag.trim() === etag(row));
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A body as it may have been read: what the gateway says of a row is left out. */
export function withoutReadOnly(body: unknown): unknown {
  if (!isObject(body)) return body;
  return Object.fromEntries(Object.entries(body).filter(([key]) => !READ_ONLY.has(key)));
}

/** RFC 7396 §2. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const merged = new Map(Object.entries(isObject(target) ? target : {}));
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) merged.delete(key);
    else merged.set(key, mergePatch(merged.get(key), value));
  }
  return Object.fromEntries(merged);
}
