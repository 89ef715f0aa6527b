/** Short-lived tokens with which the gateway's own parts call its MCP endpoint as somebody (`tool call`, portal). */
import type { Vault } from '../credentials/vault.ts';
import type { Principal } from '../exchange/exchange.ts';

const CONTEXT = 'internal-token';
const PREFIX = 'spi_';
const LIFETIME_MS = 60_000;

/** A bearer value that identifies as `principal` for a minute. Never handed to people. */
export function mintInternalToken(
  vault: Vault,
  principal: { tenant: string; subject: string; roles: readonly string[] },
): string {
  const plain = JSON.stringify([principal.tenant, principal.subject, principal.roles, Date.now() + LIFETIME_MS]);
  return PREFIX + vault.sealToken(Buffer.from(plain), CONTEXT);
}

/** undefined: not one of these tokens, or expired. */
export function openInternalToken(vault: Vault, bearer: string): Principal | undefined {
  if (!bearer.startsWith(PREFIX)) return undefined;
  const plain = vault.openToken(bearer.slice(PREFIX.length), CONTEXT);
  if (plain === undefined) return undefined;
  const [tenant, subject, roles, expiresAt] = JSON.parse(plain.toString('utf8')) as [string, string, string[], number];
  if (Date.now() > expiresAt) return undefined;
  return { tenant, subject, roles, method: 'internal', binding: `internal:${subject}` };
}
