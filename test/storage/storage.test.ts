import { sql } from 'kysely';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { createVault } from '../../src/credentials/vault.ts';
import { KeyRing } from '../../src/identity/key-ring.ts';
import { insertKey, updateKey } from '../../src/identity/store.ts';
import { Tombstones } from '../../src/sessions/tombstones.ts';
import { startFeed } from '../../src/snapshot/feed.ts';
import { DatabaseError, openDatabase, waitForDatabase } from '../../src/storage/database.ts';
import { listen } from '../../src/storage/listen.ts';
import { migrate, schemaState } from '../../src/storage/migrate.ts';
import { eventually } from '../support/eventually.ts';
import { startPostgres } from '../support/postgres.ts';

const postgres = await startPostgres();
t.teardown(() => postgres.stop());

async function open(options?: { migrated?: boolean }) {
  const url = await postgres.createDatabase(options);
  return { url, database: openDatabase(url) };
}

t.test('migrating twice, and from four processes at once, applies everything exactly once', async (t) => {
  const { url, database } = await open({ migrated: false });
  const others = [1, 2, 3].map(() => openDatabase(url));
  await Promise.all([database, ...others].map(migrate));
  await migrate(database);
  const { known, applied } = await schemaState(database);
  t.strictSame(applied, known);
  t.equal((await database.kysely.selectFrom('tenants').selectAll().execute()).length, 1);
  await Promise.all([database, ...others].map((one) => one.close()));
});

t.test('a database with a newer schema is refused with what to do, and left alone', async (t) => {
  const { database } = await open();
  await database.pool.query(`insert into schema_migrations (name, timestamp) values ('000999', now()::text)`);
  await t.rejects(migrate(database), {
    name: 'DatabaseError',
    message: /000999.*does not know.*Start the version that wrote it/s,
  });
  await database.close();
});

t.test('int8 reads as a number while it fits one', async (t) => {
  const { database } = await open({ migrated: false });
  const { rows } = await database.pool.query(`select 42::int8 as small, 9007199254740993::int8 as large`);
  t.strictSame(rows[0], { small: 42, large: '9007199254740993' });
  await database.close();
});

t.test('a database that is down is waited for, reported without its password, and given up on', async (t) => {
  const down = openDatabase('postgresql://someone:hunter2@127.0.0.1:9/nowhere');
  const retries: string[] = [];
  const waiting = waitForDatabase(down, { retryForMs: 400, onRetry: (message) => retries.push(message) });
  const error = await waiting.then(
    () => undefined,
    (error: unknown) => error,
  );
  t.ok(error instanceof DatabaseError);
  t.match((error as Error).message, /does not answer at 127\.0\.0\.1:9\/nowhere.*DATABASE_URL.*Gave up/s);
  t.ok(retries.length >= 2);
  t.notMatch(`${(error as Error).message}${retries.join()}`, /hunter2/);
  await down.close();
});

t.test('a missing database is an error at once: time does not cure it', async (t) => {
  const missing = openDatabase(postgres.urlOf('missing'));
  const started = Date.now();
  await t.rejects(waitForDatabase(missing, { retryForMs: 60_000 }), { message: /"missing" does not exist/ });
  t.ok(Date.now() - started < 5_000);
  await missing.close();
});

t.test('a server that dies under an open transaction fails its queries, not the process', async (t) => {
  const { database } = await open({ migrated: false });
  const client = await database.pool.connect();
  await client.query('begin');
  const slow = t.rejects(client.query('select pg_sleep(30)'));
  await postgres.restart();
  await slow;
  await t.rejects(client.query('select 1'));
  client.release(true);
  await waitForDatabase(database, { retryForMs: 5_000 });
  await database.close();
});

t.test('notifications arrive, the poll fills in, and a restarted server is found again', async (t) => {
  const { url, database } = await open();
  const seen: string[] = [];
  const listener = listen(url, ['one', 'two'], (channel, payload) => seen.push(`${channel}:${payload}`), {
    pollMs: 60_000,
  });
  t.teardown(() => listener.close());
  await eventually(() => seen.includes('one:poll') && seen.includes('two:poll'));
  await database.pool.query(`select pg_notify('two', '7')`);
  await eventually(() => seen.includes('two:7'));

  seen.length = 0;
  await postgres.restart();
  await eventually(() => seen.includes('one:poll') && seen.includes('two:poll'));
  await waitForDatabase(database, { retryForMs: 5_000 });
  await database.pool.query(`select pg_notify('one', '8')`);
  await eventually(() => seen.includes('one:8'));

  const polls: string[] = [];
  const polled = listen(
    'postgresql://127.0.0.1:9/x',
    ['one'],
    (channel, payload) => polls.push(`${channel}:${payload}`),
    {
      pollMs: 20,
    },
  );
  await eventually(() => polls.length >= 2);
  polled.close();
  t.ok(
    polls.every((line) => line === 'one:poll'),
    'the poll goes on while the database is away',
  );
  await database.close();
});

/** Stops every backend of a database that belongs to `application`, as a partition does: open, and silent. */
async function silence(url: string, t: Test, application = 'sallyport'): Promise<number[]> {
  const observer = openDatabase(url, { max: 1 });
  const { rows } = await observer.pool.query<{ pid: number }>(
    `select pid from pg_stat_activity where datname = current_database() and application_name = $1 and pid <> pg_backend_pid()`,
    [application],
  );
  await observer.close();
  for (const { pid } of rows) process.kill(pid, 'SIGSTOP');
  t.teardown(() => {
    for (const { pid } of rows) if (!gone(pid)) process.kill(pid, 'SIGCONT');
  });
  return rows.map(({ pid }) => pid);
}

function gone(pid: number): boolean {
  try {
    return !process.kill(pid, 0);
  } catch {
    return true;
  }
}

t.test('connections whose peer is silent fail one query, and none is used again', async (t) => {
  const url = await postgres.createDatabase({ migrated: false });
  const database = openDatabase(url, { max: 3, queryTimeoutMs: 400 });
  const { kysely, pool } = database;
  const busy = () => Promise.all([1, 2, 3].map(() => pool.query('select pg_sleep(0.05)')));
  const one = () => sql<{ one: number }>`select 1 as one`.execute(kysely);

  await busy();
  t.equal((await silence(url, t)).length, 3);
  await t.rejects(one(), { message: 'Query read timeout' });
  t.strictSame((await one()).rows, [{ one: 1 }], 'after a query through Kysely');

  await busy();
  await silence(url, t);
  await t.rejects(pool.query('select 1'), { message: 'Query read timeout' });
  t.strictSame((await one()).rows, [{ one: 1 }], 'after a query of the pool');

  await t.rejects(
    kysely.transaction().execute(async (trx) => {
      await sql`select 1`.execute(trx);
      await silence(url, t);
      await sql`select 2`.execute(trx);
    }),
  );
  t.strictSame((await one()).rows, [{ one: 1 }], 'after a transaction');
  await t.rejects(pool.query('select pg_sleep(5)'), { code: '57014' }, 'Postgres ends what is only slow');
  await database.close();
});

t.test('a subscription whose peer is silent is made anew', async (t) => {
  const { url, database } = await open({ migrated: false });
  const seen: string[] = [];
  const listener = listen(url, ['one'], (channel, payload) => seen.push(`${channel}:${payload}`), {
    pollMs: 60_000,
    probeMs: 200,
  });
  t.teardown(() => listener.close());
  await eventually(() => seen.includes('one:poll'));
  t.equal((await silence(url, t, 'sallyport listen')).length, 1);
  seen.length = 0;
  await eventually(() => seen.includes('one:poll'));
  await database.pool.query(`select pg_notify('one', '1')`);
  await eventually(() => seen.includes('one:1'));
  await database.close();
});

t.test(
  'a revoked key is known although every connection has become silent, and the log tells of the time between',
  async (t) => {
    const url = await postgres.createDatabase();
    const database = openDatabase(url, { queryTimeoutMs: 2_500 });
    const other = openDatabase(url, { max: 1 });
    const key = 'sp_a-key-that-is-revoked';
    const row = await insertKey(other.kysely, {
      tenant: 'default',
      name: 'agent',
      key,
      roles: ['admin'],
      expiresAt: null,
      owner: 'api',
      origin: null,
    });
    await other.close();

    const keys = new KeyRing();
    const lines: string[] = [];
    const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) });
    const feed = startFeed({
      database,
      databaseUrl: url,
      vault: createVault('11'.repeat(32)),
      keys,
      tombstones: new Tombstones(),
      onSessionEnded: () => {},
      log,
      staleMs: 1_500,
    });
    t.teardown(() => feed.close());
    await eventually(() => keys.find(key)?.revoked === false);
    t.ok(feed.feedAgeMs() < 1_500);
    await silence(url, t);
    const operator = openDatabase(url, { max: 1 });
    await updateKey(operator.kysely, row.id, { revoked_at: new Date() });
    await operator.close();
    await eventually(() => feed.feedAgeMs() > 1_500 && lines.some((line) => /has not answered for a while/.test(line)));
    await eventually(() => keys.find(key)?.revoked === true);
    await eventually(() => feed.feedAgeMs() < 1_500 && lines.some((line) => /answers again/.test(line)));
    await database.close();
  },
);
