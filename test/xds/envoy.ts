import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { pino } from 'pino';
import { type Sockets, socketsIn } from '../../src/runtime/sockets.ts';
import { type AdsServer, startAds } from '../../src/xds/ads.ts';
import { envoyBootstrap } from '../../src/xds/bootstrap.ts';

/** The Envoy binary of these tests: ENVOY_PATH, else `envoy` on PATH. */
export function envoyPath(): string {
  const named = process.env.ENVOY_PATH;
  const candidates = named ? [named] : (process.env.PATH ?? '').split(delimiter).map((dir) => join(dir, 'envoy'));
  for (const candidate of candidates) {
    try {
      accessSync(candidate, constants.X_OK);
      return candidate;
    } catch {}
  }
  throw new Error('These tests need Envoy 1.40: set ENVOY_PATH to the binary, or have envoy on PATH');
}

export const quiet = pino({ level: 'silent' });

/** A real Envoy started from our bootstrap, with an ADS server in this process. */
export interface TestEnvoy {
  readonly directory: string;
  readonly sockets: Sockets;
  readonly ads: AdsServer;
  /** What Envoy has logged so far. */
  log(): string;
  /** GET on Envoy's admin socket. */
  admin(path: string): Promise<string>;
  /** Ends the ADS server and starts another one on the same socket, with nothing published. */
  restartAds(): Promise<AdsServer>;
  /** Kills Envoy (SIGKILL) and starts it again. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

export async function startEnvoy({ workers = 1 }: { workers?: number } = {}): Promise<TestEnvoy> {
  const binary = envoyPath();
  const directory = mkdtempSync(join(tmpdir(), 'sp-xds-'));
  const sockets = socketsIn(directory);
  let ads = await startAds({ socketPath: sockets.xds, log: quiet });
  const config = join(directory, 'bootstrap.json');
  writeFileSync(config, JSON.stringify(envoyBootstrap({ sockets, workers, relays: 1, nodeId: 'test' })));
  let log = '';
  const start = () => {
    const flags = ['-c', config, '--concurrency', '1', '--disable-hot-restart', '-l', 'warn'];
    const child = spawn(binary, flags, { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk) => {
        log += chunk;
      });
    return child;
  };
  let child = start();
  return {
    directory,
    sockets,
    get ads() {
      return ads;
    },
    log: () => log,
    admin: (path) => overSocket(sockets.envoyAdmin, path),
    async restartAds() {
      await ads.close();
      ads = await startAds({ socketPath: sockets.xds, log: quiet });
      return ads;
    },
    async restart() {
      await end(child);
      child = start();
    },
    async stop() {
      await end(child);
      await ads.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await exited;
}

function overSocket(socketPath: string, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ socketPath, path }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk) => {
        text += chunk;
      });
      response.on('end', () => resolve(text));
    });
    request.on('error', reject).end();
  });
}
