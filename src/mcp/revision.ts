/** The protocol's two families and their revisions (MCP 2026-07-28, "Versioning"). */

/** legacy: with `initialize`, up to 2025-11-25. modern: each request describes itself, from 2026-07-28 on. */
export type Era = 'legacy' | 'modern';

/** Newest first. */
export const LEGACY_VERSIONS: readonly string[] = ['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05'];
export const LATEST_LEGACY = '2025-11-25';

/** Newest first. */
export const MODERN_VERSIONS: readonly string[] = ['2026-07-28'];
export const LATEST_MODERN = '2026-07-28';

/** Members of `_meta` by which modern messages describe themselves. */
export const META = {
  protocolVersion: 'io.modelcontextprotocol/protocolVersion',
  clientCapabilities: 'io.modelcontextprotocol/clientCapabilities',
  clientInfo: 'io.modelcontextprotocol/clientInfo',
  serverInfo: 'io.modelcontextprotocol/serverInfo',
  logLevel: 'io.modelcontextprotocol/logLevel',
  subscriptionId: 'io.modelcontextprotocol/subscriptionId',
  relatedTask: 'io.modelcontextprotocol/related-task',
} as const;

/** MCP lifecycle, "Version Negotiation": the client's version if it is spoken here, else the newest legacy one. */
export function negotiate(requested: string | undefined): string {
  return requested !== undefined && LEGACY_VERSIONS.includes(requested) ? requested : LATEST_LEGACY;
}
