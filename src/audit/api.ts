import { z } from '@hono/zod-openapi';
import { parseDuration } from '../config/duration.ts';
import type { AdminContext } from '../control-plane/context.ts';
import {
  type Api,
  decodeCursor,
  encodeCursor,
  endpoint,
  newApi,
  pageOf,
  pageQuery,
} from '../control-plane/endpoint.ts';
import { type AuditEvent, type AuditFilter, auditStats, readAuditEvents } from './store.ts';

/** `audit`: reading what was recorded. Nothing here writes. */
export function auditApi({ database, tenant }: AdminContext): Api {
  const api = newApi();

  endpoint(
    api,
    {
      method: 'get',
      path: '/audit/events',
      tag: 'audit',
      summary: 'Events, the newest first',
      query: z.strictObject({ ...pageQuery, ...filterQuery }),
      response: pageOf(eventSchema),
      refusals: [400],
    },
    async ({ query: { limit, cursor, ...query } }) => {
      const place = decodeCursor(cursor, isPlace);
      const before = place && { at: new Date(place[0]), id: place[1] };
      const rows = await readAuditEvents(database.kysely, tenant, { ...filterOf(query), before }, limit + 1);
      const items = rows.slice(0, limit);
      const last = items.at(-1);
      return {
        items: items.map(shown),
        ...(rows.length > limit && last && { nextCursor: encodeCursor([last.at.getTime(), last.id]) }),
      };
    },
  );

  endpoint(
    api,
    {
      method: 'get',
      path: '/audit/stats',
      tag: 'audit',
      summary: 'Counts by verdict, method, tool, principal and connection, and how long calls took',
      query: z.strictObject(filterQuery),
      response: statsSchema,
      refusals: [400],
    },
    async ({ query }) => {
      // A day, unless asked otherwise: counting everything there ever was is nobody's default.
      const filter = filterOf(query);
      const since = filter.since ?? new Date(Date.now() - 86_400_000);
      const { calls, ...counts } = await auditStats(database.kysely, tenant, { ...filter, since });
      const ms = (us: number | null) => (us === null ? null : us / 1000);
      return {
        since: since.toISOString(),
        ...counts,
        calls: { count: calls.calls, p50Ms: ms(calls.p50), p95Ms: ms(calls.p95), p99Ms: ms(calls.p99) },
      };
    },
  );
  return api;
}

/** A moment, or how long ago: `2026-11-21T10:00:00Z`, `2026-11-21`, `15m`. */
const moment = z.string().transform((text, context) => {
  const ago = parseDuration(text);
  const at =
    ago === undefined ? new Date(/^\d{4}-\d\d-\d\d/.test(text) ? text : Number.NaN) : new Date(Date.now() - ago);
  if (!Number.isNaN(at.getTime())) return at;
  context.addIssue({
    code: 'custom',
    message: 'must be a time such as 2026-11-21T10:00:00Z, or how long ago, such as 15m',
  });
  return z.NEVER;
});

const text = z.string().min(1).max(300).optional();

const verdict = z.enum(['allowed', 'denied', 'limited', 'blocked', 'failed']);

const filterQuery = {
  method: text,
  verdict: verdict.optional(),
  tool: text,
  principal: text,
  persona: text,
  connection: text,
  namespace: text,
  session: text,
  since: moment.optional(),
  until: moment.optional(),
};

const filterOf = (query: z.output<z.ZodObject<typeof filterQuery>>): AuditFilter => query;

/** Milliseconds and id of the last event of a page. */
const isPlace = (place: unknown): place is [number, string] =>
  Array.isArray(place) && Number.isSafeInteger(place[0]) && z.uuid().safeParse(place[1]).success;

/** A row in the words of the API. */
function shown(row: AuditEvent) {
  return {
    id: row.id,
    at: row.at.toISOString(),
    tenant: row.tenant_id,
    namespace: row.namespace,
    requestId: row.request_id,
    traceId: row.trace_id,
    session: row.session_id,
    principal: row.subject,
    authMethod: row.auth_method,
    clientName: row.client_name,
    persona: row.persona,
    method: row.method,
    connection: row.connection,
    connectionKind: row.connection_kind,
    tool: row.tool,
    upstreamTool: row.upstream_tool,
    definitionDigest: row.definition_digest,
    arguments: row.arguments,
    argumentsSha256: row.arguments_sha256,
    result: row.result,
    resultSha256: row.result_sha256,
    verdict: row.verdict,
    rule: row.rule,
    pattern: row.pattern,
    reason: row.reason,
    findings: row.findings,
    enrichment: row.enrichment,
    credentialId: row.credential_id,
    upstreamStatus: row.upstream_status,
    isError: row.is_error,
    httpStatus: row.http_status,
    durationUs: row.duration_us,
    upstreamUs: row.upstream_us,
    processorUs: row.processor_us,
    bytesIn: row.bytes_in,
    bytesOut: row.bytes_out,
  };
}

const nullable = <T extends z.ZodType>(type: T, ...names: string[]) =>
  Object.fromEntries(names.map((name) => [name, type.nullable()]));
const eventSchema = z
  .object({
    id: z.string(),
    at: z.string(),
    tenant: z.string(),
    verdict,
    arguments: z.unknown(),
    result: z.unknown(),
    findings: z.unknown(),
    enrichment: z.unknown(),
    ...nullable(z.string(), 'namespace', 'requestId', 'traceId', 'session', 'principal', 'authMethod', 'clientName'),
    ...nullable(z.string(), 'persona', 'method', 'connection', 'connectionKind', 'tool', 'upstreamTool'),
    ...nullable(z.string(), 'definitionDigest', 'argumentsSha256', 'resultSha256', 'rule', 'pattern'),
    ...nullable(z.string(), 'reason', 'credentialId'),
    ...nullable(
      z.int(),
      'upstreamStatus',
      'httpStatus',
      'durationUs',
      'upstreamUs',
      'processorUs',
      'bytesIn',
      'bytesOut',
    ),
    ...nullable(z.boolean(), 'isError'),
  })
  .openapi('AuditEvent');

const counts = z.array(z.object({ value: z.string(), count: z.int() }));
const statsSchema = z
  .object({
    since: z.string(),
    verdict: counts,
    method: counts,
    tool: counts,
    principal: counts,
    connection: counts,
    calls: z.object({
      count: z.int(),
      p50Ms: z.number().nullable(),
      p95Ms: z.number().nullable(),
      p99Ms: z.number().nullable(),
    }),
  })
  .openapi('AuditStats');
