/**
 * Sessions with legacy upstreams that mint ids: one per (owner, connection, credential), opened at first use, sealed in
 * Postgres so that every replica finds it, cached here. owner.ts says who shares one.
 */
import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Vault } from '../credentials/vault.ts';
import { startDeadline } from '../egress/deadline.ts';
import type { Egress } from '../egress/egress.ts';
import { endSession } from '../egress/session.ts';
import { openSession } from '../egress/upstream-client.ts';
import type { SessionOwner, UpstreamSession } from '../exchange/exchange.ts';
import { clientInfo } from '../routing/client-name.ts';
import type { Connection } from '../snapshot/snapshot.ts';
import type { Logger } from '../telemetry/log.ts';
import type { FollowWaits } from './follow-waits.ts';
import type { EndedUpstreamSession, SessionStore } from './stored-session.ts';
import { repeatWishes } from './wishes.ts';

/** Opening one must fit into the exchange's own deadline. */
const OPEN_TIMEOUT_MS = 10_000;
const CACHE_SIZE = 20_000;

export interface UpstreamSessions {
  /** The session to call `connection` with; undefined when it needs none. Synchronous once opened. Throws EgressError, UpstreamError. */
  acquire(
    connection: Connection,
    owner: SessionOwner,
  ): UpstreamSession | undefined | Promise<UpstreamSession | undefined>;
  /** The upstream no longer knows it: forget it everywhere and open another. */
  replace(connection: Connection, owner: SessionOwner, lost: UpstreamSession): Promise<UpstreamSession | undefined>;
  /** What is open for a downstream session now, without opening anything. */
  open(sessionId: string): Promise<{ readonly connectionId: string; readonly session: UpstreamSession }[]>;
  /** Forgets and closes, upstream too, what belonged to a downstream session. `rows` as SessionStore.end returned them. */
  close(rows: readonly EndedUpstreamSession[], connections: Iterable<Connection>): void;
  /** Forgets what is cached for a downstream session (it was ended elsewhere). */
  forget(sessionId: string): void;
  readonly cached: number;
}

export function createUpstreamSessions(options: {
  vault: Vault;
  store: SessionStore;
  egress: Egress;
  followWaits: FollowWaits;
  log: Logger;
}): UpstreamSessions {
  const { vault, store, egress, followWaits, log } = options;
  const cache = new LRUCache<string, UpstreamSession>({ max: CACHE_SIZE });
  const opening = new Map<string, Promise<UpstreamSession | undefined>>();
  /** Keys by downstream session, so that an end is complete. */
  const keysBySession = new Map<string, Set<string>>();

  const remember = ({ sessionId }: SessionOwner, upstream: UpstreamSession): UpstreamSession => {
    cache.set(upstream.key, upstream);
    if (sessionId === null) return upstream;
    let keys = keysBySession.get(sessionId);
    if (keys === undefined) {
      if (keysBySession.size >= CACHE_SIZE) keysBySession.delete(keysBySession.keys().next().value as string);
      keys = new Set();
      keysBySession.set(sessionId, keys);
    }
    keys.add(upstream.key);
    return upstream;
  };

  async function open(connection: Connection, owner: SessionOwner, key: string): Promise<UpstreamSession | undefined> {
    const hash = createHash('sha256').update(key).digest();
    const stored = await store.read(hash);
    const known = stored === undefined ? undefined : unseal(stored, key, connection.id);
    if (known !== undefined) return remember(owner, known);
    const deadline = startDeadline(Math.min(OPEN_TIMEOUT_MS, connection.timeoutMs));
    let mine: UpstreamSession;
    try {
      const handshake = await openSession(egress, connection, deadline.signal, {
        capabilities: owner.capabilities,
        ...(owner.clientName !== '' && { clientInfo: clientInfo(owner.clientName) }),
      });
      if (handshake.sessionId === undefined) return undefined;
      mine = { key, id: handshake.sessionId, protocolVersion: handshake.protocolVersion };
      const wishes =
        owner.sessionId === null
          ? { logLevel: owner.logLevel, subscriptions: [] }
          : await store.wishes(owner.sessionId, connection.id);
      await repeatWishes(egress, connection, mine, wishes, deadline.signal);
    } finally {
      deadline.release();
    }
    const wait = owner.sessionId === null ? undefined : followWaits.wait(owner.sessionId, connection.id);
    const { sealed: now, isFollowed } = await store.write({
      key: hash,
      tenant: connection.tenant,
      sessionId: owner.sessionId,
      connectionId: connection.id,
      sealed: seal(mine, connection.id),
      expiresAt: owner.expiresAt,
    });
    if (isFollowed) await wait?.followed;
    else wait?.give();
    // Two replicas opened at once: the other's stands, ours goes.
    const agreed = unseal(now, key, connection.id) ?? mine;
    if (agreed.id !== mine.id) endUpstream(connection, mine);
    return remember(owner, agreed);
  }

  const seal = (upstream: UpstreamSession, connectionId: string): Buffer =>
    Buffer.from(
      vault.sealToken(Buffer.from(JSON.stringify([upstream.id, upstream.protocolVersion])), contextOf(connectionId)),
    );

  /** undefined: sealed under a secret key that is gone; as good as no session. */
  const unseal = (sealed: Buffer, key: string, connectionId: string): UpstreamSession | undefined => {
    const plain = vault.openToken(sealed.toString('latin1'), contextOf(connectionId));
    if (plain === undefined) return undefined;
    const [id, protocolVersion] = JSON.parse(plain.toString('utf8')) as [string, string];
    return { key, id, protocolVersion };
  };

  const endUpstream = (connection: Connection, upstream: UpstreamSession): void =>
    endSession({ egress, log }, connection, upstream);

  const single = (connection: Connection, owner: SessionOwner, key: string): Promise<UpstreamSession | undefined> => {
    let pending = opening.get(key);
    if (pending === undefined) {
      pending = open(connection, owner, key).finally(() => opening.delete(key));
      opening.set(key, pending);
    }
    return pending;
  };

  return {
    get cached() {
      return cache.size;
    },
    acquire(connection, owner) {
      if (connection.session === 'stateless' || !connection.catalog.hasSessions) return undefined;
      const key = keyOf(connection, owner);
      return cache.get(key) ?? single(connection, owner, key);
    },
    async open(sessionId) {
      const rows = await store.open(sessionId);
      return rows.flatMap(({ connectionId, sealed }) => {
        const session = unseal(sealed, '', connectionId);
        return session === undefined ? [] : [{ connectionId, session }];
      });
    },
    async replace(connection, owner, lost) {
      if (cache.get(lost.key)?.id === lost.id) cache.delete(lost.key);
      const hash = createHash('sha256').update(lost.key).digest();
      const stored = await store.read(hash);
      // Another call of this session may have replaced it already.
      if (stored !== undefined && unseal(stored, lost.key, connection.id)?.id === lost.id)
        await store.remove(hash, stored);
      return single(connection, owner, lost.key);
    },
    close(rows, connections) {
      const byId = new Map([...connections].map((connection) => [connection.id, connection]));
      for (const { connectionId, sealed } of rows) {
        const connection = byId.get(connectionId);
        const upstream = unseal(sealed, '', connectionId);
        if (connection !== undefined && upstream !== undefined) endUpstream(connection, upstream);
      }
    },
    forget(sessionId) {
      for (const key of keysBySession.get(sessionId) ?? []) cache.delete(key);
      keysBySession.delete(sessionId);
    },
  };
}

/** Separated by spaces: none of the parts can hold one. */
const keyOf = (connection: Connection, { key }: SessionOwner): string =>
  `${key} ${connection.id} ${connection.injection.credentialId ?? ''}`;

const contextOf = (connectionId: string): string => `upstream-session ${connectionId}`;
