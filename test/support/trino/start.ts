/**
 * One real Trino for all test files of a run: whoever comes first starts it, and it ends by itself once nobody holds its
 * leash and the run is over (TestTrino.java). What it needs besides this clone — a JDK and the jars, by Maven — is looked for;
 * where it is missing, `missing` says what, and tests that need it are skipped with that reason.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import type { Test } from 'tap';
import { packageRoot } from '../../../src/package-root.ts';
import { eventually } from '../eventually.ts';

export interface RunningTrino {
  readonly missing: false;
  readonly url: string;
  readonly pid: number;
  /**
   * Of each pair of statements: `same Query` where Trino's parser sees the same tree but for literals, `differs Query Insert`,
   * or `error …`. One may be given twice, for its kind.
   */
  judge(pairs: readonly (readonly [string, string])[]): Promise<readonly string[]>;
}

/** What Trino 476 runs on. */
const JAVA_AT_LEAST = 24;
const MAVEN_MS = 200_000;
const START_MS = 150_000;

const home = join(packageRoot, 'test/support/trino');

export async function startTrino(t: Test): Promise<RunningTrino | { readonly missing: string }> {
  const java = findJava();
  if (java === undefined) return { missing: `Trino needs a JDK ${JAVA_AT_LEAST} or later (JAVA_HOME or /usr/lib/jvm)` };
  const sources = ['pom.xml', 'TestTrino.java'].map((name) => readFileSync(join(home, name)));
  const version = createHash('sha256').update(Buffer.concat(sources)).digest('hex').slice(0, 12);
  const directory = join(tmpdir(), `sallyport-trino-${process.getuid?.() ?? 0}-${version}`);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const file = join(directory, 'running.json');

  return await alone(join(directory, 'lock'), async () => {
    if (!(await isUp(file))) {
      const classpath = findJars(directory);
      if (classpath === undefined) return { missing: 'Trino needs Maven (mvn) and its jars from Maven Central' };
      launch(java, classpath, file);
      await eventually(() => isUp(file), START_MS);
    }
    const { url, side, pid } = running(file);
    const leash = get(`${side}/leash`);
    leash.on('error', () => {});
    await new Promise((resolve) => leash.once('response', (response) => resolve(response.resume())));
    t.teardown(() => leash.destroy());
    return { missing: false, url, pid, judge: (pairs) => judge(side, pairs) } as const;
  });
}

async function judge(side: string, pairs: readonly (readonly [string, string])[]): Promise<readonly string[]> {
  const response = await fetch(`${side}/judge`, { method: 'POST', body: JSON.stringify(pairs) });
  return (await response.json()) as string[];
}

const running = (file: string): { url: string; side: string; pid: number } => JSON.parse(readFileSync(file, 'utf8'));

async function isUp(file: string): Promise<boolean> {
  if (!existsSync(file)) return false;
  const { url } = running(file);
  const info = await fetch(`${url}/v1/info`).catch(() => undefined);
  return info?.ok === true && ((await info.json()) as { starting: boolean }).starting === false;
}

function launch(java: string, classpath: string, file: string): void {
  rmSync(file, { force: true });
  const log = openSync(join(dirname(file), 'log'), 'w');
  // Quick to start rather than quick at length.
  const options = ['--add-modules', 'jdk.incubator.vector', '-Xmx2g', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'];
  const program = [join(home, 'TestTrino.java'), file, String(process.ppid)];
  const child = spawn(java, [...options, '-cp', classpath, ...program], {
    detached: true,
    stdio: ['ignore', log, log],
  });
  child.unref();
}

function findJava(): string | undefined {
  const homes = [process.env.JAVA_HOME, ...['/usr/lib/jvm', '/opt/java'].flatMap(children), ...onPath('java')];
  const fit = homes.find((one) => one !== undefined && javaVersion(one) >= JAVA_AT_LEAST);
  return fit === undefined ? undefined : join(fit, 'bin/java');
}

function javaVersion(javaHome: string): number {
  const release = join(javaHome, 'release');
  if (!existsSync(release) || !existsSync(join(javaHome, 'bin/javac'))) return 0;
  return Number(/^JAVA_VERSION="(\d+)/m.exec(readFileSync(release, 'utf8'))?.[1] ?? 0);
}

const children = (directory: string): string[] =>
  existsSync(directory) ? readdirSync(directory).map((name) => join(directory, name)) : [];

/** Homes of programs `bin/<name>` on the path. */
function onPath(name: string): string[] {
  const files = (process.env.PATH ?? '').split(delimiter).map((directory) => join(directory, name));
  return files.filter((file) => existsSync(file)).map((file) => dirname(dirname(realpathSync(file))));
}

/** The class path, worked out by Maven once. */
function findJars(directory: string): string | undefined {
  const file = join(directory, 'classpath');
  const isWhole = (): boolean =>
    existsSync(file) &&
    readFileSync(file, 'utf8')
      .split(':')
      .every((jar) => existsSync(jar));
  const until = Date.now() + MAVEN_MS;
  // A registry that does not answer in time may do so the next time; what has been fetched stays.
  for (let tries = 0; tries < 3 && !isWhole() && Date.now() < until; tries++) {
    const goal = ['dependency:build-classpath', `-Dmdep.outputFile=${file}`, '-Dmdep.includeScope=runtime'];
    const options = { stdio: 'ignore', timeout: until - Date.now() } as const;
    const { error } = spawnSync('mvn', ['-q', '-B', '-f', join(home, 'pom.xml'), ...goal], options);
    if ((error as NodeJS.ErrnoException | undefined)?.code === 'ENOENT') return undefined;
  }
  return isWhole() ? readFileSync(file, 'utf8') : undefined;
}

/** One at a time among processes: the file holds the id of who is at it. */
async function alone<T>(lock: string, work: () => Promise<T>): Promise<T> {
  await eventually(() => take(lock), MAVEN_MS + START_MS);
  try {
    return await work();
  } finally {
    rmSync(lock, { force: true });
  }
}

function take(lock: string): boolean {
  try {
    writeFileSync(lock, String(process.pid), { flag: 'wx' });
    return true;
  } catch {
    const holder = existsSync(lock) ? Number(readFileSync(lock, 'utf8')) : 0;
    if (holder > 0 && !isAlive(holder)) rmSync(lock, { force: true });
    return false;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
