/**
 * Downstream session ids are self-describing and sealed (AES-GCM): any replica can check one without asking anyone,
 * a forged one is refused in microseconds, and it works only for the principal and namespace it was made for.
 */
import { randomUUID } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Vault } from '../credentials/vault.ts';
import type { Session } from '../exchange/exchange.ts';

/** Sessions end after this long, whatever happens; clients then initialize again. Milliseconds. */
export const SESSION_LIFETIME_MS = 24 * 3600_000;

const CONTEXT = 'mcp-session';
/** Longer values are no id of ours: refused before any decoding. */
const MAX_ID_CHARS = 4096;

export interface SessionIds {
  /** A new session and the value of its Mcp-Session-Id header. */
  mint(session: Omit<Session, 'id' | 'expiresAt'>): { session: Session; header: string };
  /** The session behind a header value; undefined when it is forged, foreign or malformed. Expiry is not checked. */
  open(header: string): Session | undefined;
}

/** `cacheSize`: how many opened ids are remembered, so that a session's later requests cost a look-up. */
export function createSessionIds(vault: Vault, now: () => number, cacheSize = 20_000): SessionIds {
  const opened = new LRUCache<string, Session>({ max: cacheSize });
  return {
    mint(fields) {
      const session: Session = { ...fields, id: randomUUID(), expiresAt: now() + SESSION_LIFETIME_MS };
      const header = vault.sealToken(Buffer.from(JSON.stringify(pack(session))), CONTEXT);
      opened.set(header, session);
      return { session, header };
    },
    open(header) {
      const known = opened.get(header);
      if (known !== undefined) return known;
      if (header.length > MAX_ID_CHARS) return undefined;
      const plain = vault.openToken(header, CONTEXT);
      if (plain === undefined) return undefined;
      const session = unpack(plain);
      opened.set(header, session);
      return session;
    },
  };
}

/** Short field names: the id travels with every request. */
type Packed = readonly [
  id: string,
  tenant: string,
  namespace: string,
  binding: string,
  version: string,
  client: string,
  capabilities: string,
  expires: number,
];

function pack(session: Session): Packed {
  const { id, tenant, namespace, binding, protocolVersion, clientName, capabilities, expiresAt } = session;
  return [id, tenant, namespace, binding, protocolVersion, clientName, capabilities, expiresAt];
}

/** Only what this gateway sealed gets here, so its shape is known. */
function unpack(plain: Buffer): Session {
  const [id, tenant, namespace, binding, protocolVersion, clientName, capabilities, expiresAt] = JSON.parse(
    plain.toString('utf8'),
  ) as Packed;
  return { id, tenant, namespace, binding, protocolVersion, clientName, capabilities, expiresAt };
}
