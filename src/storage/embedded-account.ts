import { spawnSync } from 'node:child_process';

/** Postgres refuses to run as root; this is who it runs as then. Undefined elsewhere means: as ourselves. */
export interface Account {
  readonly uid: number;
  readonly gid: number;
}

/** Where root keeps what another account must reach and cannot reach in the clone or the data directory. */
export const PRIVATE_ROOT = '/var/lib/sallyport';

/** The account for Postgres: the system's `postgres` user, else `nobody`; undefined when we are not root. */
export function postgresAccount(): Account | undefined {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of ['postgres', 'nobody']) {
    const uid = idOf('-u', name);
    const gid = idOf('-g', name);
    if (uid && gid) return { uid, gid };
  }
  throw new Error(
    'Postgres must not run as root, and this system has neither a user "postgres" nor "nobody". Add one (useradd --system postgres), start as another user, or set DATABASE_URL.',
  );
}

function idOf(flag: string, user: string): number | undefined {
  const { status, stdout } = spawnSync('id', [flag, user], { encoding: 'utf8' });
  return status === 0 ? Number(stdout) : undefined;
}

/** Whether the account can execute the file, or enter the directory: asked of the kernel, which knows ACLs and mounts. */
export function canExecute(path: string, account: Account | undefined): boolean {
  const { status } = spawnSync('/bin/sh', ['-c', 'test -x "$1"', 'sh', path], {
    cwd: '/',
    stdio: 'ignore',
    ...account,
  });
  return status === 0;
}
