/** The relay role: what lives long or is translated, and how it stops. */
import { randomUUID } from 'node:crypto';
import { openWorld } from '../runtime/open-world.ts';
import { socketsIn } from '../runtime/sockets.ts';
import { toldToStop } from '../runtime/told-to-stop.ts';
import { createLogger } from '../telemetry/log.ts';
import { createFront } from './front.ts';
import { startRelayServer } from './server.ts';
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
}

/** How long what is in progress may take to end after the word to stop. Milliseconds. */
const DRAIN_MS = 700;
const AUDIT_MS = 1000;

/** Serves until told to stop; resolves with the exit code. */
export async function runRelay(options: RelayOptions): Promise<number> {
  const log = createLogger(`relay-${options.index}`, options.logLevel);
  const sockets = socketsIn(options.runtimeDir);
  const local = `unix:${sockets.relay(options.index)}`;
  const remote = options.listen?.replace(/^tcp:/, '');
  const relayId = randomUUID();
  const opened = await openWorld({
    databaseUrl: options.databaseUrl,
    secretKey: options.secretKey,
    egress: options.egress ?? `unix:${sockets.egress}`,
    mcpHost: options.mcpHost,
    ours: true,
    replica: { id: relayId, role: 'relay', address: remote ?? local },
    log,
  });
  const stopping = new AbortController();
  const front = createFront(sockets.front);
  const world: RelayWorld = { ...opened.world, relayId, front, stopping: stopping.signal };

  // Envoy's health check connects to the socket: it opens only when there is something to serve.
  const server = await startRelayServer({ local, remote }, { work: {} }, world);
  world.meters.gauge('sallyport_relay_open', 'Requests and streams in progress at the relay', () => server.open);
  process.send?.({ type: 'ready' });
  log.info({ local, remote, relayId }, 'relay serves');

  await toldToStop();
  log.info('relay stops');
  stopping.abort();
  await server.close(DRAIN_MS);
  front.close();
  await opened.close(AUDIT_MS);
  return 0;
}
