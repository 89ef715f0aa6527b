/** The processor role: wires the data plane to its sockets, and stops in order. */

import { rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { startProcessorServer } from '../data-plane/server.ts';
import type { World } from '../data-plane/world.ts';
import { startEdge } from '../edge/server.ts';
import { openWorld } from '../runtime/open-world.ts';
import { socketsIn } from '../runtime/sockets.ts';
import { toldToStop } from '../runtime/told-to-stop.ts';
import { createLogger } from '../telemetry/log.ts';

export interface ProcessorOptions {
  readonly databaseUrl: string;
  readonly secretKey: string;
  readonly logLevel: string;
  /** Directory of the deployment's sockets; with `index`, where our own Envoy looks for this worker. */
  readonly runtimeDir?: string;
  readonly index: number;
  /** `unix:PATH` or `HOST:PORT` for a foreign Envoy; no edge service and no relay then. */
  readonly listen?: string;
  /** `unix:PATH`, `http://…` or `direct`; default: the runtime directory's egress socket, else `direct`. */
  readonly egress?: string;
  /** The listener's host, which requests may name in `Host`. */
  readonly mcpHost: string;
  /** Where OTEL_* are. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Largest body that Envoy may hand over; the configured limit is checked by a step and may not exceed it. */
const MAX_BODY_BYTES = 64 << 20;
const DRAIN_MS = 3000;

/** Serves until told to stop; resolves with the exit code. */
export async function runProcessor(options: ProcessorOptions): Promise<number> {
  const log = createLogger(`processor-${options.index}`, options.logLevel);
  const sockets = options.runtimeDir === undefined ? undefined : socketsIn(options.runtimeDir);
  const address = options.listen?.replace(/^tcp:/, '') ?? `unix:${sockets?.processor(options.index)}`;
  const ours = options.listen === undefined && sockets !== undefined;
  const { world, close } = await openWorld({
    databaseUrl: options.databaseUrl,
    secretKey: options.secretKey,
    egress: options.egress ?? (sockets === undefined ? 'direct' : `unix:${sockets.egress}`),
    mcpHost: options.mcpHost,
    env: options.env,
    ours,
    replica: { id: `${hostname()}-${process.pid}-${options.index}`, role: 'processor' },
    log,
  });

  // Envoy's health check connects to the socket: it opens only when there is something to serve.
  if (address.startsWith('unix:')) await rm(address.slice('unix:'.length), { force: true });
  const edge = ours ? await freshEdge(sockets.edge(options.index), world) : undefined;
  const server = await startProcessorServer(address, MAX_BODY_BYTES, world);
  world.meters.gauge('sallyport_open_streams', 'Exchanges in progress', () => server.open);
  // Whoever started this may be gone by now.
  if (process.connected) process.send?.({ type: 'ready' }, undefined, undefined, () => {});
  log.info({ address }, 'processor serves');

  await toldToStop();
  log.info('processor stops');
  await server.close(DRAIN_MS);
  await edge?.close();
  await close(DRAIN_MS);
  return 0;
}

async function freshEdge(path: string, world: World): ReturnType<typeof startEdge> {
  await rm(path, { force: true });
  return startEdge(path, world);
}
