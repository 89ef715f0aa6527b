/** What replicas share about sessions; store.ts keeps it in Postgres. */

export interface StoredUpstreamSession {
  readonly key: Buffer;
  readonly tenant: string;
  /** Downstream session; null when pooled. */
  readonly sessionId: string | null;
  readonly connectionId: string;
  readonly sealed: Buffer;
  readonly expiresAt: number;
}

/** What was open upstream for a downstream session that has ended. */
export interface EndedUpstreamSession {
  readonly connectionId: string;
  readonly sealed: Buffer;
}

export interface SessionStore {
  read(key: Buffer): Promise<Buffer | undefined>;
  /** Stores unless another replica was first; returns what is stored now. */
  write(session: StoredUpstreamSession): Promise<Buffer>;
  /** Removes it if it is still this one. */
  remove(key: Buffer, sealed: Buffer): Promise<void>;
  /** Ends a downstream session: tombstone, NOTIFY, and the upstream sessions that were its own. */
  end(session: { id: string; tenant: string; expiresAt: number }): Promise<EndedUpstreamSession[]>;
}
