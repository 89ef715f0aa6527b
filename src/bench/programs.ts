import { type ChildProcess, execFile, fork, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { goLoad } from './go-load.ts';
import { type Load, nodeLoad } from './load.ts';
import { TOOL_COUNT } from './upstream.ts';

/** The upstream under load, and what puts the load on it. */
export interface Programs {
  readonly kind: 'go' | 'node';
  readonly load: Load;
  readonly upstream: { readonly url: string; readonly pid: number; close(): void };
}

/**
 * Starts the upstream and chooses the load generator: the Go programs in `toolsDirectory` (folders `loadgen/` and
 * `upstream/`) where it exists and Go can build them, else our own in Node, which need nothing but take more CPU.
 */
export async function startPrograms(options: {
  toolsDirectory: string | undefined;
  cacheDirectory: string;
  /** The Authorization header that the upstream demands. */
  authorization: string;
  progress: (line: string) => void;
}): Promise<Programs> {
  const { toolsDirectory, cacheDirectory, authorization, progress } = options;
  if (toolsDirectory && existsSync(join(toolsDirectory, 'loadgen')) && existsSync(join(toolsDirectory, 'upstream'))) {
    try {
      const loadgen = await buildGo(join(toolsDirectory, 'loadgen'), cacheDirectory, progress);
      const upstream = await buildGo(join(toolsDirectory, 'upstream'), cacheDirectory, progress);
      return { kind: 'go', load: goLoad(loadgen), upstream: await startGoUpstream(upstream, authorization) };
    } catch (error) {
      progress(`The Go programs cannot be used (${(error as Error).message.trim()}); using the built-in ones.`);
    }
  }
  return { kind: 'node', load: nodeLoad, upstream: await startNodeUpstream(authorization) };
}

/** Builds the Go program in `source` once; again when a source file is newer than the binary. */
async function buildGo(source: string, cacheDirectory: string, progress: (line: string) => void): Promise<string> {
  const binary = join(cacheDirectory, `bench-${source.split('/').at(-1)}`);
  const newest = Math.max(...readdirSync(source).map((name) => statSync(join(source, name)).mtimeMs));
  if (existsSync(binary) && statSync(binary).mtimeMs > newest) return binary;
  progress(`Building ${source} with Go…`);
  mkdirSync(dirname(binary), { recursive: true });
  await promisify(execFile)('go', ['build', '-o', binary, '.'], { cwd: source });
  return binary;
}

async function startGoUpstream(binary: string, authorization: string): Promise<Programs['upstream']> {
  const port = await freePort();
  const require = `Authorization=${authorization}`;
  const child = spawn(binary, ['-addr', `127.0.0.1:${port}`, '-tools', String(TOOL_COUNT), '-require', require], {
    stdio: 'ignore',
  });
  const url = `http://127.0.0.1:${port}/mcp`;
  for (let tries = 0; !(await answers(url)); tries++) {
    if (child.exitCode !== null || tries > 100) throw new Error(`${binary} does not answer on port ${port}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return { url, pid: child.pid ?? 0, close: () => child.kill() };
}

async function startNodeUpstream(authorization: string): Promise<Programs['upstream']> {
  const program = new URL(`./upstream-process${extname(import.meta.url)}`, import.meta.url);
  const child = fork(fileURLToPath(program), [authorization], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  const url = await firstUrl(child);
  return { url, pid: child.pid ?? 0, close: () => child.kill() };
}

function firstUrl(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    child.once('message', (message: { url: string }) => resolve(message.url));
    child.once('exit', (code) => reject(new Error(`The benchmark's upstream ended with exit code ${code}.`)));
  });
}

async function answers(url: string): Promise<boolean> {
  return fetch(url).then(
    async (response) => {
      await response.arrayBuffer();
      return true;
    },
    () => false,
  );
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
