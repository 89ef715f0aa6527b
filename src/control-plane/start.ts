import { mkdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ConfigDocument } from '../config/document.ts';
import { referableEnvironment } from '../config/resolve.ts';
import { createVault } from '../credentials/vault.ts';
import { createEgress } from '../egress/egress.ts';
import { socketsIn } from '../runtime/sockets.ts';
import { openDatabase, waitForDatabase } from '../storage/database.ts';
import { listen } from '../storage/listen.ts';
import { migrate } from '../storage/migrate.ts';
import type { Logger } from '../telemetry/log.ts';
import { createMeters } from '../telemetry/meters.ts';
import { startAds } from '../xds/ads.ts';
import { dumpXds } from '../xds/compile.ts';
import { publicRoots } from '../xds/secrets.ts';
import { createApp } from './app.ts';
import { startCatalog } from './catalog-door.ts';
import { createWriter } from './change.ts';
import { ConfigFileError, type ConfigFiles, readConfigFiles } from './config-files.ts';
import type { AdminContext } from './context.ts';
import { watchFiles } from './file-watch.ts';
import { envoyListens } from './listening.ts';
import { startMaintenance } from './maintenance.ts';
import { startPublication } from './publication.ts';
import { Refusal } from './refusal.ts';
import { makeFirstKey, reapplyFiles, type SeedOptions, seedConfiguration } from './seed.ts';
import { serveHttp } from './serve.ts';
import { checkForEnvoy } from './xds-input.ts';

export interface ControlPlaneOptions {
  readonly runtimeDir: string;
  readonly adminHost: string;
  /** 0: any free one. */
  readonly adminPort: number;
  readonly mcpHost: string;
  readonly mcpPort: number;
  readonly files: ConfigFiles;
  readonly demoUrl?: string | undefined;
  readonly databaseUrl: string;
  /** SALLYPORT_SECRET_KEY */
  readonly secretKey: string;
  readonly adminToken: string;
  /** What `{ env }` and `${NAME}` refer to; bodies of the API see it without our own variables. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** `unix:…`, `http://…` or `direct`; by default the egress listener of the Envoy beside this process. */
  readonly egress?: string | undefined;
  readonly log: Logger;
  /** Called with `ready`, `refused` and `listening`; see the supervisor. */
  readonly tell?: (message: ControlPlaneMessage) => void;
}

export type ControlPlaneMessage =
  | { readonly type: 'ready'; readonly adminUrl: string; readonly firstKey?: string }
  | { readonly type: 'listening'; readonly tls: boolean }
  /** Envoy does not listen, and this is why. */
  | { readonly type: 'refused'; readonly reason: string };

export interface ControlPlane {
  readonly adminUrl: string;
  /** Lets requests finish, then lets go of everything. Envoy and the processors carry on with what they have. */
  stop(): Promise<void>;
}

const TENANT = 'default';
/** A database that restarts is back by then; one that is not needs a person, or a supervisor that tries again. */
const DATABASE_RETRY_MS = 60_000;
const POLL_MS = 1_000;
/** How long a start waits for the newest revision to be published. */
const FIRST_REVISION_MS = 5_000;

/** Starts the control plane; settles once it serves. Fails with a sentence for the operator if it cannot. */
export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const { log, databaseUrl } = options;
  const closers: (() => unknown)[] = [];
  const stop = async () => {
    for (const close of closers.splice(0).reverse()) await close();
  };
  try {
    // What can be wrong without asking anyone is told first.
    const vault = createVault(options.secretKey);
    const document = readFiles(options);
    const sockets = socketsIn(options.runtimeDir);
    mkdirSync(options.runtimeDir, { recursive: true, mode: 0o700 });
    const place = {
      mcpHost: options.mcpHost,
      mcpPort: options.mcpPort,
      sockets,
      publicRootsPem: publicRoots(options.env.SSL_CERT_FILE),
    };

    const database = openDatabase(databaseUrl);
    closers.push(() => database.close());
    await waitForDatabase(database, { retryForMs: DATABASE_RETRY_MS, onRetry: (message) => log.warn(message) });
    await migrate(database);
    const writer = createWriter(database, checkForEnvoy(place));
    const seed: SeedOptions = { vault, tenant: TENANT, document, demoUrl: options.demoUrl };
    await asFileError(options.files, () => seedConfiguration(writer, seed));
    const firstKey = await makeFirstKey(database, TENANT);

    const ads = await startAds({ socketPath: sockets.xds, log });
    closers.push(() => ads.close());
    const publication = startPublication({ database, vault, ads, place, log });
    closers.push(() => publication.close());
    const listener = listen(databaseUrl, ['sallyport_revision'], () => publication.wake(), { pollMs: POLL_MS });
    closers.push(() => listener.close());
    // Without it the admin API is what the operator needs: the doctor tells what keeps the revision back.
    await Promise.race([publication.ready, sleep(FIRST_REVISION_MS, undefined, { ref: false })]);
    const stopping = new AbortController();
    closers.push(() => stopping.abort());
    const listens = envoyListens(ads, stopping.signal, (reason) => options.tell?.({ type: 'refused', reason }));

    const egress = createEgress(options.egress ?? `unix:${sockets.egress}`, vault);
    closers.push(() => egress.close());
    const catalog = startCatalog({
      database,
      databaseUrl,
      vault,
      egress,
      // Without an egress listener there is nothing to wait for.
      listens: options.egress === 'direct' ? Promise.resolve() : listens,
      log,
    });
    closers.push(() => catalog.close());
    const maintenance = startMaintenance({ database, log });
    closers.push(() => maintenance.close());

    let fileFault: string | undefined;
    const files = watchFiles(filePaths(options.files), () => {
      reread(options, (changed) => reapplyFiles(writer, seed, changed)).then((fault) => {
        fileFault = fault;
      });
    });
    closers.push(() => files.close());

    const meters = createMeters();
    meters.gauge('sallyport_revision', 'The revision that Envoy was told last', () => publication.current()?.id ?? 0);
    meters.gauge('sallyport_envoys', 'Envoys connected to this control plane', () => ads.state().nodes.length);
    meters.gauge('sallyport_xds_rejections', 'Resources that an Envoy refused', () => ads.state().rejections.length);
    const context: AdminContext = {
      database,
      vault,
      writer,
      tenant: TENANT,
      secretSources: { env: referableEnvironment(options.env) },
      catalog,
      gateway: {
        ads: () => ads.state(),
        dump: () => {
          const current = publication.current();
          return current && dumpXds(current.resources);
        },
        mcpUrl: () => frontDoor(options, publication.current()?.document.settings.listener.tls !== undefined),
        publicationFault: () => publication.fault(),
        configFileFault: () => fileFault,
        runtimeDir: options.runtimeDir,
      },
      log,
    };
    const app = createApp(context, { adminToken: options.adminToken, meters });
    const http = await serveHttp(app.fetch, options.adminHost, options.adminPort);
    closers.push(() => http.close());
    log.info({ adminUrl: http.url }, 'the control plane serves');
    options.tell?.({ type: 'ready', adminUrl: http.url, ...(firstKey !== undefined && { firstKey }) });
    listens.then(
      () =>
        options.tell?.({ type: 'listening', tls: publication.current()?.document.settings.listener.tls !== undefined }),
      () => {},
    );
    return { adminUrl: http.url, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

const filePaths = ({ config, mcpConfig }: ConfigFiles) => [config, mcpConfig].filter((path) => path !== undefined);

function readFiles({ files, env }: ControlPlaneOptions): ConfigDocument | undefined {
  return filePaths(files).length === 0 ? undefined : readConfigFiles(files, env);
}

/** Reads the files again and applies them; why that was not possible, if it was not. Then what was applied stays. */
async function reread(
  options: ControlPlaneOptions,
  apply: (document: ConfigDocument) => Promise<unknown>,
): Promise<string | undefined> {
  try {
    const document = readFiles(options);
    if (document !== undefined) await asFileError(options.files, () => apply(document));
    options.log.info('the configuration files were applied again');
    return undefined;
  } catch (error) {
    const { message } = error as Error;
    options.log.error(
      { error: message },
      'the configuration files changed and cannot be applied; the last state stays',
    );
    return message;
  }
}

/** What the files say cannot be served: the refusal names places in the document, the operator has files. */
async function asFileError<T>(files: ConfigFiles, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Refusal) || error.problems.length === 0 || filePaths(files).length === 0) throw error;
    throw new ConfigFileError(
      error.problems.map(({ path, message }) => `${files.config ?? files.mcpConfig}: ${path}: ${message}`),
    );
  }
}

/** The MCP listener as this process reaches it: a wildcard address is reached by loopback. */
function frontDoor({ mcpHost, mcpPort }: ControlPlaneOptions, tls: boolean): string {
  const host =
    mcpHost === '0.0.0.0' ? '127.0.0.1' : mcpHost === '::' ? '[::1]' : mcpHost.includes(':') ? `[${mcpHost}]` : mcpHost;
  return `${tls ? 'https' : 'http'}://${host}:${mcpPort}`;
}
