/** What a processor and a relay both need to know and to reach, opened once per process and closed in order. */
import { isIP } from 'node:net';
import { LRUCache } from 'lru-cache';
import { AuditQueue } from '../audit/queue.ts';
import { insertAuditEvents } from '../audit/store.ts';
import { createVault } from '../credentials/vault.ts';
import type { World } from '../data-plane/world.ts';
import { createEgress } from '../egress/egress.ts';
import { KeyRing } from '../identity/key-ring.ts';
import { packageVersion } from '../package-root.ts';
import { FollowWaits } from '../sessions/follow-waits.ts';
import { createHandles } from '../sessions/handles.ts';
import { InFlight } from '../sessions/in-flight.ts';
import { createLogLevels } from '../sessions/log-levels.ts';
import { createSessionIds } from '../sessions/session-id.ts';
import { createSessionStore } from '../sessions/store.ts';
import type { CancelBroadcast } from '../sessions/stored-session.ts';
import { Tombstones } from '../sessions/tombstones.ts';
import { createUpstreamSessions } from '../sessions/upstream-sessions.ts';
import { startFeed } from '../snapshot/feed.ts';
import type { Snapshot } from '../snapshot/snapshot.ts';
import { type Database, openDatabase, waitForDatabase } from '../storage/database.ts';
import { notify } from '../storage/notify.ts';
import type { Logger } from '../telemetry/log.ts';
import { createMeters } from '../telemetry/meters.ts';
import { startTracing } from '../telemetry/tracing.ts';
import { openEnrichment } from './open-enrichment.ts';

export interface OpenWorldOptions {
  readonly databaseUrl: string;
  readonly secretKey: string;
  /** `unix:PATH`, `http://…` or `direct`. */
  readonly egress: string;
  /** The listener's host, which requests may name in `Host`. */
  readonly mcpHost: string;
  /** The Envoy is ours: it has routes to the edge service and to the relay. */
  readonly ours: boolean;
  /** Announced to the control plane; `address`: where other replicas reach a relay. */
  readonly replica: { readonly id: string; readonly role: 'processor' | 'relay'; readonly address?: string };
  readonly onSnapshot?: (snapshot: Snapshot) => void;
  readonly onSessionEnded?: (sessionId: string) => void;
  /** Further NOTIFY channels to listen to, with what to do with a payload. */
  readonly notices?: Readonly<Record<string, (payload: string) => void>>;
  /** Where OTEL_* are. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Logger;
}

export interface OpenedWorld {
  readonly world: World;
  readonly database: Database;
  /** Stops learning, stores what is left of the audit (within `auditMs`), lets go of everything. */
  close(auditMs: number): Promise<void>;
}

/** Answers above this leave by the edge service: measured, see docs/decisions/0004-big-answers.md. */
const EDGE_THRESHOLD_BYTES = 16_384;

/** How often the control plane is told that legacy clients call a modern upstream. */
const LEGACY_WANTED_MS = 60_000;

/** Settles once there is a snapshot to serve. */
export async function openWorld(options: OpenWorldOptions): Promise<OpenedWorld> {
  const { log } = options;
  const database = openDatabase(options.databaseUrl, { max: 4 });
  await waitForDatabase(database, { retryForMs: 60_000, onRetry: (message) => log.warn(message) });

  const vault = createVault(options.secretKey);
  const egress = createEgress(options.egress, vault);
  const sessionStore = createSessionStore(database);
  const followWaits = new FollowWaits();
  const upstreamSessions = createUpstreamSessions({ vault, store: sessionStore, egress, followWaits, log });
  const keys = new KeyRing();
  const tombstones = new Tombstones();
  const inFlight = new InFlight();
  const legacyWanted = new LRUCache<string, true>({ max: 10_000, ttl: LEGACY_WANTED_MS });
  const logLevels = createLogLevels(sessionStore);
  const meters = createMeters();
  const tracing = await startTracing({ env: options.env, role: options.replica.role, version: packageVersion, log });
  const enrichment = openEnrichment(database, meters, log);
  const audit = new AuditQueue((rows) => insertAuditEvents(database, rows), log);
  const feed = startFeed({
    database,
    databaseUrl: options.databaseUrl,
    vault,
    keys,
    tombstones,
    onSessionEnded(id) {
      upstreamSessions.forget(id);
      enrichment.told.forget(id);
      options.onSessionEnded?.(id);
    },
    onSnapshot(snapshot) {
      enrichment.serve(snapshot);
      options.onSnapshot?.(snapshot);
    },
    log,
    replica: options.replica,
    notices: {
      sallyport_cancel(payload) {
        const { sessionId, id, reason } = JSON.parse(payload) as CancelBroadcast;
        inFlight.cancel(sessionId, id, reason);
      },
      sallyport_followed: (payload) => followWaits.followed(JSON.parse(payload)),
      sallyport_level(payload) {
        const { sessionId, level } = JSON.parse(payload) as { sessionId: string; level: string };
        logLevels.changed(sessionId, level);
      },
      ...enrichment.notices,
      ...options.notices,
    },
  });
  const world: World = {
    snapshot: feed.snapshot,
    vault,
    keys,
    handles: createHandles(vault),
    sessionIds: createSessionIds(vault, Date.now),
    tombstones,
    async endSession(session) {
      tombstones.add(session.id, session.expiresAt);
      const open = await sessionStore.end(session);
      upstreamSessions.forget(session.id);
      const connections = [...(feed.snapshot()?.tenants.get(session.tenant)?.connections.values() ?? [])];
      upstreamSessions.close(open, connections);
    },
    wantLegacy(connectionId) {
      if (legacyWanted.has(connectionId)) return;
      legacyWanted.set(connectionId, true);
      notify(database.kysely, 'sallyport_legacy', connectionId).catch(() => {});
    },
    upstreamSessions,
    sessionStore,
    inFlight,
    logLevels,
    egress,
    enrichment,
    audit,
    meters,
    tracing,
    log,
    version: packageVersion,
    ownHosts: ownHosts(options.mcpHost),
    edgeThresholdBytes: options.ours ? EDGE_THRESHOLD_BYTES : undefined,
    relay: options.ours,
  };
  meters.gauge('sallyport_audit_queued', 'Audit rows waiting to be stored', () => audit.queued);
  meters.gauge(
    'sallyport_audit_dropped',
    'Audit rows lost because Postgres was away for too long',
    () => audit.dropped,
  );
  meters.gauge(
    'sallyport_upstream_sessions_cached',
    'Upstream sessions this worker remembers',
    () => upstreamSessions.cached,
  );
  meters.gauge('sallyport_feed_age_ms', 'Since configuration, keys and sessions were last read', () =>
    feed.feedAgeMs(),
  );
  meters.gauge('sallyport_revision', 'Configuration revision in force', () => feed.snapshot()?.revision ?? 0);
  await Promise.all([feed.ready, enrichment.ready]);
  return {
    world,
    database,
    async close(auditMs) {
      await feed.close();
      await enrichment.close();
      await tracing.close();
      await audit.close(auditMs);
      egress.close();
      await database.close();
    },
  };
}

/** Design rule 10: the listener's own address, and localhost where it listens on loopback. */
function ownHosts(mcpHost: string): ReadonlySet<string> {
  const host = mcpHost.toLowerCase();
  const wildcard = host === '0.0.0.0' || host === '::';
  const loopback = wildcard || host === 'localhost' || host === '::1' || host.startsWith('127.');
  const hosts = new Set(loopback ? ['localhost', '127.0.0.1', '[::1]'] : []);
  hosts.add(isIP(host) === 6 ? `[${host}]` : host);
  // Listening everywhere, any literal address may be ours; a name may not (DNS rebinding needs a name).
  if (wildcard) hosts.add('*');
  return hosts;
}
