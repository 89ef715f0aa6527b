import fc from 'fast-check';
import pg from 'pg';
import t from 'tap';
import { ExactNumber, type Json } from '../../../src/mcp/exact-json.ts';
import { SourceError } from '../../../src/sources/source.ts';
import { eventually } from '../../support/eventually.ts';
import { startPostgres } from '../../support/postgres.ts';
import { ask, asked, open, render, unchecked } from './opened.ts';

const server = await startPostgres();
t.teardown(() => server.stop());
const url = await server.createDatabase({ migrated: false });
const admin = new pg.Client({ connectionString: url });
await admin.connect();
t.teardown(() => admin.end());
await admin.query(`
  create table accounts (id int8 primary key, tier text not null, balance numeric);
  insert into accounts select i, 'gold', i * 1.1 from generate_series(1, 1000) i;
  create sequence numbers;
  create function writes() returns int language plpgsql as $$ begin delete from accounts; return 1; end $$;
  create function runs(statement text) returns int language plpgsql as $$ begin execute statement; return 1; end $$;
`);

t.test('strings arrive as they are, whatever is in them', async (t) => {
  const client = open(t, url);
  const nasty = [
    "'; drop table accounts; --",
    "\\'",
    '$1',
    ':id',
    '\u2019',
    "E'\\x",
    '$$',
    '/*',
    '\u202e',
    '"',
    '\ufeff',
    '𝄞',
  ];
  const string = fc
    .oneof(fc.string({ unit: 'binary' }), fc.string(), fc.constantFrom(...nasty))
    .filter((text) => !text.includes('\0') && !/\p{Cs}/u.test(text));
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(string, fc.array(string, { maxLength: 5 }), async (v, list) => {
      runs++;
      const one = await ask(client, 'select :v as v, :v || :v as twice, 1 as n', { v });
      if (JSON.stringify(one.rows) !== JSON.stringify([{ v, twice: v + v, n: 1 }]))
        throw new Error(JSON.stringify(one.rows));
      const several = await ask(client, 'select x from unnest(array[:list]::text[]) x where x is not null', { list });
      if (JSON.stringify(several.rows) !== JSON.stringify(list.map((x) => ({ x }))))
        throw new Error('the list changed');
      const found = await ask(client, "select 'found' as it where :v in (:list)", { v, list });
      if (found.rows.length !== (list.includes(v) ? 1 : 0)) throw new Error('the condition changed');
    }),
    { numRuns: 400 },
  );
  t.ok(runs >= 400);
  t.equal((await admin.query('select from accounts')).rowCount, 1_000);
});

t.test('what is shown is what Postgres would read the same', async (t) => {
  const string = fc.string({ unit: 'binary' }).filter((text) => !text.includes('\0') && !/\p{Cs}/u.test(text));
  await fc.assert(
    fc.asyncProperty(string, async (v) => {
      const { rows } = await admin.query(render('select :v as v', { v }).shown);
      if (rows[0]?.v !== v) throw new Error('shown otherwise');
    }),
    { numRuns: 300 },
  );
  t.pass();
});

t.test('numbers arrive with every digit', async (t) => {
  const client = open(t, url);
  const digits = (n: Json | undefined) => (n instanceof ExactNumber ? n.text : String(n));
  await fc.assert(
    fc.asyncProperty(
      fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      async (i, d) => {
        const { rows } = await ask(client, 'select :i::int8 as i, :i::numeric / 1000 as n, :d::float8 as d', {
          i: new ExactNumber(String(i)),
          d,
        });
        const row = rows[0] as Record<string, Json>;
        if (digits(row.i) !== String(i)) throw new Error(`${digits(row.i)} for ${i}`);
        if (row.d !== (Object.is(d, -0) ? 0 : d)) throw new Error(`${row.d} for ${d}`);
      },
    ),
    { numRuns: 300 },
  );
  t.pass();
});

t.test('values of every kind become JSON', async (t) => {
  const client = open(t, url);
  const { rows } = await ask(
    client,
    `select 9007199254740993::int8 as big, 42::int8 as small, 1.10::numeric as n, 'NaN'::numeric as nan, 'Infinity'::float8 as inf,
      0.1::float4 as f, true as yes, null as nothing, '{"a": 9007199254740993}'::jsonb as j, '[1, 2]'::json as k,
      date '2026-11-25' as day, timestamptz '2026-11-25 10:00:00.5+00' at time zone 'UTC' as at, '\\xdeadbeef'::bytea as bytes,
      array[1, null, 3] as ints, array[9007199254740993, 1]::int8[] as bigs, array['a "b"', 'c\\d', '', 'NULL', null, '{,}'] as texts,
      '{{1,2},{3,4}}'::int[] as nested, '[0:1]={5,6}'::int[] as shifted, '{}'::text[] as none, array['{"a":1}'::jsonb] as docs,
      array[true, false] as flags, interval '1 day 2 hours' as span, '4bf1c4ae-3b6f-4f0a-9d8e-1a2b3c4d5e6f'::uuid as id, row(1, 'x') as pair`,
  );
  t.strictSame(rows, [
    {
      big: new ExactNumber('9007199254740993'),
      small: 42,
      n: 1.1,
      nan: 'NaN',
      inf: 'Infinity',
      f: 0.1,
      yes: true,
      nothing: null,
      j: { a: new ExactNumber('9007199254740993') },
      k: [1, 2],
      day: '2026-11-25',
      at: '2026-11-25 10:00:00.5',
      bytes: '3q2+7w==',
      ints: [1, null, 3],
      bigs: [new ExactNumber('9007199254740993'), 1],
      texts: ['a "b"', 'c\\d', '', 'NULL', null, '{,}'],
      nested: [
        [1, 2],
        [3, 4],
      ],
      shifted: [5, 6],
      none: [],
      docs: [{ a: 1 }],
      flags: [true, false],
      span: '1 day 02:00:00',
      id: '4bf1c4ae-3b6f-4f0a-9d8e-1a2b3c4d5e6f',
      pair: '(1,x)',
    },
  ]);
  t.equal(((rows[0] as Record<string, Json>).big as ExactNumber).text, '9007199254740993');
});

t.test('columns of the same name are told apart', async (t) => {
  const client = open(t, url);
  const { rows } = await ask(client, 'select 1 as a, 2 as a, 3 as a_2, 4 as a, 5 as "__proto__"');
  t.equal(JSON.stringify(rows), '[{"a":1,"a_3":2,"a_2":3,"a_4":4,"__proto__":5}]');
});

t.test('no request writes, whatever reaches the server', async (t) => {
  const client = open(t, url, { maxConcurrent: 1 });
  const attempts = [
    'select writes()',
    "select runs('delete from accounts')",
    "select runs('create table stolen (a int)')",
    "select runs('create temp table stolen (a int)')",
    "select runs('drop table accounts')",
    "select runs('set transaction read write')",
    "select runs('commit')",
    "select runs('select nextval(''numbers'')')",
  ];
  for (const query of attempts) {
    const outcome = await ask(client, query).then(
      () => 'answered',
      (error: SourceError) => error.message,
    );
    t.match(outcome, /SQLSTATE (25006|25001|0A000)/, query);
  }
  // What Postgres allows is undone.
  const heard: string[] = [];
  admin.on('notification', ({ channel }) => heard.push(channel));
  await admin.query('listen x');
  await ask(client, "select runs('notify x'), runs('lock table accounts in access exclusive mode')");
  // Past the scanner: what a rule can no longer be saved with.
  const past = [
    "select set_config('transaction_read_only', 'off', true), writes()",
    "select set_config('transaction_read_only', 'off', false) union all select runs('delete from accounts')::text",
    'with gone as (delete from accounts returning 1) select * from gone',
    'delete from accounts',
    'commit',
    'rollback',
    'begin read write',
    'select 1; delete from accounts',
    'copy accounts to stdout',
    'copy accounts from stdin',
    '',
  ];
  for (const text of past) await client.ask(unchecked(text), asked()).catch(() => {});
  t.equal((await admin.query('select from accounts')).rowCount, 1_000);
  t.strictSame((await admin.query("select to_regclass('stolen') as it, last_value, is_called from numbers")).rows, [
    { it: null, last_value: '1', is_called: false },
  ]);
  t.strictSame(heard, []);
  t.strictSame((await ask(client, 'select 1 as a')).rows, [{ a: 1 }], 'and the source goes on');
});

t.test('a query leaves nothing to the next one', async (t) => {
  const client = open(t, url, { maxConcurrent: 1 });
  const session = `select pg_backend_pid() as pid, current_setting('search_path') as path, current_setting('transaction_read_only') as ro,
    current_setting('default_transaction_read_only') as default_ro, current_setting('datestyle') as dates,
    current_setting('standard_conforming_strings') as strings, current_setting('role') as role,
    (select count(*) from pg_locks where locktype = 'advisory') as locks, (select count(*) from pg_prepared_statements where name not like 'sp\\_%') as prepared`;
  const before = await ask(client, session);
  for (const statement of [
    'set search_path = pg_temp',
    'set session characteristics as transaction read write',
    'set default_transaction_read_only = off',
    'set datestyle = German',
    'set standard_conforming_strings = off',
    'set role pg_read_all_data',
    'select pg_advisory_lock(7)',
    'set statement_timeout = 1',
  ]) {
    t.strictSame((await ask(client, 'select runs(:statement) as n', { statement })).rows, [{ n: 1 }], statement);
    t.strictSame(await ask(client, session), before);
  }
});

t.test('rows are bounded at the server', async (t) => {
  const client = open(t, url, { maxConcurrent: 1 });
  const pid = async () => (await ask(client, 'select pg_backend_pid() as pid')).rows;
  const before = await pid();
  const many = await ask(client, 'select i from generate_series(1, 1000000) i order by i desc');
  t.strictSame([many.rows.length, many.isTruncated, many.rows[0]], [20, true, { i: 1_000_000 }]);
  const started = performance.now();
  const endless = await ask(client, 'select generate_series(1, 1000000000000) as i');
  t.strictSame([endless.rows.length, endless.isTruncated], [20, true]);
  t.ok(performance.now() - started < 2_000);
  const exact = await ask(client, 'select id from accounts where id <= 20 order by id desc');
  t.strictSame([exact.rows.length, exact.isTruncated, exact.rows[0]], [20, false, { id: 20 }]);
  t.strictSame(await pid(), before, 'over one connection');
});

t.test('bytes are bounded, also where one value has all of them', async (t) => {
  const client = open(t, url, { maxConcurrent: 1 });
  const some = await ask(client, "select i, repeat('x', 20000) as x from generate_series(1, 20) i");
  t.strictSame([some.rows.length, some.isTruncated], [3, true]);
  const one = "select repeat('x', 100000) as x";
  await t.rejects(ask(client, one), { name: 'SourceError', kind: 'too large' });
  const memory = process.memoryUsage().rss;
  await t.rejects(ask(client, "select repeat('x', 30000000) as x"), { name: 'SourceError', kind: 'too large' });
  const cut = await ask(client, "select 1 as a, '' as x union all select 2, repeat('x', 30000000)");
  t.strictSame([cut.rows, cut.isTruncated], [[{ a: 1, x: '' }], true]);
  t.ok(process.memoryUsage().rss - memory < 60_000_000);
  t.strictSame((await ask(client, 'select 1 as a')).rows, [{ a: 1 }]);
});

const running = async () =>
  (await admin.query("select from pg_stat_activity where application_name = 'sallyport' and state <> 'idle'"))
    .rowCount ?? 0;

t.test('nothing goes on at the server once nobody waits', async (t) => {
  const client = open(t, url, { maxConcurrent: 2 });
  const controller = new AbortController();
  const reason = new SourceError('timeout', 'no answer within 50 ms');
  const asking = [1, 2, 3].map(() => ask(client, 'select pg_sleep(600)', {}, { signal: controller.signal }));
  await eventually(async () => (await running()) === 2);
  controller.abort(reason);
  for (const one of asking) await t.rejects(one, reason);
  await eventually(async () => (await running()) === 0);
  t.strictSame((await ask(client, 'select 1 as a')).rows, [{ a: 1 }]);
  await t.rejects(ask(client, 'select 1', {}, { signal: AbortSignal.abort(new Error('left')) }), /left/);
});

t.test('the server gives up by itself, and the connection is kept', async (t) => {
  const client = open(t, url, { maxConcurrent: 1 });
  const pid = async () => (await ask(client, 'select pg_backend_pid() as pid')).rows;
  const before = await pid();
  await t.rejects(ask(client, 'select pg_sleep(600)', {}, { timeoutMs: 60 }), { name: 'SourceError', kind: 'timeout' });
  await t.rejects(
    ask(
      client,
      "select set_it from (select runs('set statement_timeout = 0') as set_it, pg_sleep(600)) x",
      {},
      { timeoutMs: 60 },
    ),
    {
      name: 'SourceError',
      kind: 'timeout',
    },
  );
  t.strictSame(await pid(), before);
});

t.test('what the server refuses is told', async (t) => {
  const client = open(t, url, { maxConcurrent: 1 });
  const refusals: [query: string, kind: string, message: RegExp][] = [
    ['select * from nowhere', 'refused', /relation "nowhere" does not exist \(SQLSTATE 42P01\)/],
    ['select 1 / 0', 'refused', /division by zero/],
    ['select writes()', 'refused', /read-only transaction \(SQLSTATE 25006\)/],
    // The values of a call are nobody else's fault.
    ['select * from accounts where id = :id', 'bad value', /invalid input syntax/],
    ['select * from nowhere where id = :id', 'refused', /does not exist/],
    ["select 'x' ~ (:id || '(')", 'bad value', /regular expression/],
  ];
  for (const [query, kind, message] of refusals) {
    await t.rejects(ask(client, query, query.includes(':id') ? { id: 'x' } : {}), {
      name: 'SourceError',
      kind,
      message,
    });
  }
  t.strictSame((await ask(client, 'select * from accounts where id = :id', { id: 1 })).rows.length, 1);
  const elsewhere = open(t, server.urlOf('no_such_database'));
  await t.rejects(ask(elsewhere, 'select 1'), {
    name: 'SourceError',
    kind: 'unavailable',
    message: /no_such_database/,
  });
  const test = await elsewhere.test(AbortSignal.timeout(5_000));
  t.match(test, { ok: false, error: /no_such_database/ });
});

t.test('a table that is altered under a prepared statement', async (t) => {
  const client = open(t, url, { maxConcurrent: 1 });
  await admin.query('create table changing (a int); insert into changing values (1)');
  const query = 'select * from changing';
  for (let i = 0; i < 7; i++) await ask(client, query);
  await admin.query('alter table changing add b int');
  t.strictSame((await ask(client, query)).rows, [{ a: 1, b: null }]);
});

t.test('a connection keeps a bounded number of statements prepared', async (t) => {
  const client = open(t, url, { maxConcurrent: 1 });
  for (let i = 0; i < 80; i++) t.strictSame((await ask(client, `select ${i} as i`)).rows, [{ i }]);
  const { rows } = await ask(client, "select count(*) as n from pg_prepared_statements where name like 'sp\\_%'");
  t.strictSame(rows, [{ n: 64 }]);
});

t.test('a test tells the version and what the role may do', async (t) => {
  const signal = AbortSignal.timeout(5_000);
  t.match(await open(t, url).test(signal), { ok: true, server: /^PostgreSQL \d+/, notes: [/superuser/] });
  await admin.query(
    'create role reader login; grant select on accounts to reader; create role writer login; grant insert on accounts to writer',
  );
  const as = (role: string) => open(t, url.replace('postgres@', `${role}@`)).test(signal);
  t.strictSame(Object.keys(await as('reader')), ['ok', 'server']);
  t.match(await as('writer'), { ok: true, notes: [/the role writer may write/] });
});

t.test('a server that goes away and comes back', async (t) => {
  const own = await startPostgres();
  t.teardown(() => own.stop());
  const client = open(t, own.urlOf('postgres'));
  const sleeping = t.rejects(ask(client, 'select pg_sleep(600)'), { name: 'SourceError', kind: 'unavailable' });
  t.strictSame((await ask(client, 'select 1 as a')).rows, [{ a: 1 }]);
  await own.restart();
  await sleeping;
  t.strictSame((await eventually(() => ask(client, 'select 1 as a'))).rows, [{ a: 1 }]);
});
