import t from 'tap';
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
