import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { makePrivate } from '../runtime/private-directory.ts';
import { type Account, canExecute, PRIVATE_ROOT } from './embedded-account.ts';
import type { PostgresBinaries } from './embedded-binaries.ts';

/** The superuser and the database of the embedded cluster. */
export const CLUSTER_USER = 'sallyport';

/** A cluster that can be started. */
export interface Cluster {
  /** PGDATA, its real path. */
  readonly directory: string;
  readonly password: string;
}

/** The cluster of a data directory, created on first use; a half-made one from an interrupted start is made anew. */
export async function openCluster(
  dataDir: string,
  binaries: PostgresBinaries,
  account: Account | undefined,
  onProgress: (message: string) => void,
): Promise<Cluster> {
  const home = realpathSync(placeCluster(dataDir, account));
  const directory = join(home, 'cluster');
  const passwordFile = join(dataDir, 'postgres-password');
  if (existsSync(directory)) {
    checkMajor(directory, binaries.major);
    return { directory, password: readPassword(passwordFile, directory) };
  }
  onProgress('creating the database cluster');
  const password = randomBytes(24).toString('base64url');
  const partial = join(home, 'cluster.new');
  rmSync(partial, { recursive: true, force: true });
  await initialise(partial, password, binaries, account);
  writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 });
  renameSync(partial, directory);
  return { directory, password };
}

/**
 * The directory that holds the cluster, owned by its account. It is in the data directory, unless the account cannot
 * get there (under /root, say): then it lies under /var/lib/sallyport, and the data directory has a link to it.
 */
function placeCluster(dataDir: string, account: Account | undefined): string {
  const inside = join(dataDir, 'postgres');
  const found = lstatSync(inside, { throwIfNoEntry: false });
  if (found?.isSymbolicLink()) {
    const target = readlinkSync(inside);
    if (existsSync(target)) return target;
    throw new Error(
      `The database of ${dataDir} was kept in ${target}, which is gone. Restore that directory, or remove ${inside} to begin with an empty database.`,
    );
  }
  if (found) {
    if (canExecute(inside, account)) return inside;
    throw new Error(
      `The account that runs Postgres (uid ${account?.uid}) cannot enter ${inside}. Make its parent directories passable (chmod o+x), or move the data directory elsewhere.`,
    );
  }
  if (canExecute(dataDir, account)) return makePrivate(inside, account);
  mkdirSync(PRIVATE_ROOT, { recursive: true, mode: 0o755 });
  const outside = makePrivate(mkdtempSync(join(PRIVATE_ROOT, `${basename(dataDir).replace(/^\.+/, '')}-`)), account);
  symlinkSync(outside, inside);
  return outside;
}

function checkMajor(directory: string, major: string): void {
  const made = readFileSync(join(directory, 'PG_VERSION'), 'utf8').trim();
  if (made === major) return;
  throw new Error(
    `The database in ${directory} was made by Postgres ${made}, and the bundled one is ${major}. Dump it with the release of Sallyport that made it, move the directory away, and restore the dump.`,
  );
}

function readPassword(file: string, directory: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (cause) {
    throw new Error(
      `${file}, the password of the database in ${directory}, cannot be read. Restore it from a backup, or move that directory away to begin with an empty database.`,
      { cause },
    );
  }
}

/** `initdb`: UTF-8, code point order with Unicode character classes, checksums, password authentication. */
async function initialise(
  directory: string,
  password: string,
  binaries: PostgresBinaries,
  account: Account | undefined,
): Promise<void> {
  const passwordFile = `${directory}.password`;
  writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 });
  if (account) chownSync(passwordFile, account.uid, account.gid);
  const locale = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'];
  const access = [`--username=${CLUSTER_USER}`, '--auth=scram-sha-256', `--pwfile=${passwordFile}`];
  try {
    const { code, output } = await run(binaries.initdb, ['-D', directory, ...access, ...locale], account);
    if (code !== 0) throw new Error(`initdb could not create the database in ${directory}:\n${output.trim()}`);
  } finally {
    rmSync(passwordFile, { force: true });
  }
}

function run(
  program: string,
  args: string[],
  account: Account | undefined,
): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const env = { PATH: '/usr/bin:/bin', LC_ALL: 'C' };
    const child = spawn(program, args, { cwd: '/', env, stdio: ['ignore', 'pipe', 'pipe'], ...account });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk) => {
        output += chunk;
      });
    }
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, output }));
  });
}
