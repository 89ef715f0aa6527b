/** Whether the caller of something that lives long would still be let in, and as whom. */
import type { Exchange, Principal, RequestHead } from '../exchange/exchange.ts';
import { identify } from '../identity/identify.ts';
import { OPERATOR, personaOf } from '../policy/decide.ts';
import { findEndpoint } from '../routing/endpoint.ts';
import type { Namespace, Persona, Snapshot, Tenant } from '../snapshot/snapshot.ts';
import type { Ticket } from './ticket.ts';
import type { RelayWorld } from './world.ts';

export interface Caller {
  readonly tenant: Tenant;
  readonly namespace: Namespace;
  readonly persona: Persona | undefined;
}

/** Whom a processor let in; the key itself is not here. undefined: not any more. */
export function callerNow(
  { principal, namespace: name }: Pick<Ticket, 'principal' | 'namespace'>,
  snapshot: Snapshot,
  world: RelayWorld,
): Caller | undefined {
  const tenant = snapshot.tenants.get(principal.tenant);
  const namespace = tenant?.namespaces.get(name);
  const roles = rolesNow(principal, snapshot, world);
  if (tenant === undefined || namespace === undefined || roles === undefined) return undefined;
  const persona = principal.method === 'operator' ? OPERATOR : personaOf(tenant, principal.subject, roles);
  return { tenant, namespace, persona };
}

/** Whom this relay let in itself: by the steps again. `binding`: of the principal it was. undefined: not any more. */
export function callerAgain(
  head: RequestHead,
  binding: string,
  snapshot: Snapshot,
  world: RelayWorld,
): Caller | undefined {
  const exchange: Exchange = { head, requestId: '', at: Date.now(), snapshot };
  for (const step of [findEndpoint, identify]) if (step.run(exchange, world) !== undefined) return undefined;
  const { tenant, namespace, principal, persona } = exchange;
  if (tenant === undefined || namespace === undefined || principal?.binding !== binding) return undefined;
  return { tenant, namespace, persona };
}

function rolesNow(
  { method, binding, roles }: Principal,
  snapshot: Snapshot,
  world: RelayWorld,
): readonly string[] | undefined {
  if (method === 'anonymous') return snapshot.settings.anonymousRoles;
  // The gateway's own tokens end within minutes by themselves, and so do their callers.
  if (method !== 'api_key') return roles;
  const key = world.keys.get(binding.slice('api_key:'.length));
  const isValid = key !== undefined && !key.revoked && (key.expiresAt === undefined || key.expiresAt > Date.now());
  return isValid ? key.roles : undefined;
}
