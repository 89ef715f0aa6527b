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

/** Payload of NOTIFY `sallyport_cancel`. */
export interface CancelBroadcast {
  readonly sessionId: string;
  /** The request's id as the client wrote it. */
  readonly id: string;
  readonly reason?: string | undefined;
}

export interface SessionWishes {
  readonly logLevel: string | undefined;
  /** The upstream's own URIs that were subscribed to. */
  readonly subscriptions: readonly string[];
}

/** What is or was open upstream for a downstream session. */
export interface EndedUpstreamSession {
  readonly connectionId: string;
  readonly sealed: Buffer;
}

export interface SessionStore {
  read(key: Buffer): Promise<Buffer | undefined>;
  /** Stores unless another replica was first; returns what is stored now, and whether a relay will listen to it. */
  write(session: StoredUpstreamSession): Promise<{ readonly sealed: Buffer; readonly isFollowed: boolean }>;
  /** What a downstream session has asked for that a new upstream session must be told again. */
  wishes(sessionId: string, connectionId: string): Promise<SessionWishes>;
  /** undefined: it never said. */
  logLevel(sessionId: string): Promise<string | undefined>;
  setLogLevel(session: { id: string; expiresAt: number }, level: string): Promise<void>;
  /** False: the session has as many as one may have. */
  subscribe(session: { id: string; expiresAt: number }, connectionId: string, uri: string): Promise<boolean>;
  unsubscribe(sessionId: string, connectionId: string, uri: string): Promise<void>;
  /** Everything open upstream for a downstream session. */
  open(sessionId: string): Promise<EndedUpstreamSession[]>;
  /** Asks every other process to cancel a call that is not being answered here. */
  broadcastCancel(cancel: CancelBroadcast): Promise<void>;
  /** Removes it if it is still this one. */
  remove(key: Buffer, sealed: Buffer): Promise<void>;
  /** Ends a downstream session: tombstone, NOTIFY, and the upstream sessions that were its own. */
  end(session: { id: string; tenant: string; expiresAt: number }): Promise<EndedUpstreamSession[]>;
}

/** What replicas share cannot be reached now: Postgres is away. `cause` says how. */
export class StoreAway extends Error {
  override readonly name = 'StoreAway';
}
