/**
 * Identifiers that an upstream made and a client will send back: wrapped so that any replica knows whose they are, and
 * sealed to the one they were given to. The same identifier always gets the same handle, because clients compare them.
 */
import type { Vault } from '../credentials/vault.ts';

/** `request`: id of a request that an upstream asks of the client. `task`: a task id. `event`: an SSE event id. */
export type HandleKind = 'request' | 'task' | 'event' | 'elicitation' | 'progress';

export interface Handles {
  /** `owner`: a session id, or a principal's binding. `parts`: whose it is, and what it is there. */
  wrap(kind: HandleKind, owner: string, parts: readonly string[]): string;
  /** The parts; undefined for what was not made here for this owner. */
  unwrap(kind: HandleKind, owner: string, handle: string): readonly string[] | undefined;
}

export function createHandles(vault: Vault): Handles {
  return {
    wrap: (kind, owner, parts) => vault.sealStable(Buffer.from(JSON.stringify(parts)), `${kind} ${owner}`),
    unwrap(kind, owner, handle) {
      const plain = vault.openToken(handle, `${kind} ${owner}`);
      return plain === undefined ? undefined : (JSON.parse(plain.toString('utf8')) as string[]);
    },
  };
}
