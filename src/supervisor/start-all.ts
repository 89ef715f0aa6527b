import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Sockets } from '../runtime/sockets.ts';
import type { Logger } from '../telemetry/log.ts';
import { PROCESSOR_CLUSTER, RELAY_CLUSTER } from '../xds/bootstrap.ts';
import type { Child, ChildMessage } from './child.ts';
import { openEmbeddedDatabase, openExternalDatabase } from './database.ts';
import type { Deployment } from './deployment.ts';
import { newAdminToken, newSecretKey, readOrCreateSecret } from './directories.ts';
import { healthyMembers } from './envoy-admin.ts';
import type { UpReport } from './greeting.ts';
import type { UpOptions } from './options.ts';
import { choosePorts } from './ports.ts';
import { prepareEnvoy, startEnvoy, startRole } from './programs.ts';
import { listenerAnswers, originOf, reachableHost } from './readiness.ts';
import { StartError } from './start-error.ts';

/** What a start works with. */
export interface StartContext {
  readonly options: UpOptions;
  readonly dataDir: string;
  readonly runtimeDir: string;
  readonly sockets: Sockets;
  readonly deployment: Deployment;
  readonly log: Logger;
  readonly progress: (message: string) => void;
}

/** How often the operator hears what `up` still waits for. */
const REMINDER_MS = 10_000;

/** The program of every role: this package's own entry, wherever it was compiled to. */
const MAIN = fileURLToPath(new URL('../main.js', import.meta.url));

/**
 * Starts everything in the order in which it is needed: the database, the control plane (which migrates it and makes
 * the first revision), then processors, relays and Envoy. Done when the MCP listener answers.
 */
export async function startAll(context: StartContext): Promise<{ report: UpReport; adminToken: string | undefined }> {
  const { options, deployment, progress } = context;
  const envoyPath = process.env.ENVOY_PATH;
  if (!envoyPath) {
    throw new StartError(
      'No Envoy was found. Start with the "sallyport" command, which fetches one, or set ENVOY_PATH.',
    );
  }
  const { port, adminPort, demoPort } = await chooseAll(options);
  const { env, newToken } = secretsFor(context);
  const url = await openDatabase(context);
  const childEnv = { ...env, DATABASE_URL: url };

  progress('starting the control plane');
  const demo =
    demoPort === undefined ? undefined : addRole(context, 'demo', ['demo', '--port', String(demoPort)], childEnv);
  const controlPlane = watchControlPlane(context, controlPlaneArgs(context, port, adminPort, demoPort), childEnv);
  await Promise.all([controlPlane.child.ready, demo?.ready]);
  stopIfTold(deployment);

  progress(`starting Envoy, ${counted(options.relays, 'relay')} and ${counted(options.workers, 'processor')}`);
  const all = (role: 'processor' | 'relay', count: number): Child[] =>
    Array.from({ length: count }, (_, index) =>
      addRole(context, `${role}-${index}`, workerArgs(context, role, index), childEnv),
    );
  const processors = all('processor', options.workers);
  const relays = all('relay', options.relays);
  const envoy = addEnvoy(context, envoyPath);
  const workers = [...processors, ...relays];
  const serving = Promise.all([controlPlane.listening, ...workers.map(({ ready }) => ready)]);
  await waitForAll(
    context,
    [
      ...workers.map((child) => ({ what: child.name, done: child.ready })),
      { what: 'Envoy to accept the configuration', done: controlPlane.listening },
      { what: 'the MCP listener to answer', done: serving.then(() => answers(context, port, controlPlane.tls())) },
    ],
    [envoy.ready, controlPlane.refused],
  );
  envoy.confirm();

  const report: UpReport = {
    mcpUrl: `${originOf(controlPlane.tls() ? 'https' : 'http', options.host, port)}/mcp`,
    adminUrl: originOf('http', options.adminHost, adminPort),
    pid: process.pid,
    ...(controlPlane.firstKey() === undefined ? {} : { firstKey: controlPlane.firstKey() as string }),
  };
  return { report, adminToken: newToken };
}

/** The demo server is there only where the operator brought no configuration. */
async function chooseAll(
  options: UpOptions,
): Promise<{ port: number; adminPort: number; demoPort: number | undefined }> {
  for (const flag of ['workers', 'relays'] as const) {
    const count = options[flag];
    if (Number.isInteger(count) && count >= 1 && count <= 64) continue;
    throw new StartError(`--${flag} must be a whole number from 1 to 64, not ${count}.`);
  }
  const wanted = [
    { host: options.host, port: options.port, flag: '--port' },
    { host: options.adminHost, port: options.adminPort, flag: '--admin-port' },
  ];
  if (!options.config && !options.mcpConfig) wanted.push({ host: '127.0.0.1', port: 0, flag: '--port' });
  const [port = 0, adminPort = 0, demoPort] = await choosePorts(wanted);
  return { port, adminPort, demoPort };
}

/** What children get in their environment; the secrets are made on the first start. */
function secretsFor({ dataDir }: StartContext): { env: NodeJS.ProcessEnv; newToken: string | undefined } {
  const { SALLYPORT_SECRET_KEY, SALLYPORT_ADMIN_TOKEN } = process.env;
  const key = SALLYPORT_SECRET_KEY || readOrCreateSecret(join(dataDir, 'secret-key'), newSecretKey).value;
  const token = SALLYPORT_ADMIN_TOKEN
    ? { value: SALLYPORT_ADMIN_TOKEN, created: false }
    : readOrCreateSecret(join(dataDir, 'admin-token'), newAdminToken);
  const env = { ...process.env, SALLYPORT_SECRET_KEY: key, SALLYPORT_ADMIN_TOKEN: token.value };
  return { env, newToken: token.created ? token.value : undefined };
}

async function openDatabase(context: StartContext): Promise<string> {
  const { deployment, progress } = context;
  const external = process.env.DATABASE_URL;
  progress(external ? 'connecting to DATABASE_URL' : 'starting Postgres');
  const onPid = (pid: number | undefined): void => deployment.notePid('postgres', pid);
  const database = await deployment.adopt(
    external
      ? openExternalDatabase(external, progress)
      : openEmbeddedDatabase({ ...context, onProgress: progress, onPid }),
  );
  stopIfTold(deployment);
  return database.url;
}

function controlPlaneArgs(
  context: StartContext,
  port: number,
  adminPort: number,
  demoPort: number | undefined,
): string[] {
  const { options, dataDir, runtimeDir } = context;
  const args = ['control-plane', '--runtime-dir', runtimeDir, '--data-dir', dataDir];
  args.push('--admin-host', options.adminHost, '--admin-port', String(adminPort));
  args.push('--mcp-host', options.host, '--mcp-port', String(port));
  if (options.config) args.push('--config', resolve(options.config));
  if (options.mcpConfig) args.push('--mcp-config', resolve(options.mcpConfig));
  if (demoPort !== undefined) args.push('--demo-url', `http://127.0.0.1:${demoPort}/mcp`);
  return args;
}

function workerArgs({ runtimeDir, options }: StartContext, role: 'processor' | 'relay', index: number): string[] {
  return [role, '--runtime-dir', runtimeDir, '--index', String(index), '--mcp-host', options.host];
}

const counted = (count: number, what: string): string => (count === 1 ? `the ${what}` : `${count} ${what}s`);

/** The control plane, and what it has said so far. */
interface WatchedControlPlane {
  readonly child: Child;
  /** Settles once Envoy has accepted the listener. */
  readonly listening: Promise<void>;
  /** Fails with the reason once Envoy has refused the listener, which waiting does not cure. */
  readonly refused: Promise<never>;
  tls(): boolean;
  firstKey(): string | undefined;
}

function watchControlPlane(context: StartContext, args: string[], env: NodeJS.ProcessEnv): WatchedControlPlane {
  let tls = false;
  let firstKey: string | undefined;
  let announce = (): void => {};
  let refuse = (_error: Error): void => {};
  const listening = new Promise<void>((done) => {
    announce = done;
  });
  const refused = new Promise<never>((_, reject) => {
    refuse = reject;
  });
  // Later refusals are for the log and the doctor: what was accepted before keeps serving.
  refused.catch(() => {});
  const child = addRole(context, 'control-plane', args, env, (message) => {
    firstKey ??= message.firstKey;
    if (message.type === 'refused')
      refuse(new StartError(`Envoy refuses the MCP listener, so nothing would be served: ${message.reason}`));
    if (message.type !== 'listening') return;
    tls = message.tls ?? false;
    announce();
  });
  return { child, listening, refused, tls: () => tls, firstKey: () => firstKey };
}

function addRole(
  context: StartContext,
  name: string,
  args: string[],
  env: NodeJS.ProcessEnv,
  onMessage: (message: ChildMessage) => void = () => {},
): Child {
  return context.deployment.add({ name, start: () => startRole(MAIN, args, env), onMessage });
}

function addEnvoy({ options, runtimeDir, sockets, deployment }: StartContext, path: string): Child {
  const { workers, relays, envoyConcurrency: concurrency = workers } = options;
  const logLevel = process.env.SALLYPORT_ENVOY_LOG_LEVEL || 'warning';
  const command = prepareEnvoy({ path, runtimeDir, sockets, workers, relays, concurrency, logLevel });
  return deployment.add({ name: 'envoy', start: () => startEnvoy(command) });
}

/** Waits for everything at once and tells, from time to time, what is missing; a failure of `watched` ends the wait. */
async function waitForAll(
  { progress }: StartContext,
  conditions: readonly { what: string; done: Promise<void> }[],
  watched: readonly Promise<void>[],
): Promise<void> {
  const missing = new Set(conditions.map(({ what }) => what));
  const reminder = setInterval(() => progress(`still waiting for ${[...missing].join(', ')}`), REMINDER_MS).unref();
  const each = conditions.map(({ what, done }) => done.then(() => missing.delete(what)));
  try {
    const failures = watched.map((failing) => failing.then(() => new Promise<never>(() => {})));
    await Promise.race([Promise.all(each), ...failures]);
  } finally {
    clearInterval(reminder);
  }
}

/** Envoy's own checks come first: a request that finds no processor would only fill its log with errors. */
async function answers(context: StartContext, port: number, tls: boolean): Promise<void> {
  const { options, sockets, deployment } = context;
  const host = reachableHost(options.host);
  const isServing = async (): Promise<boolean> =>
    (await healthyMembers(sockets.envoyAdmin, PROCESSOR_CLUSTER)) >= options.workers &&
    (await healthyMembers(sockets.envoyAdmin, RELAY_CLUSTER)) >= options.relays &&
    listenerAnswers({ host, port, tls });
  while (!(await isServing())) {
    stopIfTold(deployment);
    await new Promise((done) => setTimeout(done, 30));
  }
}

function stopIfTold(deployment: Deployment): void {
  if (deployment.stopping) throw new StartError('Told to stop while starting.');
}
