/**
 * What a modern client carries from a question to its answer (`requestState`): which relay holds the call, sealed together
 * with for whom, for which request and until when (MCP 2026-07-28, "Multi Round-Trip Requests", server requirements).
 */
import { createHash } from 'node:crypto';
import type { Vault } from '../../credentials/vault.ts';
import type { Exchange } from '../../exchange/exchange.ts';

/** How long a call waits for input. Milliseconds. */
export const WAIT_MS = 600_000;

/** `parked`: the call goes on where it is. `again`: nothing waits, the call is made anew once the user has been somewhere. */
export type RequestState =
  | { readonly kind: 'parked'; readonly relayId: string; readonly parkId: string }
  | { readonly kind: 'again'; readonly keys: readonly string[] };

const CONTEXT = 'request-state';

export function sealRequestState(vault: Vault, state: RequestState, exchange: Exchange, now: number): string {
  const content = [now + WAIT_MS, binding(exchange), digest(exchange), state];
  return vault.sealToken(Buffer.from(JSON.stringify(content)), CONTEXT);
}

/** undefined: forged, expired, another principal's or another request's; which of these is nobody's business. */
export function openRequestState(
  vault: Vault,
  token: string,
  exchange: Exchange,
  now: number,
): RequestState | undefined {
  const plain = vault.openToken(token, CONTEXT);
  if (plain === undefined) return undefined;
  const [expires, owner, request, state] = JSON.parse(plain.toString('utf8')) as [number, string, string, RequestState];
  return now < expires && owner === binding(exchange) && request === digest(exchange) ? state : undefined;
}

const binding = ({ tenant, principal }: Exchange): string => `${tenant?.id ?? ''} ${principal?.binding ?? ''}`;

/** Of all that makes it this request and no other. Arguments by their bytes: a client repeats what it sent. */
function digest({ namespace, envelope }: Exchange): string {
  const { method = '', name = '', uri = '', arguments: given, bytes } = envelope ?? {};
  const hash = createHash('sha256').update(JSON.stringify([namespace?.name ?? '', method, name, uri]));
  if (given !== undefined && bytes !== undefined) hash.update(bytes.subarray(given.start, given.end));
  return hash.digest('base64url');
}
