/** Whether the caller whom a processor let in would still be let in, and as whom; its key itself is not here. */
import type { Principal } from '../../exchange/exchange.ts';
import { OPERATOR, personaOf } from '../../policy/decide.ts';
import type { Namespace, Persona, Snapshot } from '../../snapshot/snapshot.ts';
import type { RelayWorld } from '../world.ts';

export interface Caller {
  readonly namespace: Namespace;
  readonly persona: Persona | undefined;
}

export function callerNow(
  principal: Principal,
  namespaceName: string,
  snapshot: Snapshot,
  world: RelayWorld,
): Caller | undefined {
  const tenant = snapshot.tenants.get(principal.tenant);
  const namespace = tenant?.namespaces.get(namespaceName);
  const roles = rolesNow(principal, snapshot, world);
  if (tenant === undefined || namespace === undefined || roles === undefined) return undefined;
  const persona = principal.method === 'operator' ? OPERATOR : personaOf(tenant, principal.subject, roles);
  return { namespace, persona };
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
