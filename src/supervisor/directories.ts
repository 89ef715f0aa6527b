import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { makePrivate } from '../runtime/private-directory.ts';
import { StartError } from './start-error.ts';

/**
 * Makes the data directory. It is for its owner alone; only where Postgres has to run as another account (started as
 * root) may others pass through it, and still neither list it nor read the secrets in it.
 */
export function prepareDataDir(wanted: string): string {
  const directory = resolve(wanted);
  try {
    mkdirSync(directory, { recursive: true, mode: process.getuid?.() === 0 ? 0o711 : 0o700 });
    return realpathSync(directory);
  } catch (error) {
    throw new StartError(
      `The data directory ${directory} cannot be made: ${(error as Error).message}. Choose another with --data-dir.`,
    );
  }
}

/**
 * The directory of the unix sockets, emptied. Its name follows from the data directory and the user, and is short:
 * a socket's path may have about 100 bytes.
 */
export function prepareRuntimeDir(dataDir: string): string {
  const directory = runtimeDirOf(dataDir);
  makePrivate(directory);
  for (const name of readdirSync(directory)) rmSync(join(directory, name), { recursive: true, force: true });
  return directory;
}

/** Where the sockets and `children.json` of the `up` on this data directory are. */
export function runtimeDirOf(dataDir: string): string {
  const hash = createHash('sha256').update(`${process.getuid?.()}:${dataDir}`).digest('hex').slice(0, 12);
  return join(socketRoot(), `sallyport-${hash}`);
}

/** TMPDIR, unless its name is too long, or root has a private one that the account of Postgres could not enter. */
function socketRoot(): string {
  const preferred = tmpdir();
  const passable = process.getuid?.() !== 0 || (statSync(preferred, { throwIfNoEntry: false })?.mode ?? 0) & 0o001;
  return preferred.length <= 50 && passable ? preferred : '/tmp';
}

/** The content of a secret file of the data directory, made up and stored with mode 0600 if there is none. */
export function readOrCreateSecret(file: string, create: () => string): { value: string; created: boolean } {
  try {
    const value = create();
    writeFileSync(file, `${value}\n`, { mode: 0o600, flag: 'wx', flush: true });
    return { value, created: true };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  const value = readFileSync(file, 'utf8').trim();
  if (value === '')
    throw new StartError(`${file} is empty. Restore it from a backup, or remove it to have a new one made.`);
  return { value, created: false };
}

/** 32 random bytes as hex: a key that `SALLYPORT_SECRET_KEY` would accept. */
export function newSecretKey(): string {
  return randomBytes(32).toString('hex');
}

/** An admin token; its prefix lets secret scanners and people recognise it. */
export function newAdminToken(): string {
  return `sp_admin_${randomBytes(32).toString('base64url')}`;
}
