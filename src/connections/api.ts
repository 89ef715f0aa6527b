import { z } from '@hono/zod-openapi';
import { parseConnectionBody } from '../config/bodies.ts';
import type { ConnectionConfig } from '../config/document.ts';
import { resolveSecrets } from '../config/resolve.ts';
import { type Written, writtenConnection } from '../config/written.ts';
import type { AdminContext } from '../control-plane/context.ts';
import { type Api, endpoint, newApi } from '../control-plane/endpoint.ts';
import { namedResource } from '../control-plane/named-resource.ts';
import { notFound } from '../control-plane/refusal.ts';
import { findRow } from '../storage/named-rows.ts';
import { type ConnectionRow, readStatuses, type StatusRow, saveConnection } from './store.ts';

/** `connections`: the upstreams, how each stands, and trying one out. */
export function connectionsApi(context: AdminContext): Api {
  const { database, vault, tenant, catalog } = context;
  const api = newApi();

  // These come first: `test`, `refresh` and `status` are steps below a connection, not names.
  const find = async (name: string): Promise<ConnectionRow> => {
    const row = await findRow(database.kysely, 'connections', tenant, name);
    if (row === undefined) throw notFound('connection', name);
    return row;
  };
  const statusOf = async (row: ConnectionRow): Promise<Written> =>
    status(
      row,
      (await readStatuses(database.kysely, tenant)).find((one) => one.connection_id === row.id),
    );
  const own = { tag: 'connections', refusals: [404] as const };

  endpoint(
    api,
    {
      ...own,
      method: 'get',
      path: '/connections/{name}/status',
      summary: 'How a connection stands',
      response: statusSchema,
    },
    async (request) => statusOf(await find(request.param('name'))),
  );
  endpoint(
    api,
    {
      ...own,
      method: 'post',
      path: '/connections/{name}/refresh',
      summary: 'Read its catalog now',
      response: statusSchema,
    },
    async (request) => {
      const row = await find(request.param('name'));
      if (row.config.enabled) await catalog.refresh(row.id);
      return statusOf(row);
    },
  );
  endpoint(
    api,
    {
      ...own,
      method: 'post',
      path: '/connections/{name}/test',
      summary: 'Connect and list what it offers without storing anything',
      response: testSchema,
    },
    async (request) => {
      const row = await find(request.param('name'));
      return catalog.test(tenant, row.name);
    },
  );

  namedResource(api, context, {
    table: 'connections',
    kind: 'connection',
    parse: (body) => {
      const parsed = parseConnectionBody(body);
      if ('problems' in parsed) return parsed;
      const resolved = resolveSecrets(parsed.value.config, context.secretSources);
      return 'problems' in resolved ? resolved : { value: { ...parsed.value, config: resolved.value } };
    },
    write: writtenConnection,
    save: (trx, wanted) => saveConnection(trx, vault, wanted),
    extra: {
      schema: { status: { $ref: '#/components/schemas/ConnectionStatus' } },
      read: async (db, rows) => {
        const statuses = new Map((await readStatuses(db, tenant)).map((one) => [one.connection_id, one]));
        return new Map(rows.map((row) => [row.id, { status: status(row, statuses.get(row.id)) }]));
      },
    },
  });
  return api;
}

function status(row: { readonly config: ConnectionConfig }, found: StatusRow | undefined): Written {
  const state = row.config.enabled ? (found?.state ?? 'pending') : 'disabled';
  return {
    state,
    ...(found?.counts ?? NOTHING_YET),
    // Of a connection that is ready: one of its lists cannot be read.
    ...(found?.last_error && { lastError: found.last_error }),
    ...(found?.last_attempt_at && { lastAttemptAt: found.last_attempt_at.toISOString() }),
    ...(found?.last_success_at && { lastSuccessAt: found.last_success_at.toISOString() }),
    ...(found?.server_name && { serverName: found.server_name }),
    ...(found?.server_version && { serverVersion: found.server_version }),
    ...(found?.protocol_version && {
      era: found.era,
      transport: found.transport,
      protocolVersion: found.protocol_version,
    }),
    ...(found?.era === 'modern' && found.legacy_version && { legacyVersion: found.legacy_version }),
    ...(found?.era_checked_at && { eraCheckedAt: found.era_checked_at.toISOString() }),
    ...(found && { hasSessions: found.has_sessions }),
  };
}

const NOTHING_YET = { tools: 0, prompts: 0, resources: 0, templates: 0 };

const statusSchema = z
  .object({
    state: z.enum(['pending', 'ready', 'unavailable', 'disabled']),
    tools: z.int(),
    prompts: z.int(),
    resources: z.int(),
    templates: z.int(),
    lastError: z.string().optional(),
    lastAttemptAt: z.string().optional(),
    lastSuccessAt: z.string().optional(),
    serverName: z.string().optional(),
    serverVersion: z.string().optional(),
    era: z.enum(['legacy', 'modern']).optional(),
    transport: z.enum(['http', 'sse']).optional(),
    eraCheckedAt: z.string().optional(),
    legacyVersion: z.string().optional(),
    protocolVersion: z.string().optional(),
    hasSessions: z.boolean().optional(),
  })
  .openapi('ConnectionStatus');

const testSchema = z
  .object({
    ok: z.boolean(),
    error: z.string().optional(),
    era: z.enum(['legacy', 'modern']).optional(),
    transport: z.enum(['http', 'sse']).optional(),
    protocolVersion: z.string().optional(),
    serverName: z.string().optional(),
    serverVersion: z.string().optional(),
    tools: z.int().optional(),
    prompts: z.int().optional(),
    resources: z.int().optional(),
    templates: z.int().optional(),
    durationMs: z.number(),
  })
  .openapi('ConnectionTest');
