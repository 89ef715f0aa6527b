/**
 * Which relay holds something, and what: sealed into what its owner sends with every request about it, so that any relay
 * can pass that on, and in anybody else's hands it is as good as any other text.
 */
import type { Vault } from '../credentials/vault.ts';

export interface Address {
  readonly relayId: string;
  readonly id: string;
}

/** `context`: what kind of thing it is, and all that makes its owner. */
export function sealAddress(vault: Vault, context: readonly string[], { relayId, id }: Address): string {
  return vault.sealToken(Buffer.from(JSON.stringify([relayId, id])), JSON.stringify(context));
}

/** undefined: not made here, or not for this owner. */
export function openAddress(vault: Vault, context: readonly string[], value: string): Address | undefined {
  const plain = vault.openToken(value, JSON.stringify(context));
  if (plain === undefined) return undefined;
  const [relayId, id] = JSON.parse(plain.toString('utf8')) as [string, string];
  return { relayId, id };
}
