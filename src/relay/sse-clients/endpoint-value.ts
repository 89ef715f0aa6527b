/**
 * The value in the URL that an HTTP+SSE client sends its messages to: which relay holds its stream, and which stream.
 * Sealed to principal and namespace, so that for anybody else it is as good as any other text.
 */
import type { Vault } from '../../credentials/vault.ts';
import type { Arrival } from './arrival.ts';

export interface StreamAddress {
  readonly relayId: string;
  readonly streamId: string;
}

type Whose = Pick<Arrival, 'tenant' | 'namespace' | 'principal'>;

const context = ({ tenant, namespace, principal }: Whose): string =>
  `sse-stream ${JSON.stringify([tenant, namespace, principal.binding])}`;

export function sealAddress(vault: Vault, whose: Whose, { relayId, streamId }: StreamAddress): string {
  return vault.sealToken(Buffer.from(JSON.stringify([relayId, streamId])), context(whose));
}

/** undefined: not made here, or not for this caller. */
export function openAddress(vault: Vault, whose: Whose, url: string): StreamAddress | undefined {
  const value = new URLSearchParams(url.split('?', 2)[1] ?? '').get('session');
  const plain = value === null ? undefined : vault.openToken(value, context(whose));
  if (plain === undefined) return undefined;
  const [relayId, streamId] = JSON.parse(plain.toString('utf8')) as [string, string];
  return { relayId, streamId };
}
