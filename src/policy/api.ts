import { z } from '@hono/zod-openapi';
import { parsePersonaBody } from '../config/bodies.ts';
import { strict } from '../config/fields.ts';
import { toProblem, validate } from '../config/problems.ts';
import { writtenPersona } from '../config/written.ts';
import type { AdminContext } from '../control-plane/context.ts';
import { type Api, endpoint, newApi } from '../control-plane/endpoint.ts';
import { namedResource } from '../control-plane/named-resource.ts';
import { invalid, notFound } from '../control-plane/refusal.ts';
import { compileWorld } from '../control-plane/world.ts';
import { findKey } from '../identity/store.ts';
import { putRow } from '../storage/named-rows.ts';
import { type Decision, decide, personaOf, ruleText } from './decide.ts';

/** `personas`: who may see and do what, and why. */
export function personasApi(context: AdminContext): Api {
  const api = newApi();
  const own = {
    path: '/personas/explain',
    tag: 'personas',
    response: explanationSchema,
    refusals: [400, 404] as const,
  };
  const summary = 'Whether a principal may call a tool, and which rule and pattern decide it';

  endpoint(api, { ...own, method: 'get', summary, query: questionSchema }, async ({ query }) =>
    explain(context, query),
  );
  endpoint(api, { ...own, method: 'post', summary, body: questionSchema }, async (request) => {
    const parsed = validate(questionSchema, await request.json());
    if ('problems' in parsed) throw invalid(parsed.problems.map(toProblem));
    return explain(context, parsed.value);
  });

  namedResource(api, context, {
    table: 'personas',
    kind: 'persona',
    parse: parsePersonaBody,
    write: writtenPersona,
    save: (trx, wanted) => putRow(trx, 'personas', wanted),
  });
  return api;
}

const roles = z
  .union([z.array(z.string().min(1)), z.string().transform((text) => text.split(',').filter((role) => role !== ''))])
  .optional();

const questionSchema = strict({
  /** A key's name, whose roles it then has, or any subject together with `roles`. */
  principal: z.string().min(1).max(256),
  roles,
  tool: z.string().min(1).max(256),
  namespace: z.string().default('default'),
});

type Question = z.output<typeof questionSchema>;

async function explain(context: AdminContext, question: Question) {
  const { tenant } = await compileWorld(context);
  const namespace = tenant.namespaces.get(question.namespace);
  if (namespace === undefined) throw notFound('namespace', question.namespace);
  const key = question.roles ? undefined : await findKey(context.database.kysely, context.tenant, question.principal);
  const principal = { subject: question.principal, roles: question.roles ?? key?.roles ?? [] };
  const persona = personaOf(tenant, principal.subject, principal.roles);
  const tool = namespace.tools.get(question.tool);
  const about = { principal, namespace: namespace.name, tool: question.tool, persona: persona?.name ?? null };
  if (tool === undefined) {
    const reason = `The namespace "${namespace.name}" has no tool named "${question.tool}".`;
    return { ...about, allowed: false, exists: false, rule: null, list: null, pattern: null, reason };
  }
  const decision = decide(persona, tool.wireName, tool.connection.name);
  return {
    ...about,
    allowed: decision.allowed,
    exists: true,
    connection: tool.connection.name,
    upstreamTool: tool.item.name,
    rule: ruleText(decision),
    list: decision.list ?? null,
    pattern: decision.pattern ?? null,
    reason: sentence(decision, principal, tool.connection.name),
  };
}

/** The decision in words. */
function sentence(
  decision: Decision,
  principal: { subject: string; roles: readonly string[] },
  connection: string,
): string {
  const { persona, list, pattern, source } = decision;
  if (persona === undefined) {
    const has = principal.roles.length === 0 ? 'has no roles' : `has the roles ${principal.roles.join(', ')}`;
    return `No persona fits "${principal.subject}", which ${has}: everything is denied.`;
  }
  const what = list === 'connections' ? `the connection "${connection}"` : 'the tool';
  if (source === 'default') return `Persona "${persona}" does not allow ${what}: nothing in ${list}.allow matches it.`;
  return `Persona "${persona}" ${source === 'allow' ? 'allows' : 'denies'} ${what} by ${list}.${source} "${pattern}".`;
}

const explanationSchema = z
  .object({
    principal: z.object({ subject: z.string(), roles: z.array(z.string()) }),
    namespace: z.string(),
    tool: z.string(),
    exists: z.boolean(),
    allowed: z.boolean(),
    persona: z.string().nullable(),
    connection: z.string().optional(),
    upstreamTool: z.string().optional(),
    rule: z.string().nullable(),
    list: z.enum(['tools', 'connections']).nullable(),
    pattern: z.string().nullable(),
    reason: z.string(),
  })
  .openapi('Explanation');
