import { readdirSync, readlinkSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import pg from 'pg';
import { type Leash, signal, startOnLeash } from '../runtime/leash.ts';
import { makePrivate } from '../runtime/private-directory.ts';
import type { Logger } from '../telemetry/log.ts';
import { type Account, canExecute, postgresAccount } from './embedded-account.ts';
import { findBinaries } from './embedded-binaries.ts';
import { CLUSTER_USER, type Cluster, openCluster } from './embedded-cluster.ts';

/** A running Postgres of our own. */
export interface EmbeddedPostgres {
  readonly url: string;
  /** The postmaster. */
  readonly pid: number;
  /** Settles when the server is gone, for whatever reason. */
  readonly exited: Promise<void>;
  /** Fast shutdown: clients are cut off, everything committed is on disk. Kills after `withinMs`. */
  stop(withinMs?: number): Promise<void>;
}

/** What {@link startEmbeddedPostgres} needs to know. */
export interface EmbeddedPostgresOptions {
  readonly dataDir: string;
  /** The socket goes into a directory beside this one: its account need not enter ours. */
  readonly runtimeDir: string;
  readonly log: Logger;
  readonly onProgress: (message: string) => void;
}

/**
 * A real Postgres from npm: nothing to install, one unix socket and no port. It ends when this process does, even by
 * SIGKILL, and a start after a crash waits for what is still ending and recovers.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { dataDir, log, onProgress } = options;
  const account = postgresAccount();
  const binaries = findBinaries(account, dataDir);
  const cluster = await openCluster(dataDir, binaries, account, onProgress);
  await endPredecessor(cluster.directory, onProgress);
  const socketDir = prepareSocketDir(`${options.runtimeDir}-pg`, account);
  const server = startOnLeash(binaries.postgres, settings(cluster.directory, socketDir), {
    ...account,
    env: { LC_ALL: 'C' },
    stderr: 'pipe',
  });
  const complaints = collectLog(server, log);
  try {
    await waitUntilReady(server, cluster, socketDir, complaints, onProgress);
  } catch (error) {
    server.release();
    throw error;
  }
  const pid = (await server.pid) ?? 0;
  return {
    url: urlOf(cluster, socketDir, CLUSTER_USER),
    pid,
    exited: server.ended.then(() => {}),
    stop: (withinMs = 4_000) => stop(server, pid, withinMs),
  };
}

/**
 * Durability pinned on, everything else sized for one small machine: a control plane and a few workers with pools of
 * eight. Statement texts stay out of the log, because they may carry secrets.
 */
function settings(directory: string, socketDir: string): string[] {
  const values = {
    listen_addresses: '',
    unix_socket_directories: socketDir,
    unix_socket_permissions: '0700',
    fsync: 'on',
    full_page_writes: 'on',
    synchronous_commit: 'on',
    max_connections: '100',
    shared_buffers: '64MB',
    max_wal_size: '512MB',
    io_method: 'sync',
    jit: 'off',
    timezone: 'UTC',
    log_timezone: 'UTC',
    log_min_messages: 'warning',
    log_min_error_statement: 'panic',
    log_checkpoints: 'off',
  };
  return ['-D', directory, ...Object.entries(values).flatMap(([name, value]) => ['-c', `${name}=${value}`])];
}

/** Passes warnings on to the log, and keeps the last lines for the message of a start that fails. */
function collectLog(server: Leash, log: Logger): string[] {
  const recent: string[] = [];
  let rest = '';
  server.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      recent.push(line);
      if (recent.length > 20) recent.shift();
      // A client that connects during start-up is told to wait: ours does so on purpose.
      const routine = line.includes(' LOG: ') || line.includes('the database system is ');
      log[routine ? 'debug' : 'warn']({ postgres: line }, 'postgres');
    }
  });
  return recent;
}

/** Answers queries, and has our database; replaying the log of a crash may take a while, so only its death ends the wait. */
async function waitUntilReady(
  server: Leash,
  cluster: Cluster,
  socketDir: string,
  complaints: string[],
  onProgress: (message: string) => void,
): Promise<void> {
  let ended = false;
  void server.ended.then(() => {
    ended = true;
  });
  const slow = setTimeout(() => onProgress('recovering the database'), 2_000);
  try {
    while (!ended) {
      const client = new pg.Client({
        connectionString: urlOf(cluster, socketDir, 'postgres'),
        connectionTimeoutMillis: 5_000,
      });
      client.on('error', () => {});
      try {
        await client.connect();
        const { rowCount } = await client.query('select from pg_database where datname = $1', [CLUSTER_USER]);
        if (rowCount === 0) await client.query(`create database ${CLUSTER_USER}`);
        return;
      } catch (error) {
        const { code } = error as { code?: string };
        if (code?.startsWith('28'))
          throw new Error('The embedded Postgres refuses the password in postgres-password.', { cause: error });
        await new Promise((resolve) => setTimeout(resolve, 15));
      } finally {
        await client.end().catch(() => {});
      }
    }
  } finally {
    clearTimeout(slow);
  }
  throw new Error(`Postgres did not start:\n${complaints.join('\n').trim()}`);
}

function urlOf({ password }: Cluster, socketDir: string, database: string): string {
  return `postgresql://${CLUSTER_USER}:${password}@/${database}?host=${encodeURIComponent(socketDir)}`;
}

/** Empty and the account's own. What a crash left there would only mislead the server. */
function prepareSocketDir(wanted: string, account: Account | undefined): string {
  const directory = makePrivate(wanted, account);
  if (!canExecute(directory, account)) {
    throw new Error(
      `The account that runs Postgres (uid ${account?.uid}) cannot enter ${directory}. Set TMPDIR to a directory every user can enter.`,
    );
  }
  for (const name of readdirSync(directory)) rmSync(join(directory, name), { force: true });
  return directory;
}

async function stop(server: Leash, pid: number, withinMs: number): Promise<void> {
  server.release();
  // Immediate shutdown loses nothing that was committed: the next start replays the log.
  const hurry = setTimeout(() => signal(pid, 'SIGQUIT'), withinMs);
  const kill = setTimeout(() => signal(pid, 'SIGKILL'), withinMs + 500);
  await server.ended;
  clearTimeout(hurry);
  clearTimeout(kill);
}

/**
 * A server of this cluster that outlived its supervisor is given time to finish, then told to. Processes are known by
 * their program and their working directory, which for every Postgres process is its cluster: a process id that was
 * reused by something else is never touched. Once none is left, a lock file that remained says nothing and goes.
 */
async function endPredecessor(directory: string, onProgress: (message: string) => void): Promise<void> {
  const started = Date.now();
  const steps: [number, NodeJS.Signals][] = [
    [1_000, 'SIGINT'],
    [5_000, 'SIGQUIT'],
    [7_000, 'SIGKILL'],
  ];
  for (;;) {
    const left = processesIn(directory);
    if (left === undefined) return;
    if (left.length === 0) break;
    const waited = Date.now() - started;
    if (waited > 12_000)
      throw new Error(
        `Postgres (pid ${left.join(', ')}) still uses ${directory} and does not end. End it and start again.`,
      );
    if (waited < 30) onProgress('waiting for the previous Postgres to end');
    if (steps[0] && waited > steps[0][0]) for (const pid of left) signal(pid, steps[0][1]);
    if (steps[0] && waited > steps[0][0]) steps.shift();
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  rmSync(join(directory, 'postmaster.pid'), { force: true });
}

/** Undefined where there is no /proc; Postgres's own lock file must do there. */
function processesIn(directory: string): number[] | undefined {
  let pids: string[];
  try {
    pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  } catch {
    return undefined;
  }
  return pids.map(Number).filter((pid) => {
    try {
      const program = basename(readlinkSync(`/proc/${pid}/exe`));
      return program.startsWith('postgres') && readlinkSync(`/proc/${pid}/cwd`) === directory;
    } catch {
      return false;
    }
  });
}
