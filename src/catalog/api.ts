import { z } from '@hono/zod-openapi';
import { strict } from '../config/fields.ts';
import { toProblem, validate } from '../config/problems.ts';
import type { AdminContext } from '../control-plane/context.ts';
import {
  type Api,
  decodeCursor,
  encodeCursor,
  endpoint,
  isNumberPlace,
  newApi,
  pageOf,
  pageQuery,
  Reply,
  rawMember,
} from '../control-plane/endpoint.ts';
import { callTool } from '../control-plane/mcp-call.ts';
import { invalid, notFound } from '../control-plane/refusal.ts';
import { compileWorld } from '../control-plane/world.ts';
import { mintInternalToken } from '../identity/internal-token.ts';
import { findKey } from '../identity/store.ts';
import { decide } from '../policy/decide.ts';
import type { ItemKind, NamespaceItem } from '../snapshot/snapshot.ts';
import { judgedName } from '../snapshot/view.ts';

/** What the upstreams offer, under the names that agents see, and calling a tool. */
export function toolsApi(context: AdminContext): Api {
  const api = newApi();
  const own = { tag: 'tools' };

  endpoint(
    api,
    {
      ...own,
      method: 'get',
      path: '/tools',
      summary: 'Tools of a namespace in the order in which agents get them; as one persona sees them, if named',
      query: z.strictObject({ ...pageQuery, ...selection }),
      response: pageOf(toolSchema),
      refusals: [400, 404],
    },
    async ({ query }) => page(await select(context, 'tools', query), query, shown),
  );

  for (const { path, kind, what, schema } of OTHER_LISTS) {
    endpoint(
      api,
      {
        tag: 'catalog',
        method: 'get',
        path,
        summary: `${what} of a namespace in the order in which agents get them; as one persona sees them, if named`,
        query: z.strictObject({ ...pageQuery, ...selection }),
        response: pageOf(schema),
        refusals: [400, 404],
      },
      async ({ query }) => page(await select(context, kind, query), query, (item) => shownOther(kind, item)),
    );
  }

  endpoint(
    api,
    {
      ...own,
      method: 'get',
      path: '/tools/search',
      summary: 'Tools whose name or description has the words, the best first',
      query: z.strictObject({ ...selection, q: z.string().min(1).max(400), limit: pageQuery.limit }),
      response: pageOf(toolSchema),
      refusals: [400, 404],
    },
    async ({ query }) => {
      const words = query.q.toLowerCase().split(/\s+/).filter(Boolean);
      const ranked = (await select(context, 'tools', query))
        .map((tool) => ({ tool, score: score(tool, words) }))
        .filter((entry) => entry.score > 0)
        .sort((a, b) => b.score - a.score);
      return { items: ranked.slice(0, query.limit).map(({ tool }) => shown(tool)) };
    },
  );

  endpoint(
    api,
    {
      ...own,
      method: 'post',
      path: '/tools/call',
      summary:
        'Call a tool through the MCP endpoint, by default as the operator, who may call all; the JSON-RPC response as it came',
      body: callSchema,
      response: z.object({ jsonrpc: z.literal('2.0'), id: z.unknown(), result: z.unknown(), error: z.unknown() }),
      refusals: [400, 404, 502],
    },
    async (request) => {
      const text = await request.text();
      const parsed = validate(callSchema, await request.json());
      if ('problems' in parsed) throw invalid(parsed.problems.map(toProblem));
      const { name, namespace, as } = parsed.value;
      const bearer = mintInternalToken(context.vault, { tenant: context.tenant, ...(await principal(context, as)) });
      const door = { url: context.gateway.mcpUrl(), bearer, namespace };
      return new Reply(200, await callTool(door, name, rawMember(text, 'arguments') ?? '{}'), {
        'content-type': 'application/json',
      });
    },
  );

  endpoint(
    api,
    {
      ...own,
      method: 'get',
      path: '/tools/{name}',
      summary: 'One tool with its definition',
      query: z.strictObject({ namespace: selection.namespace }),
      response: toolSchema,
      refusals: [404],
    },
    async (request) => {
      const name = request.param('name');
      const tool = (await select(context, 'tools', request.query)).find(({ wireName }) => wireName === name);
      if (tool === undefined) throw notFound('tool', name);
      return shown(tool);
    },
  );
  return api;
}

const selection = {
  namespace: z.string().default('default'),
  connection: z.string().optional(),
  persona: z.string().optional(),
};

function page<T>(
  items: readonly NamespaceItem[],
  query: { cursor?: string | undefined; limit: number },
  show: (item: NamespaceItem) => T,
) {
  const start = decodeCursor(query.cursor, isNumberPlace) ?? 0;
  const end = start + query.limit;
  return {
    items: items.slice(start, end).map(show),
    ...(end < items.length && { nextCursor: encodeCursor(end) }),
  };
}

async function select(
  context: AdminContext,
  kind: ItemKind,
  wanted: { namespace: string; connection?: string | undefined; persona?: string | undefined },
): Promise<NamespaceItem[]> {
  const { tenant } = await compileWorld(context);
  const namespace = tenant.namespaces.get(wanted.namespace);
  if (namespace === undefined) throw notFound('namespace', wanted.namespace);
  const persona = tenant.personas.find(({ name }) => name === wanted.persona);
  if (wanted.persona !== undefined && persona === undefined) throw notFound('persona', wanted.persona);
  return [...namespace[kind].values()].filter(
    (item) =>
      (wanted.connection === undefined || item.connection.name === wanted.connection) &&
      (persona === undefined || decide(persona, judgedName(kind, item), item.connection.name).allowed),
  );
}

/** A hit in the name says three times as much as one in the description; a word that hits nowhere rules out. */
function score({ wireName, item: tool }: NamespaceItem, words: readonly string[]): number {
  const { title, description } = JSON.parse(tool.definition) as { title?: unknown; description?: unknown };
  const prose = `${title ?? ''} ${description ?? ''}`.toLowerCase();
  const name = wireName.toLowerCase();
  const hits = words.map((word) => (name.includes(word) ? 3 : 0) + (prose.includes(word) ? 1 : 0));
  return hits.includes(0) ? 0 : hits.reduce((sum, hit) => sum + hit, 0);
}

function shown({ wireName, connection, item: tool }: NamespaceItem) {
  const { name: _, ...definition } = JSON.parse(tool.definition) as Record<string, unknown>;
  return { name: wireName, connection: connection.name, upstreamName: tool.name, digest: tool.digest, ...definition };
}

/** Under the key by which a list of MCP has it; what the upstream calls it stands beside. */
function shownOther(kind: Exclude<ItemKind, 'tools'>, { wireName, connection, item }: NamespaceItem) {
  const definition = JSON.parse(item.definition) as Record<string, unknown>;
  const origin = { connection: connection.name, digest: item.digest };
  if (kind === 'prompts') return { ...definition, ...origin, name: wireName, upstreamName: item.name };
  if (kind === 'resources') return { ...definition, ...origin, uri: wireName, upstreamUri: item.name };
  return { ...definition, ...origin, uriTemplate: wireName, upstreamUriTemplate: item.name };
}

const callSchema = strict({
  name: z.string().min(1).max(256),
  arguments: z.looseObject({}).optional(),
  namespace: z.string().default('default'),
  as: strict({
    /** A key's name, whose roles it then has, or any subject together with `roles`. */
    principal: z.string().min(1).max(256),
    roles: z.array(z.string().min(1)).optional(),
  }).optional(),
});

async function principal(context: AdminContext, as: z.output<typeof callSchema>['as']) {
  // Who holds the admin token could make a key for anything: no persona stands in the way, the audit says who it was.
  if (as === undefined) return { subject: 'admin', roles: [], operator: true };
  if (as.roles !== undefined) return { subject: as.principal, roles: as.roles };
  const key = await findKey(context.database.kysely, context.tenant, as.principal);
  if (key === undefined) throw notFound('key', as.principal);
  return { subject: key.name, roles: key.roles };
}

const origin = { connection: z.string(), digest: z.string() };

const OTHER_LISTS = [
  {
    path: '/prompts',
    kind: 'prompts',
    what: 'Prompts',
    schema: z.looseObject({ name: z.string(), upstreamName: z.string(), ...origin }).openapi('Prompt'),
  },
  {
    path: '/resources',
    kind: 'resources',
    what: 'Resources',
    schema: z.looseObject({ uri: z.string(), upstreamUri: z.string(), ...origin }).openapi('Resource'),
  },
  {
    path: '/resources/templates',
    kind: 'templates',
    what: 'Resource templates',
    schema: z
      .looseObject({ uriTemplate: z.string(), upstreamUriTemplate: z.string(), ...origin })
      .openapi('ResourceTemplate'),
  },
] as const;

const toolSchema = z
  .looseObject({
    name: z.string(),
    connection: z.string(),
    upstreamName: z.string(),
    digest: z.string(),
    title: z.string().optional(),
    description: z.string().optional(),
    inputSchema: z.looseObject({}),
  })
  .openapi('Tool');
