/** The call that a dry run is about: a sample, or one that was recorded. */
import { z } from 'zod';
import type { RecordMode } from '../config/document.ts';
import type { AdminContext } from '../control-plane/context.ts';
import { invalid, notFound, Refusal } from '../control-plane/refusal.ts';
import { allSecretValues } from '../credentials/store.ts';
import { isObject, type Json, jsonText, parseJson } from '../mcp/exact-json.ts';
import type { NamespaceItem, Tenant } from '../snapshot/snapshot.ts';
import { recordedCall } from './store.ts';
import { secretRemover } from './without-secrets.ts';

export interface TriedCall {
  readonly args: Json;
  /** JSON text of the tool's result. */
  readonly result: string;
  readonly namespace: string;
  /** undefined: of a sample that does not say which tool it is of, or one that is gone. */
  readonly item: NamespaceItem | undefined;
  readonly connection: string | undefined;
  /** As its upstream calls it. */
  readonly tool: string | undefined;
  /** Who called; undefined: of a sample, nobody. */
  readonly caller: { readonly subject: string; readonly isOperator: boolean } | undefined;
  readonly notes: readonly string[];
}

/** A sample: JSON texts, so that numbers keep their digits. */
export function sampleCall(
  tenant: Tenant,
  sample: {
    readonly args: string | undefined;
    readonly response: string | undefined;
    readonly tool: string | undefined;
    readonly namespace: string;
  },
): TriedCall {
  if (sample.response === undefined) {
    throw invalid([{ path: 'response', message: 'is required, unless "auditId" names a recorded call' }]);
  }
  const { namespace, tool: wireName } = sample;
  const item = wireName === undefined ? undefined : tenant.namespaces.get(namespace)?.tools.get(wireName);
  if (wireName !== undefined && item === undefined) throw notFound('tool', wireName);
  return {
    args: sample.args === undefined ? {} : parseJson(sample.args),
    result: asResult(sample.response),
    namespace,
    item,
    connection: item?.connection.name,
    tool: item?.item.name,
    caller: undefined,
    notes: [],
  };
}

/** A whole result of a tool as it is; anything else is what such a result would hold. */
function asResult(text: string): string {
  const value = parseJson(text);
  if (isObject(value) && (Array.isArray(value.content) || isObject(value.structuredContent))) return text;
  const content = `"content":[${jsonText({ type: 'text', text })}]`;
  return isObject(value) ? `{${content},"structuredContent":${text}}` : `{${content}}`;
}

/** A call of the audit, without the tenant's secrets. Throws 404 and 409. */
export async function recordedCallOf(context: AdminContext, tenant: Tenant, id: string): Promise<TriedCall> {
  const { database, vault } = context;
  const event = z.uuid().safeParse(id).success ? await recordedCall(database.kysely, tenant.id, id) : undefined;
  if (event === undefined) throw notFound('audit event', id);
  if (event.method !== 'tools/call') throw cannot('The event is not the call of a tool: choose a tools/call.');
  if (event.result === null) throw cannot(howToRecord(event.result_sha256 !== null));
  const result = parseJson(event.result);
  if (!isObject(result) || (result.content === undefined && result.structuredContent === undefined)) {
    const isCut = isObject(result) && typeof result.truncated === 'string';
    throw cannot(
      isCut
        ? 'Its result was too large to be recorded: choose another call.'
        : 'It ended with an error: there is nothing to enrich.',
    );
  }
  const clean = secretRemover(await allSecretValues(database.kysely, vault, tenant.id));
  const namespace = event.namespace ?? 'default';
  const notes = [
    ...(event.arguments === null ? ['The arguments were not recorded; an empty object stands for them.'] : []),
    ...(/\[(REDACTED|TRUNCATED: \d+ bytes)\]/.test(`${event.arguments} ${event.result}`)
      ? ['Some recorded values are masked or cut: rules see the mask in their place.']
      : []),
  ];
  return {
    args: event.arguments === null ? {} : clean(parseJson(event.arguments)),
    result: jsonText(clean(result)),
    namespace,
    item: tenant.namespaces.get(namespace)?.tools.get(event.tool ?? ''),
    connection: event.connection ?? undefined,
    tool: event.upstream_tool ?? undefined,
    caller: { subject: event.subject ?? '', isOperator: event.auth_method === 'operator' },
    notes,
  };
}

const cannot = (detail: string): Refusal => new Refusal(409, 'Nothing to try the rule on', detail);

function howToRecord(hasDigest: boolean): string {
  const modes: readonly RecordMode[] = ['redacted', 'full'];
  return `The result of this call was not recorded${hasDigest ? ', only its digest' : ''}. Set audit.record.results to ${modes.join(' or ')}, call the tool again, and use that call; or send a sample as "response".`;
}
