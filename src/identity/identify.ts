/** Step: who is calling. Runs on the request headers, before a byte of the body is buffered. */

import type { World } from '../data-plane/world.ts';
import { type Exchange, type Principal, refuse, type Step, type StepResult } from '../exchange/exchange.ts';
import { problems } from '../exchange/problem.ts';
import { OPERATOR, personaOf } from '../policy/decide.ts';
import type { Persona } from '../snapshot/snapshot.ts';
import { openInternalToken } from './internal-token.ts';

/** RFC 6750 §3. The metadata URL of RFC 9728 joins it with the OAuth resource server. */
const CHALLENGE = 'Bearer realm="sallyport"';

export const identify: Step<World> = {
  name: 'identify',
  needs: ['namespace', 'tenant'],
  gives: ['principal', 'persona'],
  run(exchange, world): StepResult {
    const principal = principalOf(exchange, world);
    if ('code' in principal) return refuse(principal);
    exchange.principal = principal;
    exchange.persona = personaFor(exchange, principal);
    return undefined;
  },
};

function personaFor({ tenant }: Exchange, principal: Principal): Persona | undefined {
  if (tenant === undefined) return undefined;
  return principal.method === 'operator' ? OPERATOR : personaOf(tenant, principal.subject, principal.roles);
}

function principalOf(exchange: Exchange, world: World): Principal | ReturnType<typeof problems.noKey> {
  const authorization = exchange.head.header('authorization');
  const tenant = exchange.tenant?.id ?? 'default';
  if (authorization === undefined) {
    const roles = exchange.snapshot.settings.anonymousRoles;
    // Closed until opened: callers without a key exist only where the configuration says so.
    if (roles === undefined) return problems.noKey(CHALLENGE);
    return { tenant, subject: 'anonymous', roles, method: 'anonymous', binding: 'anonymous' };
  }
  const bearer = /^bearer +([^\s]+)$/i.exec(authorization.trim())?.[1];
  // A credential that was sent and is no good never falls through to anonymous.
  if (bearer === undefined) return problems.badKey(CHALLENGE, 'the Authorization header is not "Bearer KEY"');
  const internal = openInternalToken(world.vault, bearer);
  if (internal !== undefined) {
    return internal.tenant === tenant ? internal : problems.badKey(CHALLENGE, 'a token of another tenant');
  }
  const key = world.keys.find(bearer);
  if (key === undefined) return problems.badKey(CHALLENGE, 'unknown key');
  if (key.revoked) return problems.badKey(CHALLENGE, `key ${key.name} is revoked`);
  if (key.expiresAt !== undefined && key.expiresAt <= exchange.at)
    return problems.badKey(CHALLENGE, `key ${key.name} has expired`);
  if (key.tenant !== tenant) return problems.badKey(CHALLENGE, `key ${key.name} belongs to another tenant`);
  return { tenant, subject: key.name, roles: key.roles, method: 'api_key', binding: `api_key:${key.id}` };
}
