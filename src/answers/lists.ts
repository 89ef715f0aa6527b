/** The four lists: one page of the caller's view. The bytes exist already; only the id and what frames them are new. */
import type { Vault } from '../credentials/vault.ts';
import type { World } from '../data-plane/world.ts';
import { answerJson, type Exchange, refuse, type StepResult } from '../exchange/exchange.ts';
import { problems } from '../exchange/problem.ts';
import { idText } from '../mcp/envelope.ts';
import type { Era } from '../mcp/revision.ts';
import { OPERATOR } from '../policy/decide.ts';
import type { ItemKind, Namespace, Persona, Snapshot } from '../snapshot/snapshot.ts';
import { viewOf } from '../snapshot/view.ts';
import { type ModernFrame, modernFrame } from './modern-frame.ts';

const CONTEXT = 'list-cursor';
/** Characters. */
const MAX_EDGE_ID = 256;

/** What making a page needs: little, so that whichever worker an edge request reaches can make it too. */
export interface ListWorld {
  readonly vault: Vault;
  readonly version: string;
}

interface Page {
  readonly namespace: Namespace;
  readonly persona: Persona | undefined;
  readonly kind: ItemKind;
  readonly era: Era;
  readonly number: number;
  /** The request id as its sender wrote it. */
  readonly id: string;
}

export function list(exchange: Exchange, kind: ItemKind, world: World): StepResult {
  const { namespace, persona, envelope } = exchange;
  if (namespace === undefined || envelope === undefined) throw new Error('a list before its endpoint is known');
  const era = exchange.client?.era ?? 'legacy';
  const page = { namespace, persona, kind, era, id: idText(envelope) };
  const number = envelope.cursor === undefined ? 0 : openCursor(world.vault, envelope.cursor, page);
  const body = number === undefined ? undefined : pageBody({ ...page, number }, world);
  if (number === undefined || body === undefined) {
    return refuse(problems.badParams('the cursor is not of this list as it is now; list again from the beginning'));
  }
  const answer = answerJson(body);
  // The key travels in a header: what does not fit there is answered directly, however big.
  if (page.id.length > MAX_EDGE_ID) return answer;
  const key: EdgeKey = [namespace.tenant, namespace.name, persona?.name ?? null, kind, era, number, page.id];
  return { ...answer, edge: Buffer.from(JSON.stringify(key)).toString('base64url') };
}

/** The same page, made by whichever worker the edge request reached. undefined: no longer there. */
export function listByKey(key: string, snapshot: Snapshot, world: ListWorld): readonly Buffer[] | undefined {
  const [tenantId, namespaceName, personaName, kind, era, number, id] = JSON.parse(
    Buffer.from(key, 'base64url').toString('utf8'),
  ) as EdgeKey;
  const tenant = snapshot.tenants.get(tenantId);
  const namespace = tenant?.namespaces.get(namespaceName);
  if (tenant === undefined || namespace === undefined) return undefined;
  // A persona that was removed a moment ago sees nothing, as everybody without a persona.
  const persona = [OPERATOR, ...tenant.personas].find((one) => one.name === personaName);
  return pageBody({ namespace, persona, kind, era, number, id }, world);
}

type EdgeKey = readonly [
  tenant: string,
  namespace: string,
  persona: string | null,
  kind: ItemKind,
  era: Era,
  page: number,
  id: string,
];

/** undefined: the view has no such page. */
function pageBody(page: Page, world: ListWorld): readonly Buffer[] | undefined {
  const { namespace, persona, kind, era, number, id } = page;
  const { pages } = viewOf(namespace, persona, kind);
  const items = pages[number];
  if (items === undefined) return undefined;
  const { before, after }: ModernFrame = era === 'modern' ? modernFrame(namespace, world.version) : NO_FRAME;
  const more = number + 1 < pages.length ? `,"nextCursor":"${sealCursor(world.vault, number + 1, page)}"` : '';
  return [Buffer.from(`{"jsonrpc":"2.0","id":${id},"result":{${before}`), items, Buffer.from(`${more}${after}}}`)];
}

const NO_FRAME: ModernFrame = { before: '', after: '' };

type Listed = Pick<Page, 'namespace' | 'persona' | 'kind'>;

const sealCursor = (vault: Vault, number: number, listed: Listed): string =>
  vault.sealToken(Buffer.from(`${number} ${viewText(listed)}`), CONTEXT);

/** undefined: not one of ours, or of another list, or of this one as it no longer is. */
function openCursor(vault: Vault, cursor: string, listed: Listed): number | undefined {
  const plain = vault.openToken(cursor, CONTEXT)?.toString('utf8');
  if (plain === undefined) return undefined;
  const space = plain.indexOf(' ');
  return plain.slice(space + 1) === viewText(listed) ? Number(plain.slice(0, space)) : undefined;
}

/** The list that a cursor goes on with. Page numbers of a view that has changed would skip or repeat. */
const viewText = ({ namespace, persona, kind }: Listed): string =>
  `${namespace.tenant} ${namespace.name} ${kind} ${viewOf(namespace, persona, kind).digest}`;
