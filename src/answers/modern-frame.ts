/** What results of 2026-07-28 have besides their own members (MCP "Results", "Caching"). */
import { META } from '../mcp/revision.ts';
import type { Namespace } from '../snapshot/snapshot.ts';

/** JSON text to write before and after a result's own members, commas included. */
export interface ModernFrame {
  readonly before: string;
  readonly after: string;
}

/** A connection that was never read may come at any moment. Milliseconds. */
const PENDING_TTL_MS = 1000;
/** Where there is nothing that could change but the configuration. Milliseconds. */
const EMPTY_TTL_MS = 10_000;

/** Private always: what a caller sees is filtered for that caller. */
export function modernFrame(namespace: Namespace, version: string): ModernFrame {
  const meta = JSON.stringify({ [META.serverInfo]: gatewayInfo(version) });
  return {
    before: '"resultType":"complete",',
    after: `,"ttlMs":${ttlMs(namespace)},"cacheScope":"private","_meta":${meta}`,
  };
}

/** The gateway as MCP's `Implementation`. */
export const gatewayInfo = (version: string) => ({ name: 'sallyport', title: 'Sallyport', version });

/** As long as the least durable of what it is made of; where an upstream says nothing, until it is asked again. */
function ttlMs({ connections }: Namespace): number {
  const each = connections.map(({ catalog, refreshMs }) =>
    catalog.protocolVersion === undefined ? PENDING_TTL_MS : Math.min(catalog.ttlMs ?? refreshMs, refreshMs),
  );
  return each.length === 0 ? EMPTY_TTL_MS : Math.min(...each);
}
