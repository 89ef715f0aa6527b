import { z } from '@hono/zod-openapi';
import type { AdminContext } from './context.ts';
import { examine } from './doctor.ts';
import { type Api, endpoint, newApi } from './endpoint.ts';
import { activeRevisionId, liveReplicas, newestRevisionId } from './store.ts';

/** `doctor` and `xds`: how the gateway itself is. */
export function operationsApi(context: AdminContext): Api {
  const { database, gateway } = context;
  const api = newApi();
  const tag = 'operations';

  endpoint(
    api,
    {
      method: 'get',
      path: '/doctor',
      tag,
      summary: 'Everything that must hold, and what to do where it does not',
      response: doctorSchema,
    },
    async () => examine(context),
  );

  endpoint(
    api,
    {
      method: 'get',
      path: '/xds',
      tag,
      summary: 'What Envoy was told, what it acknowledged and what it refused',
      query: z.strictObject({ resources: z.enum(['true', 'false']).default('true') }),
      response: z.looseObject({}),
    },
    async ({ query }) => ({
      revision: { newest: await newestRevisionId(database.kysely), active: await activeRevisionId(database.kysely) },
      ...gateway.ads(),
      processors: (await liveReplicas(database.kysely)).map(({ id, role, revision, seen_at }) => ({
        id,
        role,
        revision,
        seenAt: seen_at.toISOString(),
      })),
      ...(query.resources === 'true' && { resources: gateway.dump() }),
    }),
  );
  return api;
}

const doctorSchema = z
  .object({
    ok: z.boolean(),
    checks: z.array(z.object({ name: z.string(), ok: z.boolean(), detail: z.string(), remedy: z.string().optional() })),
  })
  .openapi('Doctor');
