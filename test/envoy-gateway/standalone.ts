import { execFile, spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { eventually } from '../support/eventually.ts';

/** Ports that Envoy Gateway itself listens on in standalone mode; they cannot be chosen. */
const FIXED_PORTS = [18000, 18001, 18002, 19000, 8081];

/**
 * Starts Envoy Gateway without a cluster: it reads its resources from files and runs Envoy on this machine.
 * Returns once the Gateway's listener is open.
 */
export async function startEnvoyGateway(options: {
  readonly program: string;
  readonly envoy: string;
  readonly envoyVersion: string;
  readonly manifests: readonly object[];
  readonly port: number;
}): Promise<{ log(): string; stop(): Promise<void> }> {
  for (const port of FIXED_PORTS) {
    if (await isOpen(port)) throw new Error(`Port ${port} is in use, and Envoy Gateway needs it.`);
  }
  const home = mkdtempSync(join(tmpdir(), 'sp-eg-'));
  const host = Object.fromEntries(
    ['config', 'data', 'state', 'run'].map((name) => [name === 'run' ? 'runtimeDir' : `${name}Home`, join(home, name)]),
  );
  const versionHome = join(home, 'data', 'envoy-versions', options.envoyVersion, 'bin');
  mkdirSync(versionHome, { recursive: true });
  copyFileSync(options.envoy, join(versionHome, 'envoy'));
  mkdirSync(join(home, 'resources'));
  // YAML documents; JSON is YAML.
  const text = options.manifests.map((manifest) => JSON.stringify(manifest)).join('\n---\n');
  writeFileSync(join(home, 'resources', 'sallyport.yaml'), text);
  writeFileSync(
    join(home, 'standalone.yaml'),
    JSON.stringify({
      apiVersion: 'gateway.envoyproxy.io/v1alpha1',
      kind: 'EnvoyGateway',
      gateway: { controllerName: 'gateway.envoyproxy.io/gatewayclass-controller' },
      provider: {
        type: 'Custom',
        custom: {
          resource: { type: 'File', file: { paths: [join(home, 'resources')] } },
          infrastructure: { type: 'Host', host },
        },
      },
      logging: { level: { default: 'info' } },
      extensionApis: { enableBackend: true },
    }),
  );
  await promisify(execFile)(options.program, ['certgen', '--local', '--config-home', host.configHome ?? '']);

  const child = spawn(options.program, ['server', '--config-path', join(home, 'standalone.yaml')]);
  let log = '';
  child.stdout.on('data', (bytes) => (log += bytes));
  child.stderr.on('data', (bytes) => (log += bytes));
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM');
    await ended;
    await eventually(async () => !(await isOpen(options.port)));
    rmSync(home, { recursive: true, force: true });
  };
  try {
    await eventually(() => {
      if (child.exitCode !== null) throw new Error(`Envoy Gateway ended with exit code ${child.exitCode}`);
      return isOpen(options.port);
    }, 60_000);
  } catch (error) {
    await stop();
    throw new Error(`The Gateway did not open its port. Envoy Gateway said:\n${log.slice(-4000)}`, { cause: error });
  }
  return { log: () => log, stop };
}

export function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}
