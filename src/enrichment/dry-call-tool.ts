/** Tools as the source of a rule that is tried: called through the front door as the chosen caller, and only if harmless. */
import type { AdminContext } from '../control-plane/context.ts';
import { callTool } from '../control-plane/mcp-call.ts';
import { Refusal } from '../control-plane/refusal.ts';
import { mintInternalToken } from '../identity/internal-token.ts';
import { jsonText } from '../mcp/exact-json.ts';
import { parseResponse } from '../mcp/response.ts';
import { decide, ruleText } from '../policy/decide.ts';
import type { Persona, Tenant } from '../snapshot/snapshot.ts';
import { answerOf } from '../sources/mcp/answer.ts';
import { mayWrite } from '../sources/mcp/template.ts';
import { SourceError } from '../sources/source.ts';
import type { CallTool } from '../sources/sources.ts';
import { within } from '../sources/within.ts';
import type { SeenPrincipal } from './root.ts';

/** Who the rules see as the caller. */
export interface Caller {
  readonly persona: Persona | undefined;
  readonly principal: SeenPrincipal;
}

export function dryCallTool(context: AdminContext, tenant: Tenant, caller: Caller): CallTool {
  const { subject, roles, method, namespace } = caller.principal;
  return async (wireName, args, { signal }) => {
    const tool = tenant.namespaces.get(namespace)?.tools.get(wireName);
    if (tool === undefined)
      throw new SourceError('refused', `no such tool in the namespace "${namespace}": ${wireName}`);
    const decision = decide(caller.persona, tool.wireName, tool.connection.name);
    if (!decision.allowed) throw new SourceError('refused', `${subject} may not call it: ${ruleText(decision)}`);
    if (mayWrite(tool.item))
      throw new SourceError('not sent', 'a dry run calls no tool without readOnlyHint: it may write');
    // Their failures would count, and what they say would be remembered.
    if (tenant.rules.forTool(tool.connection.name, tool.item.name).length > 0) {
      throw new SourceError('not sent', 'a dry run calls no tool that rules enrich in turn');
    }
    const bearer = mintInternalToken(context.vault, {
      tenant: tenant.id,
      subject,
      roles,
      operator: method === 'operator',
    });
    try {
      const door = { url: context.gateway.mcpUrl(), bearer, namespace };
      const text = await within(signal, callTool(door, wireName, jsonText(args)));
      const response = parseResponse(Buffer.from(text));
      if (response === undefined) throw new SourceError('bad answer', `the tool ${wireName} gave no MCP answer`);
      return answerOf(wireName, response);
    } catch (error) {
      if (error instanceof Refusal) throw new SourceError('unavailable', error.message);
      throw error;
    }
  };
}
