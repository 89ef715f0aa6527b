/** The protocol revisions of the legacy era that the gateway speaks, newest first. */
export const LEGACY_VERSIONS: readonly string[] = ['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05'];

export const LATEST_LEGACY = '2025-11-25';

/** MCP lifecycle, "Version Negotiation": the client's version if it is spoken here, else the newest. */
export function negotiate(requested: string | undefined): string {
  return requested !== undefined && LEGACY_VERSIONS.includes(requested) ? requested : LATEST_LEGACY;
}
