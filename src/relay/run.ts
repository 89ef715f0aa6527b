/** The relay role: what lives long or is translated, and how it stops. */
import { randomUUID } from 'node:crypto';
import { openWorld } from '../runtime/open-world.ts';
import { socketsIn } from '../runtime/sockets.ts';
import { toldToStop } from '../runtime/told-to-stop.ts';
import { createLogger } from '../telemetry/log.ts';
import { batch } from './batch/entry.ts';
import { createBridge } from './bridge/bridge.ts';
import { createFront } from './front.ts';
import { GetStreams } from './get-streams/entry.ts';
import { createListen } from './listen/entry.ts';
import { serveMetrics } from './metrics-socket.ts';
import { Peers } from './peers.ts';
import { Pulse } from './pulse.ts';
import { createRelayStore } from './relay-store.ts';
import { startRelayServer } from './server.ts';
import { createSseClients } from './sse-clients/sse-clients.ts';
import { createSseUpstreams } from './sse-upstreams/sse-upstreams.ts';
import { WatchList } from './watched.ts';
import type { RelayWorld } from './world.ts';

export interface RelayOptions {
  readonly databaseUrl: string;
  readonly secretKey: string;
  readonly logLevel: string;
  /** Directory of the deployment's sockets, where our own Envoy looks for relay `index`. */
  readonly runtimeDir: string;
  readonly index: number;
  /** `tcp:HOST:PORT`: where relays on other machines reach this one. */
  readonly listen?: string;
  /** `unix:PATH`, `http://…` or `direct`; default: the runtime directory's egress socket. */
  readonly egress?: string;
  /** The listener's host, which requests may name in `Host`. */
  readonly mcpHost: string;
  /** Where OTEL_* are. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** How long what is in progress may take to end after the word to stop. Milliseconds. */
const DRAIN_MS = 700;
/** The same for calls that wait for an HTTP+SSE upstream, so that they are told of their end. Milliseconds. */
const SSE_GRACE_MS = 500;
const AUDIT_MS = 1000;
/** Notices of Postgres may be lost: how often they are looked for. */
const CATCH_UP_S = 60;

/** Serves until told to stop; resolves with the exit code. */
export async function runRelay(options: RelayOptions): Promise<number> {
  const log = createLogger(`relay-${options.index}`, options.logLevel);
  const sockets = socketsIn(options.runtimeDir);
  const local = `unix:${sockets.relay(options.index)}`;
  const remote = options.listen?.replace(/^tcp:/, '');
  const relayId = randomUUID();
  const streams = new GetStreams();
  const watched = new WatchList(
    () => opened?.world.snapshot(),
    () => opened?.world.keys.version ?? 0,
  );
  let opened: Awaited<ReturnType<typeof openWorld>> | undefined;
  opened = await openWorld({
    databaseUrl: options.databaseUrl,
    secretKey: options.secretKey,
    egress: options.egress ?? `unix:${sockets.egress}`,
    mcpHost: options.mcpHost,
    env: options.env,
    ours: true,
    replica: { id: relayId, role: 'relay', address: remote ?? local },
    onSnapshot: () => watched.worldChanged(),
    onSessionEnded: (id) => watched.endSession(id),
    notices: {
      sallyport_upstream: (payload) =>
        streams.upstreamChanged((JSON.parse(payload) as { sessionId: string }).sessionId),
    },
    log,
  });
  const stopping = new AbortController();
  const front = createFront(sockets.front);
  const pulse = new Pulse();
  const store = createRelayStore(opened.database);
  const world: RelayWorld = {
    ...opened.world,
    relayId,
    front,
    peers: new Peers(store, opened.world.vault),
    store,
    pulse,
    watched,
    stopping: stopping.signal,
  };
  const catchUp = setInterval(() => {
    streams
      .catchUp(world, 2 * CATCH_UP_S)
      .catch((error: unknown) => log.warn({ error: String(error) }, 'sessions could not be looked up'));
  }, CATCH_UP_S * 1000);

  // Envoy's health check connects to the socket: it opens only when there is something to serve.
  const sseClient = createSseClients();
  const bridge = createBridge();
  const sseUpstreams = createSseUpstreams();
  const { entry: upstream } = sseUpstreams;
  const work = { call: bridge.call, answer: bridge.answer, batch, listen: createListen(), upstream };
  const entries = { eventStream: streams.entry, sseClient, work };
  const server = await startRelayServer({ local, remote }, entries, world);
  world.meters.gauge('sallyport_relay_open', 'Requests and streams in progress at the relay', () => server.open);
  world.meters.gauge('sallyport_relay_waiting', 'Questions to clients that are not answered', () => bridge.waiting);
  world.meters.gauge('sallyport_relay_streams', 'Event streams that are open', () => pulse.size);
  world.meters.gauge(
    'sallyport_relay_sse_upstream_sessions',
    'Sessions with HTTP+SSE upstreams that this relay holds',
    () => sseUpstreams.size,
  );
  const metrics = await serveMetrics(sockets.relayMetrics(options.index), world.meters);
  // Whoever started this may be gone by now.
  if (process.connected) process.send?.({ type: 'ready' }, undefined, undefined, () => {});
  log.info({ local, remote, relayId }, 'relay serves');

  await toldToStop();
  log.info('relay stops');
  stopping.abort();
  clearInterval(catchUp);
  watched.drain();
  bridge.close();
  sseUpstreams.close(SSE_GRACE_MS);
  await Promise.all([
    server.close(DRAIN_MS),
    // It would be found out soon anyhow: this relay is not announced any more.
    world.store.allStreamsClosed(relayId).catch(() => {}),
  ]);
  pulse.stop();
  metrics.close();
  front.close();
  await opened.close(AUDIT_MS);
  return 0;
}
