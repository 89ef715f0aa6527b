/**
 * The `Mcp-Session-Id` of a session with an HTTP+SSE upstream: which relay holds its stream, and which stream. Sealed to
 * the connection, so that it opens nothing elsewhere.
 */
import type { Vault } from '../../credentials/vault.ts';

export interface SseAddress {
  readonly relayId: string;
  readonly sessionId: string;
}

interface Whose {
  readonly tenant: string;
  readonly name: string;
}

const context = ({ tenant, name }: Whose): string => `sse-upstream ${JSON.stringify([tenant, name])}`;

export function sealAddress(vault: Vault, whose: Whose, { relayId, sessionId }: SseAddress): string {
  return vault.sealToken(Buffer.from(JSON.stringify([relayId, sessionId])), context(whose));
}

/** undefined: not made here, or for another connection. */
export function openAddress(vault: Vault, whose: Whose, value: string): SseAddress | undefined {
  const plain = vault.openToken(value, context(whose));
  if (plain === undefined) return undefined;
  const [relayId, sessionId] = JSON.parse(plain.toString('utf8')) as [string, string];
  return { relayId, sessionId };
}
