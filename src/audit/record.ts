/** What is kept of one exchange, and what is masked. Everything here happens before the row is queued. */
import { hash, randomUUID } from 'node:crypto';
import type { AuditConfig, RecordMode } from '../config/document.ts';
import type { RuleOutcome } from '../enrichment/rule.ts';
import type { Exchange } from '../exchange/exchange.ts';
import type { Verdict } from '../exchange/problem.ts';
import { ruleText } from '../policy/decide.ts';
import { maskJson } from './mask.ts';

/** One row of audit_events; column names as in the table, times in ISO 8601. */
export interface AuditRow {
  readonly id: string;
  readonly at: string;
  readonly tenant_id: string;
  readonly namespace: string | null;
  readonly request_id: string | null;
  readonly trace_id: string | null;
  readonly session_id: string | null;
  readonly subject: string | null;
  readonly auth_method: string | null;
  readonly client_name: string | null;
  readonly persona: string | null;
  readonly method: string | null;
  readonly connection: string | null;
  readonly connection_kind: string | null;
  readonly tool: string | null;
  readonly upstream_tool: string | null;
  readonly definition_digest: string | null;
  /** JSON text, as are the next three. */
  readonly arguments: string | null;
  readonly arguments_sha256: string | null;
  readonly result: string | null;
  readonly result_sha256: string | null;
  readonly verdict: Verdict;
  readonly rule: string | null;
  readonly pattern: string | null;
  readonly reason: string | null;
  readonly findings: string | null;
  readonly enrichment: string | null;
  readonly credential_id: string | null;
  readonly upstream_status: number | null;
  readonly is_error: boolean | null;
  readonly http_status: number | null;
  readonly duration_us: number | null;
  readonly upstream_us: number | null;
  readonly processor_us: number | null;
  readonly bytes_in: number | null;
  readonly bytes_out: number | null;
}

/** What only the conversation knows: how it ended and how long each part took (microseconds). */
export interface Outcome {
  readonly verdict: Verdict;
  readonly reason: string | undefined;
  readonly upstreamStatus: number | undefined;
  readonly isError: boolean | undefined;
  readonly httpStatus: number | undefined;
  readonly durationUs: number;
  readonly upstreamUs: number | undefined;
  readonly processorUs: number;
  readonly bytesOut: number | undefined;
  /** The `result` or `error` value of the upstream's answer, where it was seen whole. */
  readonly result: Buffer | undefined;
  /** What became of the rules that fit the call. */
  readonly enrichment: readonly RuleOutcome[] | undefined;
  /** Of the span, where calls are traced; else the caller's own is taken. */
  readonly traceId?: string | undefined;
}

export function auditRow(exchange: Exchange, outcome: Outcome): AuditRow {
  const { envelope, target, session, client, principal, decision, connection } = exchange;
  const argumentBytes =
    envelope?.arguments === undefined
      ? undefined
      : envelope.bytes.subarray(envelope.arguments.start, envelope.arguments.end);
  const isCall = envelope?.method === 'tools/call';
  const { audit } = exchange.snapshot.settings;
  return {
    id: randomUUID(),
    at: new Date(exchange.at).toISOString(),
    tenant_id: exchange.tenant?.id ?? 'default',
    namespace: exchange.namespace?.name ?? null,
    request_id: exchange.requestId,
    trace_id: outcome.traceId ?? traceId(exchange.head.header('traceparent')),
    session_id: session?.id ?? null,
    subject: principal?.subject ?? null,
    auth_method: principal?.method ?? null,
    client_name: client?.clientName ?? session?.clientName ?? null,
    persona: exchange.persona?.name ?? null,
    method: (envelope === undefined ? `HTTP ${exchange.head.method}` : envelope.method || 'response').slice(0, 200),
    connection: connection?.name ?? null,
    connection_kind: connection === undefined ? null : 'mcp',
    // The name that was asked for, also where there is no such tool.
    tool: target?.wireName.slice(0, 500) ?? (isCall ? (envelope.name?.slice(0, 200) ?? null) : null),
    upstream_tool: target?.upstreamName.slice(0, 500) ?? null,
    definition_digest: target?.item?.digest ?? null,
    arguments: isCall ? recorded(argumentBytes, audit.record.arguments, audit) : null,
    arguments_sha256: isCall ? digestOf(argumentBytes, audit.record.arguments) : null,
    result: recorded(outcome.result, audit.record.results, audit),
    result_sha256: digestOf(outcome.result, audit.record.results),
    verdict: outcome.verdict,
    rule: decision === undefined ? (exchange.problem?.code ?? null) : ruleText(decision),
    pattern: decision?.pattern ?? null,
    reason: outcome.reason ?? null,
    findings: null,
    enrichment: outcome.enrichment?.length ? JSON.stringify(outcome.enrichment) : null,
    credential_id: exchange.upstream === undefined ? null : (connection?.injection.credentialId ?? null),
    upstream_status: outcome.upstreamStatus ?? null,
    is_error: outcome.isError ?? null,
    http_status: outcome.httpStatus ?? null,
    duration_us: counted(outcome.durationUs),
    upstream_us: counted(outcome.upstreamUs ?? null),
    processor_us: outcome.processorUs,
    bytes_in: exchange.body?.length ?? 0,
    bytes_out: counted(outcome.bytesOut ?? null),
  };
}

/** What the column can hold: a stream may last for days, and one row that Postgres refuses holds up all behind it. */
const MAX_INTEGER = 2 ** 31 - 1;
const counted = <T extends number | null>(count: T): T | number =>
  count === null ? count : Math.min(count, MAX_INTEGER);

function recorded(bytes: Buffer | undefined, mode: RecordMode, audit: AuditConfig): string | null {
  if (bytes === undefined || mode === 'none' || mode === 'digest') return null;
  return maskJson(bytes, mode === 'full' ? [] : audit.redactKeys, mode === 'redacted', audit.maxValueBytes);
}

function digestOf(bytes: Buffer | undefined, mode: RecordMode): string | null {
  return bytes === undefined || mode === 'none' ? null : hash('sha256', bytes, 'hex');
}

/** W3C Trace Context: version-traceid-parentid-flags. */
function traceId(traceparent: string | undefined): string | null {
  return /^[0-9a-f]{2}-([0-9a-f]{32})-/.exec(traceparent ?? '')?.[1] ?? null;
}
