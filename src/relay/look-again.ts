/** Whether the caller of a long stream would still be let in, and as whom. */
import type { Exchange, RequestHead } from '../exchange/exchange.ts';
import { identify } from '../identity/identify.ts';
import { findEndpoint } from '../routing/endpoint.ts';
import type { Namespace, Persona, Snapshot } from '../snapshot/snapshot.ts';
import type { RelayWorld } from './world.ts';

export interface StillAllowed {
  readonly namespace: Namespace;
  readonly persona: Persona | undefined;
}

/** `binding`: of the principal that opened the stream. undefined: it has to end. */
export function lookAgain(
  head: RequestHead,
  binding: string,
  snapshot: Snapshot,
  world: RelayWorld,
): StillAllowed | undefined {
  const exchange: Exchange = { head, requestId: '', at: Date.now(), snapshot };
  for (const step of [findEndpoint, identify]) if (step.run(exchange, world) !== undefined) return undefined;
  const { namespace, principal, persona } = exchange;
  return namespace === undefined || principal?.binding !== binding ? undefined : { namespace, persona };
}
