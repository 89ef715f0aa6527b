/** `tools/list`: one page of the caller's view. The bytes exist already; only the id and the cursor are new. */
import type { Vault } from '../credentials/vault.ts';
import type { World } from '../data-plane/world.ts';
import { type Answer, answerJson, type Exchange, refuse, type StepResult } from '../exchange/exchange.ts';
import { problems } from '../exchange/problem.ts';
import { idText } from '../mcp/envelope.ts';
import { OPERATOR } from '../policy/decide.ts';
import type { Snapshot } from '../snapshot/snapshot.ts';
import { type View, viewOf } from '../snapshot/view.ts';

const CONTEXT = 'tools-cursor';
/** Characters. */
const MAX_EDGE_ID = 256;

export function listTools(exchange: Exchange, world: World): StepResult {
  const { namespace, persona, envelope } = exchange;
  if (namespace === undefined || envelope === undefined) throw new Error('tools/list before its endpoint is known');
  const view = viewOf(namespace, persona, 'tools');
  const page = envelope.cursor === undefined ? 0 : openCursor(world.vault, envelope.cursor, namespace.name);
  if (page === undefined || page >= view.pages.length) {
    return refuse(problems.badParams('the cursor is not valid; list again from the beginning'));
  }
  const id = idText(envelope);
  const answer = answerJson(pageBody(view, page, id, world.vault, namespace.name));
  // The key travels in a header: what does not fit there is answered directly, however big.
  if (id.length > MAX_EDGE_ID) return answer;
  return { ...answer, edge: edgeKey([namespace.tenant, namespace.name, persona?.name ?? null, page, id]) };
}

/** The same page, made by whichever worker the edge request reached. undefined: no longer there. */
export function listToolsByKey(key: string, snapshot: Snapshot, vault: Vault): readonly Buffer[] | undefined {
  const [tenantId, namespaceName, personaName, page, id] = JSON.parse(
    Buffer.from(key, 'base64url').toString('utf8'),
  ) as EdgeKey;
  const tenant = snapshot.tenants.get(tenantId);
  const namespace = tenant?.namespaces.get(namespaceName);
  if (tenant === undefined || namespace === undefined) return undefined;
  const persona = [OPERATOR, ...tenant.personas].find((one) => one.name === personaName);
  // A persona that was removed a moment ago sees nothing, as everybody without a persona.
  const view = viewOf(namespace, persona, 'tools');
  return page < view.pages.length ? pageBody(view, page, id, vault, namespace.name) : undefined;
}

type EdgeKey = readonly [tenant: string, namespace: string, persona: string | null, page: number, id: string];

const edgeKey = (key: EdgeKey): string => Buffer.from(JSON.stringify(key)).toString('base64url');

function pageBody(view: View, page: number, id: string, vault: Vault, namespace: string): Answer['body'] {
  const more = page + 1 < view.pages.length ? `,"nextCursor":"${sealCursor(vault, page + 1, namespace)}"` : '';
  return [Buffer.from(`{"jsonrpc":"2.0","id":${id},"result":{`), view.pages[page] as Buffer, Buffer.from(`${more}}}`)];
}

const sealCursor = (vault: Vault, page: number, namespace: string): string =>
  vault.sealToken(Buffer.from(`${page} ${namespace}`), CONTEXT);

/** undefined: not one of ours, or of another namespace. */
function openCursor(vault: Vault, cursor: string, namespace: string): number | undefined {
  const plain = vault.openToken(cursor, CONTEXT)?.toString('utf8');
  if (plain === undefined) return undefined;
  const space = plain.indexOf(' ');
  return plain.slice(space + 1) === namespace ? Number(plain.slice(0, space)) : undefined;
}
