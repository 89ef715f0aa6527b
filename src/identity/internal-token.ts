/** Short-lived tokens with which the gateway's own parts call its MCP endpoint as somebody (`tool call`, portal). */
import type { Vault } from '../credentials/vault.ts';
import type { Principal } from '../exchange/exchange.ts';

const CONTEXT = 'internal-token';
const PREFIX = 'spi_';
const LIFETIME_MS = 60_000;

export interface InternalPrincipal {
  readonly tenant: string;
  readonly subject: string;
  readonly roles: readonly string[];
  /** Holds the admin token: no persona limits it. */
  readonly operator?: boolean;
}

type Packed = [tenant: string, subject: string, roles: readonly string[], operator: boolean, expiresAt: number];

/** A bearer value that identifies as `principal` for a minute. Never handed to people. */
export function mintInternalToken(vault: Vault, principal: InternalPrincipal): string {
  const { tenant, subject, roles, operator } = principal;
  const plain = JSON.stringify([tenant, subject, roles, operator === true, Date.now() + LIFETIME_MS] satisfies Packed);
  return PREFIX + vault.sealToken(Buffer.from(plain), CONTEXT);
}

/** undefined: not one of these tokens, or expired. */
export function openInternalToken(vault: Vault, bearer: string): Principal | undefined {
  if (!bearer.startsWith(PREFIX)) return undefined;
  const plain = vault.openToken(bearer.slice(PREFIX.length), CONTEXT);
  if (plain === undefined) return undefined;
  const [tenant, subject, roles, operator, expiresAt] = JSON.parse(plain.toString('utf8')) as Packed;
  if (Date.now() > expiresAt) return undefined;
  return { tenant, subject, roles, method: operator ? 'operator' : 'internal', binding: `internal:${subject}` };
}
