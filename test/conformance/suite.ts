/**
 * The official conformance suite, run under the Node it needs. Both are installed apart from our own packages, from a
 * lock file of their own: the suite does not start on Node 20, and a second `node` among our packages would come first
 * on the PATH of every npm script.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { packageRoot } from '../../src/package-root.ts';

/** Where its package.json and lock file are. */
const MANIFESTS = join(packageRoot, 'test/conformance/suite');
/** The oldest Node that it starts on. */
const OLDEST_NODE = 22;

/** A set takes seconds. One that takes this long, in milliseconds, waits for something that does not come. */
const RUN_LIMIT_MS = 240_000;

/** `conformance` knows the revisions until 2026-07-28; `conformance-stable` is the last release not marked alpha. */
export type SuiteName = 'conformance' | 'conformance-stable';

export interface Suite {
  /** Where the package is, for the lists it brings along. */
  directoryOf(name: SuiteName): string;
  /** Runs it to its end; whether anything failed is in what it writes, not in how it ends. */
  run(name: SuiteName, args: readonly string[]): Promise<{ readonly output: string }>;
}

/** Installs it where that was not done yet, which takes some ten seconds and the npm registry. */
export async function installSuite(): Promise<Suite> {
  const home = await installed();
  const node = nodeIn(home);
  const directoryOf = (name: SuiteName) => join(home, 'node_modules', name);
  return {
    directoryOf,
    run: async (name, args) =>
      runToEnd(node, [join(directoryOf(name), 'dist/index.js'), ...args], { cwd: home, timeout: RUN_LIMIT_MS }),
  };
}

/** A directory for each lock file. Filled beside its place and renamed: what is there is complete. */
async function installed(): Promise<string> {
  const lock = await readFile(join(MANIFESTS, 'package-lock.json'));
  const parent = join(packageRoot, '.sallyport', 'conformance');
  const home = join(parent, createHash('sha256').update(lock).digest('hex').slice(0, 12));
  if (existsSync(home)) return home;
  await mkdir(parent, { recursive: true });
  const draft = await mkdtemp(join(parent, '.draft-'));
  for (const file of ['package.json', 'package-lock.json']) await copyFile(join(MANIFESTS, file), join(draft, file));
  // Under npm our own settings are in the environment; that of engines would refuse what Node 22 is fetched for.
  const { code, output } = await runToEnd('npm', ['ci', '--no-engine-strict', '--no-audit', '--no-fund'], {
    cwd: draft,
  });
  if (code !== 0) {
    await rm(draft, { recursive: true, force: true });
    throw new Error(`The conformance suite could not be installed; check that npm reaches its registry.\n${output}`);
  }
  // Another process may have been faster: then its copy serves us as well.
  await rename(draft, home).catch(() => rm(draft, { recursive: true, force: true }));
  return home;
}

function nodeIn(home: string): string {
  if (Number(process.versions.node.split('.')[0]) >= OLDEST_NODE) return process.execPath;
  const node = join(home, 'node_modules', `node-${process.platform}-${process.arch}`, 'bin/node');
  if (existsSync(node)) return node;
  throw new Error(`The suite needs Node ${OLDEST_NODE}, which npm has not for this platform: run this with it.`);
}

function runToEnd(
  command: string,
  args: readonly string[],
  options: { readonly cwd: string; readonly timeout?: number },
): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (chunk: string) => {
        output += chunk;
      });
    }
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, output }));
  });
}
