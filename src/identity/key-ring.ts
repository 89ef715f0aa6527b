/** Every API key of the deployment by its hash, in memory: identifying a caller is a hash and a look-up. */
import { hash, randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';

export interface KeyRecord {
  readonly id: string;
  readonly tenant: string;
  readonly name: string;
  readonly roles: readonly string[];
  /** Milliseconds since the epoch. */
  readonly expiresAt: number | undefined;
  readonly revoked: boolean;
}

/** Keys carry this much entropy or were chosen by an operator (16 characters at least), so a plain hash is enough. */
export function hashKey(key: string): Buffer {
  return hash('sha256', key, 'buffer');
}

/** A new key: `sp_` and 192 random bits. Shown once, stored as its hash. */
export function generateKey(): string {
  return `sp_${randomBytes(24).toString('base64url')}`;
}

/** What tells keys apart in lists without giving them away. */
export const keyHint = (key: string): string => `${key.slice(0, 6)}…`;

export class KeyRing {
  private readonly byHash = new Map<string, KeyRecord>();
  /** Of keys that were sent lately: hashing is the dearest part of knowing a caller. */
  private readonly digests = new LRUCache<string, string>({ max: 2000 });
  private readonly byId = new Map<string, KeyRecord>();
  /** Grows with every change. */
  version = 0;

  get size(): number {
    return this.byHash.size;
  }

  /** Adds a key or replaces what is known of it (revocation, roles). */
  put(keyHash: Buffer, record: KeyRecord): void {
    this.byHash.set(keyHash.toString('hex'), record);
    this.byId.set(record.id, record);
    this.version++;
  }

  /** For those whose key was seen when they came, and who stay. */
  get(id: string): KeyRecord | undefined {
    return this.byId.get(id);
  }

  find(key: string): KeyRecord | undefined {
    let digest = this.digests.get(key);
    if (digest === undefined) {
      digest = hash('sha256', key, 'hex');
      this.digests.set(key, digest);
    }
    return this.byHash.get(digest);
  }
}
