import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import t, { type Test } from 'tap';
import { signal } from '../../src/runtime/leash.ts';
import { startEmbeddedPostgres } from '../../src/storage/embedded.ts';
import { canExecute, PRIVATE_ROOT, postgresAccount } from '../../src/storage/embedded-account.ts';
import { findBinaries, locatePackage } from '../../src/storage/embedded-binaries.ts';
import { runtimeDirOf } from '../../src/supervisor/directories.ts';
import { isAlive } from '../../src/supervisor/processes.ts';
import { eventually, log, processesMentioning, startNode, temporaryDirectory } from './support.ts';

const parentProgram = fileURLToPath(new URL('./postgres-parent.js', import.meta.url));
const isRoot = process.getuid?.() === 0;

function start(dataDir: string, onProgress: (message: string) => void = () => {}) {
  return startEmbeddedPostgres({ dataDir, runtimeDir: runtimeDirOf(dataDir), log, onProgress });
}

async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

/** The parent program, killed at the end of the test if the test did not. */
async function startParent(t: Test, dataDir: string): Promise<{ kill: () => void; url: string; pid: number }> {
  const parent = startNode(t, [parentProgram, dataDir, runtimeDirOf(dataDir)]);
  await eventually('the parent to report', () => parent.output().includes('\n') || parent.child.exitCode !== null);
  return { ...JSON.parse(parent.output()), kill: () => signal(parent.child.pid, 'SIGKILL') };
}

t.test('a new cluster: private, durable, UTF-8; its data survives a stop', async (t) => {
  const dataDir = temporaryDirectory(t);
  const first = await start(dataDir);
  t.teardown(() => first.stop(0));
  const [settings] = await query(
    first.url,
    `select current_setting('listen_addresses') as tcp, current_setting('fsync') as fsync,
       current_setting('server_encoding') as encoding, current_setting('unix_socket_permissions') as socket,
       datcollate as collate, datlocprovider::text as provider, lower('ÄÖ') as lowered
     from pg_database where datname = current_database()`,
  );
  t.strictSame(settings, {
    tcp: '',
    fsync: 'on',
    encoding: 'UTF8',
    socket: '0700',
    collate: 'C',
    provider: 'b',
    lowered: 'äö',
  });
  t.equal(statSync(join(dataDir, 'postgres-password')).mode & 0o777, 0o600, 'the password is ours alone');
  await t.rejects(query(first.url.replace(/:[^:@]+@/, ':wrong@'), 'select 1'), { code: '28P01' }, 'and is asked for');
  await query(first.url, 'create table kept as select 42 as answer');
  await first.stop();
  t.strictSame(processesMentioning(dataDir), [], 'nothing is left running');

  const second = await start(dataDir);
  t.teardown(() => second.stop(0));
  t.equal(second.url, first.url, 'the same address as before');
  t.strictSame(await query(second.url, 'select answer from kept'), [{ answer: 42 }]);
  await second.stop();
});

t.test('kill -9 of the parent ends the server, and what was committed is there after the next start', async (t) => {
  const dataDir = temporaryDirectory(t);
  const parent = await startParent(t, dataDir);
  await query(parent.url, 'create table kept as select 1 as n');
  parent.kill();
  await eventually('every process to end', () => processesMentioning(dataDir).length === 0);
  const again = await start(dataDir);
  t.teardown(() => again.stop(0));
  t.strictSame(await query(again.url, 'select n from kept'), [{ n: 1 }]);
  await again.stop();
});

t.test('a server that outlived even its wrapper is ended by the next start', async (t) => {
  const dataDir = temporaryDirectory(t);
  const parent = await startParent(t, dataDir);
  await query(parent.url, 'create table kept as select 1 as n');
  const wrapper = processesMentioning(dataDir).find(({ line }) => line.startsWith('/bin/sh'));
  signal(wrapper?.pid, 'SIGKILL');
  parent.kill();
  await eventually('the wrapper to end', () => !isAlive(wrapper?.pid ?? 0));
  t.ok(isAlive(parent.pid), 'the server runs on without an owner');
  const said: string[] = [];
  const again = await start(dataDir, (message) => said.push(message));
  t.teardown(() => again.stop(0));
  t.match(said.join(), 'waiting for the previous Postgres');
  t.notOk(isAlive(parent.pid));
  t.strictSame(await query(again.url, 'select n from kept'), [{ n: 1 }]);
  await again.stop();
});

t.test('a crash of the server: its death is seen, and the next start recovers', async (t) => {
  const dataDir = temporaryDirectory(t);
  const first = await start(dataDir);
  await query(first.url, 'create table kept as select 1 as n');
  signal(first.pid, 'SIGKILL');
  await first.exited;
  const again = await start(dataDir);
  t.teardown(() => again.stop(0));
  t.strictSame(await query(again.url, 'select n from kept'), [{ n: 1 }]);
  await again.stop();
  t.strictSame(processesMentioning(dataDir), []);
});

t.test(
  'a lock file that names a process of somebody else is no obstacle, and that process is left alone',
  async (t) => {
    const dataDir = temporaryDirectory(t);
    const first = await start(dataDir);
    const lockFile = join(dataDir, 'postgres', 'cluster', 'postmaster.pid');
    const lines = readFileSync(lockFile, 'utf8').split('\n');
    signal(first.pid, 'SIGKILL');
    await first.exited;
    const bystander = startNode(t, ['-e', 'setInterval(() => {}, 1000)']);
    writeFileSync(lockFile, [bystander.child.pid, ...lines.slice(1)].join('\n'));
    const again = await start(dataDir);
    await again.stop();
    t.ok(isAlive(bystander.child.pid ?? 0));
  },
);

t.test('faults of the data directory are told apart', async (t) => {
  const dataDir = temporaryDirectory(t);
  const first = await start(dataDir);
  await first.stop();
  const password = readFileSync(join(dataDir, 'postgres-password'));
  rmSync(join(dataDir, 'postgres-password'));
  await t.rejects(start(dataDir), { message: /postgres-password.*Restore it from a backup/s });
  writeFileSync(join(dataDir, 'postgres-password'), 'another\n');
  await t.rejects(start(dataDir), { message: /refuses the password/ });
  await eventually('the refused server to end', () => processesMentioning(dataDir).length === 0);
  writeFileSync(join(dataDir, 'postgres-password'), password);
  writeFileSync(join(dataDir, 'postgres', 'cluster', 'PG_VERSION'), '12\n');
  await t.rejects(start(dataDir), { message: /made by Postgres 12, and the bundled one is \d+\. Dump it/ });
});

t.test(
  'as root, under a directory that the account of Postgres cannot enter',
  { skip: !isRoot && 'needs root' },
  async (t) => {
    const closed = temporaryDirectory(t, 0o700);
    const dataDir = join(closed, 'data');
    mkdirSync(dataDir, { mode: 0o700 });
    const server = await start(dataDir);
    t.teardown(() => server.stop(0));
    t.strictSame(await query(server.url, 'select 1 as one'), [{ one: 1 }]);
    await server.stop();
    t.ok(
      lstatSync(join(dataDir, 'postgres')).isSymbolicLink(),
      'the cluster lies elsewhere, and the data directory says where',
    );
    const again = await start(dataDir);
    t.strictSame(await query(again.url, 'select 1 as one'), [{ one: 1 }], 'and it is found again');
    await again.stop();
    rmSync(readlinkSync(join(dataDir, 'postgres')), { recursive: true });
    await t.rejects(start(dataDir), { message: /which is gone. Restore that directory, or remove/ });
  },
);

t.test(
  'binaries that the account cannot reach, without their links, are copied once',
  { skip: !isRoot && 'needs root' },
  async (t) => {
    const closed = temporaryDirectory(t, 0o700);
    const native = join(closed, 'native');
    cpSync(locatePackage().native, native, {
      recursive: true,
      filter: (path) => !path.endsWith('.a') && !lstatSync(path).isSymbolicLink(),
    });
    const version = `test-${process.pid}`;
    t.teardown(() =>
      rmSync(join(PRIVATE_ROOT, `postgres-${version}-${process.arch}`), { recursive: true, force: true }),
    );
    const account = postgresAccount();
    t.notOk(canExecute(join(native, 'bin', 'postgres'), account));
    const binaries = findBinaries(account, closed, { native, version });
    t.match(binaries.postgres, PRIVATE_ROOT);
    t.match(binaries.major, /^\d+$/, 'it runs there');
    const { ino } = statSync(binaries.postgres);
    t.equal(statSync(findBinaries(account, closed, { native, version }).postgres).ino, ino, 'the copy is used again');
  },
);

t.test('a package whose install script did not run gets its links', async (t) => {
  const directory = temporaryDirectory(t, 0o755);
  const native = join(directory, 'native');
  const original = locatePackage().native;
  mkdirSync(join(native, 'lib'), { recursive: true });
  for (const name of ['bin', 'share', 'pg-symlinks.json']) symlinkSync(join(original, name), join(native, name));
  const links = JSON.parse(readFileSync(join(original, 'pg-symlinks.json'), 'utf8')) as {
    source: string;
    target: string;
  }[];
  for (const { source } of links) cpSync(join(original, '..', source), join(native, '..', source));
  chmodSync(native, 0o755);
  findBinaries(undefined, directory, { native, version: 'test' });
  t.ok(links.every(({ target }) => existsSync(join(native, '..', target))));
});
