/** One look at everything that an upstream offers. */
import { type Egress, EgressError } from '../egress/egress.ts';
import { LISTS, type Listed, type ListedItem, listItems } from '../egress/lists.ts';
import { UpstreamError } from '../egress/upstream-client.ts';
import { paramHeaders } from '../mcp/param-headers.ts';
import type { Connection, ItemKind } from '../snapshot/snapshot.ts';
import type { Introduction } from './introduction.ts';

export const KINDS: readonly ItemKind[] = ['tools', 'prompts', 'resources', 'templates'];

export interface CatalogResult extends Introduction {
  /** undefined: that list could not be read, though others could. */
  readonly lists: Readonly<Record<ItemKind, readonly ListedItem[] | undefined>>;
  /** Why lists are missing, as one sentence. */
  readonly fault: string | undefined;
  /** Tools that must not be offered, each with the reason. */
  readonly excluded: readonly string[];
}

/**
 * All lists that the server has, at once. One that fails leaves the others; throws EgressError or UpstreamError if none
 * can be read. `last`: the session has been used before, with this fault: a new HTTP error may mean that it is gone.
 */
export async function readCatalog(
  connection: Connection,
  egress: Egress,
  server: Introduction,
  signal: AbortSignal,
  last: { readonly fault: string | undefined } | undefined,
): Promise<CatalogResult> {
  const offered = KINDS.filter((kind) => server.capabilities[LISTS[kind].capability] !== undefined);
  const settled = await Promise.allSettled(offered.map((kind) => listItems(egress, connection, server, kind, signal)));
  const read = new Map<ItemKind, Listed>();
  const faults: (EgressError | UpstreamError)[] = [];
  for (const [i, outcome] of settled.entries()) {
    if (outcome.status === 'fulfilled') read.set(offered[i] as ItemKind, outcome.value);
    else if (outcome.reason instanceof EgressError || outcome.reason instanceof UpstreamError)
      faults.push(outcome.reason);
    else throw outcome.reason;
  }
  const [fault] = faults;
  const isSessionLost =
    last !== undefined &&
    faults.some((one) => one instanceof UpstreamError && one.status >= 400 && one.message !== last.fault);
  if (fault !== undefined && (read.size === 0 || isSessionLost)) throw fault;

  const excluded: string[] = [];
  const listOf = (kind: ItemKind) => (offered.includes(kind) ? read.get(kind)?.items : []);
  const tools = listOf('tools');
  const ttls = [server.ttlMs, ...[...read.values()].map(({ ttlMs }) => ttlMs)].filter((ttl) => ttl !== undefined);
  return {
    ...server,
    ttlMs: server.era === 'modern' && ttls.length > 0 ? Math.min(...ttls) : undefined,
    lists: {
      tools: server.era === 'modern' && tools !== undefined ? callable(tools, excluded) : tools,
      prompts: listOf('prompts'),
      resources: listOf('resources'),
      templates: listOf('templates'),
    },
    fault: fault?.message,
    excluded,
  };
}

/** Tools whose header annotations break the rules must not be offered (MCP 2026-07-28, "Schema Extension"). */
function callable(tools: readonly ListedItem[], excluded: string[]): ListedItem[] {
  return tools.filter(({ name, definition }) => {
    const headers = paramHeaders(definition);
    if ('params' in headers) return true;
    excluded.push(`${name}: ${headers.fault}`);
    return false;
  });
}
