/** The processor role: wires the data plane to its sockets and to Postgres, and stops in order. */

import { rm } from 'node:fs/promises';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { AuditQueue } from '../audit/queue.ts';
import { insertAuditEvents } from '../audit/store.ts';
import { createVault } from '../credentials/vault.ts';
import { startProcessorServer } from '../data-plane/server.ts';
import type { World } from '../data-plane/world.ts';
import { startEdge } from '../edge/server.ts';
import { createEgress } from '../egress/egress.ts';
import { KeyRing } from '../identity/key-ring.ts';
import { packageVersion } from '../package-root.ts';
import { socketsIn } from '../runtime/sockets.ts';
import { toldToStop } from '../runtime/told-to-stop.ts';
import { createSessionIds } from '../sessions/session-id.ts';
import { createSessionStore } from '../sessions/store.ts';
import { Tombstones } from '../sessions/tombstones.ts';
import { createUpstreamSessions } from '../sessions/upstream-sessions.ts';
import { startFeed } from '../snapshot/feed.ts';
import { openDatabase, waitForDatabase } from '../storage/database.ts';
import { createLogger } from '../telemetry/log.ts';
import { createMeters } from '../telemetry/meters.ts';

export interface ProcessorOptions {
  readonly databaseUrl: string;
  readonly secretKey: string;
  readonly logLevel: string;
  /** Directory of the deployment's sockets; with `index`, where our own Envoy looks for this worker. */
  readonly runtimeDir?: string;
  readonly index: number;
  /** `unix:PATH` or `HOST:PORT` for a foreign Envoy; no edge service then. */
  readonly listen?: string;
  /** `unix:PATH`, `http://…` or `direct`; default: the runtime directory's egress socket, else `direct`. */
  readonly egress?: string;
  /** The listener's host, which requests may name in `Host`. */
  readonly mcpHost: string;
}

/** Largest body that Envoy may hand over; the configured limit is checked by a step and may not exceed it. */
const MAX_BODY_BYTES = 64 << 20;
/** Answers above this leave by the edge service: measured, see docs/decisions/0004-big-answers.md. */
const EDGE_THRESHOLD_BYTES = 16_384;
const DRAIN_MS = 3000;

/** Serves until told to stop; resolves with the exit code. */
export async function runProcessor(options: ProcessorOptions): Promise<number> {
  const log = createLogger(`processor-${options.index}`, options.logLevel);
  const sockets = options.runtimeDir === undefined ? undefined : socketsIn(options.runtimeDir);
  const address = options.listen?.replace(/^tcp:/, '') ?? `unix:${sockets?.processor(options.index)}`;
  const ours = options.listen === undefined && sockets !== undefined;
  const database = openDatabase(options.databaseUrl, { max: 4 });
  await waitForDatabase(database, { retryForMs: 60_000, onRetry: (message) => log.warn(message) });

  const vault = createVault(options.secretKey);
  const egress = createEgress(options.egress ?? (sockets === undefined ? 'direct' : `unix:${sockets.egress}`));
  const sessionStore = createSessionStore(database);
  const upstreamSessions = createUpstreamSessions({ vault, store: sessionStore, egress, log });
  const keys = new KeyRing();
  const tombstones = new Tombstones();
  const meters = createMeters();
  const audit = new AuditQueue((rows) => insertAuditEvents(database, rows), log);
  const feed = startFeed({
    database,
    databaseUrl: options.databaseUrl,
    vault,
    keys,
    tombstones,
    onSessionEnded: (id) => upstreamSessions.forget(id),
    log,
    replica: { id: `${hostname()}-${process.pid}-${options.index}`, role: 'processor' },
  });
  const world: World = {
    snapshot: feed.snapshot,
    vault,
    keys,
    sessionIds: createSessionIds(vault, Date.now),
    tombstones,
    async endSession(session) {
      tombstones.add(session.id, session.expiresAt);
      const open = await sessionStore.end(session);
      upstreamSessions.forget(session.id);
      const connections = [...(feed.snapshot()?.tenants.get(session.tenant)?.connections.values() ?? [])];
      upstreamSessions.close(open, connections);
    },
    upstreamSessions,
    egress,
    audit,
    meters,
    log,
    version: packageVersion,
    ownHosts: ownHosts(options.mcpHost),
    edgeThresholdBytes: ours ? EDGE_THRESHOLD_BYTES : undefined,
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

  // Envoy's health check connects to the socket: it opens only when there is something to serve.
  await feed.ready;
  if (address.startsWith('unix:')) await rm(address.slice('unix:'.length), { force: true });
  const edge = ours ? await freshEdge(sockets.edge(options.index), world) : undefined;
  const server = await startProcessorServer(address, MAX_BODY_BYTES, world);
  meters.gauge('sallyport_open_streams', 'Exchanges in progress', () => server.open);
  process.send?.({ type: 'ready' });
  log.info({ address }, 'processor serves');

  await toldToStop();
  log.info('processor stops');
  await server.close(DRAIN_MS);
  await edge?.close();
  await feed.close();
  await audit.close(DRAIN_MS);
  egress.close();
  await database.close();
  return 0;
}

async function freshEdge(path: string, world: World): ReturnType<typeof startEdge> {
  await rm(path, { force: true });
  return startEdge(path, world);
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
