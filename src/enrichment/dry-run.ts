/**
 * Tries a rule, stored or a draft, on a sample or a recorded call: the data plane's own engine, with nothing counted,
 * remembered, or sent that may write.
 */
import type { RuleConfig } from '../config/document.ts';
import { inOrder } from '../config/running-order.ts';
import type { AdminContext } from '../control-plane/context.ts';
import { invalid, notFound } from '../control-plane/refusal.ts';
import { newestRevision } from '../control-plane/store.ts';
import { compileWorld } from '../control-plane/world.ts';
import { secretsOf } from '../credentials/store.ts';
import type { Principal } from '../exchange/exchange.ts';
import { findKey } from '../identity/store.ts';
import type { JsonObject } from '../mcp/exact-json.ts';
import { parseResponse } from '../mcp/response.ts';
import { decide, OPERATOR, personaOf, ruleText } from '../policy/decide.ts';
import { glob } from '../policy/glob.ts';
import type { SourceRevision, TenantRevision } from '../snapshot/revision.ts';
import type { Tenant } from '../snapshot/snapshot.ts';
import { definitionOf } from '../sources/definition.ts';
import { openSource } from '../sources/kinds.ts';
import { createSources } from '../sources/pool.ts';
import type { SourceDefinition } from '../sources/source.ts';
import { findRow } from '../storage/named-rows.ts';
import { compileRule, type WrittenRule } from './compile.ts';
import { type Caller, dryCallTool } from './dry-call-tool.ts';
import { enrich } from './engine.ts';
import { jsonDiff } from './pretty-diff.ts';
import { seenTool } from './root.ts';
import type { CompiledRule, RuleOutcome } from './rule.ts';
import { readTrips } from './store.ts';
import { recordedCallOf, sampleCall, type TriedCall } from './tried-call.ts';

/** Of the whole dry run, milliseconds. */
const LIMIT_MS = 10_000;

/** Who the call is tried as: a key by its name, or anybody. */
export type TriedPrincipal = string | { readonly subject: string; readonly roles: readonly string[] };

export interface DryRun {
  /** The name of a stored rule, or a draft. */
  readonly rule: string | { readonly name: string; readonly config: RuleConfig };
  /** JSON texts of a sample. */
  readonly args: string | undefined;
  readonly response: string | undefined;
  readonly tool: string | undefined;
  readonly namespace: string;
  readonly auditId: string | undefined;
  readonly principal: TriedPrincipal | undefined;
  /** Run the other rules that fit the call too, each in its turn. */
  readonly withOthers: boolean;
}

export interface DryRunAnswer {
  /** JSON texts of the tool's result. */
  readonly before: string;
  readonly after: string;
  /** Unified, of both with a member a line. */
  readonly diff: string;
  readonly trace: readonly RuleOutcome[];
  readonly warnings: readonly string[];
}

export async function dryRun(context: AdminContext, asked: DryRun): Promise<DryRunAnswer> {
  const { tenant } = await compileWorld(context);
  const revision = (await newestRevision(context.database.kysely))?.document.tenants.find(({ id }) => id === tenant.id);
  if (revision === undefined) throw new Error('the newest revision went away');
  const call = await callOf(context, tenant, asked);
  const who = await callerOf(context, tenant, asked.principal, call);
  const { rule, notes } = await ruleOf(context, revision, asked);
  const rules = [rule, ...(asked.withOthers ? othersOf(tenant, rule, call) : [])].sort(inOrder);
  const warnings = [...call.notes, ...notes, ...mayNotCall(who, call)];

  const message = Buffer.from(`{"jsonrpc":"2.0","id":1,"result":${call.result}}`);
  const parsed = parseResponse(message);
  if (parsed?.outcome === undefined) throw invalid([{ path: 'response', message: 'is not the result of a tool' }]);
  const unfit = misfit(rule, call) ?? (parsed.isError ? 'results with isError are not enriched' : undefined);
  if (unfit !== undefined) {
    const skipped = { rule: rule.name, version: rule.version, outcome: 'skipped', reason: unfit, ms: 0 } as const;
    return { before: call.result, after: call.result, diff: '', trace: [skipped], warnings };
  }
  const signal = AbortSignal.timeout(LIMIT_MS);
  const sources = createSources({ open: openSource, log: context.log });
  try {
    const enriched = await enrich(
      {
        bytes: message,
        result: parsed.outcome,
        rules,
        args: call.args,
        principal: who.principal,
        tool: toolOf(call, rule),
        sessionId: undefined,
      },
      {
        sources,
        definitions: await definitionsOf(context, tenant.id, revision.sources ?? []),
        callTool: dryCallTool(context, tenant, who),
        budgets: undefined,
        told: undefined,
        isDryRun: true,
      },
      signal,
    );
    const after = resultText(enriched.bytes);
    const diff = jsonDiff(call.result, after);
    warnings.push(...enriched.warnings);
    if (diff === undefined) warnings.push('The results differ in too much to show it as a diff.');
    return { before: call.result, after, diff: diff ?? '', trace: enriched.outcomes, warnings };
  } finally {
    await sources.close();
  }
}

function callOf(context: AdminContext, tenant: Tenant, asked: DryRun): Promise<TriedCall> | TriedCall {
  if (asked.auditId === undefined) return sampleCall(tenant, asked);
  const both = (['args', 'response', 'tool'] as const).filter((key) => asked[key] !== undefined);
  if (both.length === 0) return recordedCallOf(context, tenant, asked.auditId);
  throw invalid(
    both.map((path) => ({ path, message: 'has no place beside "auditId": the recorded call has its own' })),
  );
}

async function ruleOf(
  { database }: AdminContext,
  revision: TenantRevision,
  { rule }: DryRun,
): Promise<{ readonly rule: CompiledRule; readonly notes: readonly string[] }> {
  const tenant = revision.id;
  const notes: string[] = [];
  let written: WrittenRule;
  if (typeof rule === 'string') {
    const row = await findRow(database.kysely, 'rules', tenant, rule);
    if (row === undefined) throw notFound('rule', rule);
    const trip = (await readTrips(database.kysely, tenant)).get(row.id);
    if (!row.config.enabled) notes.push('The rule is disabled: calls are not enriched by it now.');
    if (trip !== undefined) notes.push(`The rule is off, because it failed too often: ${trip.reason}`);
    written = { id: row.id, name: row.name, version: row.version, tenant, config: row.config };
  } else written = { id: 'draft', name: rule.name, version: 0, tenant, config: rule.config };
  const types = new Map((revision.sources ?? []).map(({ name, config }) => [name, config.type]));
  const compiled = compileRule(written, types);
  if (!('faults' in compiled)) return { rule: compiled, notes };
  throw invalid(compiled.faults.map(({ path, message }) => ({ path: `rule.${path}`, message })));
}

/** Rules that run in the same call; the one that is tried stands for the stored one of its name. */
function othersOf(tenant: Tenant, rule: CompiledRule, { connection, tool }: TriedCall): readonly CompiledRule[] {
  if (connection === undefined || tool === undefined) {
    throw invalid([{ path: 'tool', message: 'is required with "withOthers": which rules run depends on it' }]);
  }
  return tenant.rules.forTool(connection, tool).filter(({ name }) => name !== rule.name);
}

/** Why the rule does not run in such a call at all. */
function misfit({ config }: CompiledRule, { connection, tool }: TriedCall): string | undefined {
  if (connection === undefined || tool === undefined) return undefined;
  if (glob(config.connection).matches(connection) && glob(config.tool).matches(tool)) return undefined;
  return `it is for the tools "${config.tool}" of "${config.connection}", and this is "${tool}" of "${connection}"`;
}

/** Without a principal: who made the recorded call, or the operator. */
async function callerOf(
  { database }: AdminContext,
  tenant: Tenant,
  asked: TriedPrincipal | undefined,
  { caller: recorded, namespace }: TriedCall,
): Promise<Caller> {
  if (typeof asked === 'object') return caller(tenant, namespace, 'internal', asked);
  if (asked === undefined && (recorded?.isOperator ?? true)) {
    return caller(tenant, namespace, 'operator', { subject: 'admin', roles: [] });
  }
  const subject = asked ?? recorded?.subject ?? '';
  const key = await findKey(database.kysely, tenant.id, subject);
  if (key === undefined && asked !== undefined) throw notFound('key', asked);
  return caller(tenant, namespace, 'api_key', { subject, roles: key?.roles ?? [] });
}

function caller(
  tenant: Tenant,
  namespace: string,
  method: Principal['method'],
  who: Exclude<TriedPrincipal, string>,
): Caller {
  const persona = method === 'operator' ? OPERATOR : personaOf(tenant, who.subject, who.roles);
  return {
    persona,
    principal: { ...who, tenant: tenant.id, method, persona: persona?.name ?? '', client: 'dry run', namespace },
  };
}

function mayNotCall({ persona, principal }: Caller, { item }: TriedCall): string[] {
  if (item === undefined) return [];
  const decision = decide(persona, item.wireName, item.connection.name);
  return decision.allowed ? [] : [`${principal.subject} may not call ${item.wireName} at all: ${ruleText(decision)}`];
}

/** Of a sample that names no tool, what the rule itself says stands for it. */
function toolOf({ item, connection, tool }: TriedCall, { config }: CompiledRule): JsonObject {
  const name = tool ?? config.tool;
  return seenTool({
    name,
    wireName: item?.wireName ?? name,
    connection: connection ?? config.connection,
    item: item?.item,
  });
}

async function definitionsOf(
  { database, vault }: AdminContext,
  tenant: string,
  sources: readonly SourceRevision[],
): Promise<ReadonlyMap<string, SourceDefinition>> {
  const definitions = new Map<string, SourceDefinition>();
  for (const source of sources) {
    const secrets = await secretsOf(database.kysely, vault, source.credentialId);
    definitions.set(source.name, definitionOf(tenant, source, secrets));
  }
  return definitions;
}

function resultText(message: Buffer): string {
  const outcome = parseResponse(message)?.outcome;
  if (outcome === undefined) throw new Error('the enriched message is no response');
  return message.toString('utf8', outcome.start, outcome.end);
}
