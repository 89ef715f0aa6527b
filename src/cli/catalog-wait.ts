/** After a connection was added: until its catalog is there, and where its tools show up. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Session } from './session.ts';
import { readUpFile } from './session.ts';

const POLL_MS = 200;

/** How a connection stands, as the admin API says it. */
export interface ConnectionStatus {
  readonly state: 'pending' | 'ready' | 'unavailable' | 'disabled';
  readonly tools: number;
  readonly prompts: number;
  readonly resources: number;
  readonly templates: number;
  readonly era?: 'legacy' | 'modern';
  readonly transport?: 'http' | 'sse';
  readonly protocolVersion?: string;
  readonly lastError?: string;
  readonly serverName?: string;
  readonly serverVersion?: string;
}

/** How long to look, and whether a failed attempt is reason to look on: the gateway tries again by itself. */
export interface Patience {
  readonly withinMs: number;
  readonly throughFailures: boolean;
}

/** Polls until the catalog is ready, was tried in vain, or time is up; tells each change of state. */
export async function followCatalog(session: Session, name: string, patience: Patience): Promise<ConnectionStatus> {
  const deadline = Date.now() + patience.withinMs;
  const path = `/connections/${encodeURIComponent(name)}/status`;
  let told = '';
  for (;;) {
    const status = await session.rest.get<ConnectionStatus>(path);
    const line = `${name}: ${status.state}${status.lastError ? ` (${status.lastError})` : ''}`;
    if (line !== told && status.state !== 'ready') session.note(line);
    told = line;
    const isSettled = status.state !== 'pending' && !(status.state === 'unavailable' && patience.throughFailures);
    if (isSettled || Date.now() >= deadline) return status;
    await sleep(POLL_MS);
  }
}

export interface NamespaceUrl {
  readonly namespace: string;
  readonly url: string;
}

/** The endpoints that show a connection. */
export async function namespacesOf(session: Session, connection: string): Promise<NamespaceUrl[]> {
  const items = await session.rest.all<{ name: string; connections: readonly string[] }>('/namespaces');
  const { glob } = await import('../policy/glob.ts');
  return items
    .filter(({ connections }) => connections.some((pattern) => glob(pattern).matches(connection)))
    .map(({ name }) => ({ namespace: name, url: endpointUrl(session, name) }));
}

/** The MCP URL of a namespace, as far as this machine knows it. */
export function endpointUrl(session: Session, namespace: string): string {
  const path = namespace === 'default' ? '/mcp' : `/${namespace}/mcp`;
  const mcpUrl = readUpFile(session.options.dataDir)?.mcpUrl;
  return mcpUrl === undefined ? path : mcpUrl.replace(/\/mcp$/, path);
}
