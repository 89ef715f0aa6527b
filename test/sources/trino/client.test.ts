/** Trino as a source, against a real one: values, limits, and that nothing goes on running there or writes. */
import t from 'tap';
import type { TrinoSource } from '../../../src/config/document.ts';
import { jsonText } from '../../../src/mcp/exact-json.ts';
import { type Asked, type Bound, type SourceAnswer, SourceError } from '../../../src/sources/source.ts';
import { openTrino } from '../../../src/sources/trino/client.ts';
import { compileTrino, type TrinoRequest } from '../../../src/sources/trino/template.ts';
import { eventually } from '../../support/eventually.ts';
import { startTrino } from '../../support/trino/start.ts';

const trino = await startTrino(t);
const { missing } = trino;
const url = trino.missing === false ? trino.url : '';

const user = `client-${process.pid}`;
const config: TrinoSource = {
  type: 'trino',
  enabled: true,
  maxConcurrent: 4,
  circuitBreaker: { consecutiveErrors: 5, openForMs: 1000 },
  url,
  user,
  catalog: 'tpch',
  schema: 'tiny',
  session: {},
};
const client = openTrino(config);
/** A Trino that has just begun, on a machine that does other things besides, takes seconds for each statement. */
const PATIENT_MS = 60_000;
t.teardown(() => client.close());

const asks = (statement: string): TrinoRequest => ({
  statement,
  shown: statement,
  key: statement,
  hasValues: false,
});
const limits = (some: Partial<Asked> = {}): Asked => ({
  signal: AbortSignal.timeout(30_000),
  timeoutMs: 30_000,
  maxRows: 100,
  maxBytes: 1_000_000,
  ...some,
});
const ask = (statement: string, some: Partial<Asked> = {}): Promise<SourceAnswer> =>
  client.ask(asks(statement), limits(some));

/** Statements with `mark` in them that are running, by the coordinator's own account. */
const running = async (mark: string): Promise<number> => {
  const other = openTrino(config);
  const { rows } = await other.ask(
    asks(`select state from system.runtime.queries where query like '%${mark}%' and query not like '%runtime.queries%'
      and state not in ('FINISHED', 'FAILED')`),
    limits(),
  );
  await other.close();
  return rows.length;
};

t.test('rows by column, every value by its type', { skip: missing }, async (t) => {
  const { rows, isTruncated } = await ask(
    'select name, regionkey, n.comment is null as silent from nation n where nationkey = 6',
  );
  t.same(rows, [{ name: 'FRANCE', regionkey: 3, silent: false }]);
  t.equal(isTruncated, false);

  const typed = await ask(`select
    9223372036854775807 big, cast(1 as tinyint) tiny, 1e300 d, nan() n, -infinity() i, real '1.5' r,
    123456789012345678901234567890.12345678 dec, 1.50 short, cast(null as decimal(5, 2)) nothing,
    timestamp '2024-01-02 03:04:05.123456789' ts, timestamp '2024-01-02 03:04:05 Europe/Berlin' tz, date '2024-02-29' day,
    interval '1' day span, X'00ff' bytes, json '{"a": [1, 12345678901234567890]}' j, uuid '12151fd2-7586-11e9-8f9e-2a86e4085a59' u,
    array[1.10, null] a, map(array['k'], array[123456789012345678.90]) m,
    cast(row(1, 'x', 0.10) as row(p bigint, q varchar, s decimal(3, 2))) named, row(1, 'x') bare,
    'it''s “ü” 𝒜' s, 1 as s, 2 as s, 3 as "s_2", 4 as "__proto__"`);
  t.equal(
    jsonText(typed.rows[0] ?? null),
    `{"big":9223372036854775807,"tiny":1,"d":1e+300,"n":"NaN","i":"-Infinity","r":1.5,${''}"dec":123456789012345678901234567890.12345678,"short":1.5,"nothing":null,${''}"ts":"2024-01-02 03:04:05.123456789","tz":"2024-01-02 03:04:05 Europe/Berlin","day":"2024-02-29",${''}"span":"1 00:00:00.000","bytes":"AP8=","j":{"a":[1,12345678901234567890]},"u":"12151fd2-7586-11e9-8f9e-2a86e4085a59",${''}"a":[1.1,null],"m":{"k":123456789012345678.90},${''}"named":{"p":1,"q":"x","s":0.1},"bare":[1,"x"],${''}"s":"it's “ü” 𝒜","s_3":1,"s_4":2,"s_2":3,"__proto__":4}`,
  );
  t.same((await ask('select 1 where false')).rows, []);
  t.same((await ask("show tables like 'nat%'")).rows, [{ Table: 'nation' }]);
});

t.test('no more rows and bytes than allowed, and the rest is cancelled', { skip: missing }, async (t) => {
  const exact = await ask('select nationkey from nation', { maxRows: 25 });
  t.match(exact, { isTruncated: false, rows: { length: 25 } });
  t.match(await ask('select nationkey from nation', { maxRows: 24 }), { isTruncated: true, rows: { length: 24 } });
  const marked = await ask('select /* many */ * from tpch.sf100.lineitem', { maxRows: 5 });
  t.match(marked, { isTruncated: true, rows: { length: 5 } });
  await eventually(async () => (await running('/* many */')) === 0, PATIENT_MS);
  const small = await ask('select /* wide */ comment from tpch.sf100.orders', { maxBytes: 1000 });
  t.equal(small.isTruncated, true);
  t.ok(small.rows.length > 3 && Buffer.byteLength(jsonText(small.rows)) <= 1000);
  await eventually(async () => (await running('/* wide */')) === 0, PATIENT_MS);
  await t.rejects(ask("select array_join(repeat('0123456789', 5000), '') x", { maxBytes: 10_000 }), {
    name: 'SourceError',
    kind: 'too large',
  });
});

t.test('who leaves or has no time ends it at Trino', { skip: missing }, async (t) => {
  const leaving = new AbortController();
  const slow = ask(
    'select /* left */ count(*) from tpch.sf100.lineitem l join tpch.sf100.orders o on l.comment = o.comment',
    {
      signal: leaving.signal,
      timeoutMs: 2 * PATIENT_MS,
    },
  );
  await Promise.race([slow, eventually(async () => (await running('/* left */')) === 1, PATIENT_MS)]);
  leaving.abort(new SourceError('timeout', 'the time is up'));
  await t.rejects(slow, { kind: 'timeout', message: 'the time is up' });
  await eventually(async () => (await running('/* left */')) === 0, PATIENT_MS);

  // Our word never arrives; Trino's own limit ends it.
  await t.rejects(
    ask("select /* late */ count(*) from tpch.sf100.lineitem l where l.comment like '%a%b%c%'", { timeoutMs: 1500 }),
    {
      kind: 'timeout',
      message: /maximum/,
    },
  );
  await t.rejects(ask('select 1', { signal: AbortSignal.abort(new Error('gone')) }), { message: 'gone' });
});

t.test('Trino itself refuses to write, whatever reaches it', { skip: missing }, async (t) => {
  const writes = [
    'create table memory.default.t (x bigint)',
    'create table memory.default.t as select 1 x',
    'insert into memory.default.there values 1',
    'drop table memory.default.there',
    'truncate table memory.default.there',
    'create schema memory.other',
    'explain analyze insert into memory.default.there values 1',
  ];
  await writesFreely('create table if not exists memory.default.there (x bigint)');
  for (const statement of writes) await t.rejects(ask(statement), { name: 'SourceError', kind: 'refused' }, statement);
  t.same((await ask('select count(*) n from memory.default.there')).rows, [{ n: 0 }]);
  t.same((await ask('show tables from memory.default')).rows, [{ Table: 'there' }]);
});

/** Outside of the client, in no transaction. */
async function writesFreely(statement: string): Promise<void> {
  const headers = { 'x-trino-user': 'sallyport' };
  let response = await fetch(`${url}/v1/statement`, { method: 'POST', body: statement, headers });
  for (;;) {
    const body = (await response.json()) as { nextUri?: string };
    if (body.nextUri === undefined) return;
    response = await fetch(body.nextUri, { headers });
  }
}

t.test('what Trino says no to', { skip: missing }, async (t) => {
  await t.rejects(ask('select nope from nation'), {
    kind: 'refused',
    message: "Trino: line 1:8: Column 'nope' cannot be resolved (COLUMN_NOT_FOUND)",
  });
  await t.rejects(ask('selec'), { kind: 'refused', message: /SYNTAX_ERROR/ });
  await t.rejects(ask('select 1 / 0'), { kind: 'refused', message: /DIVISION_BY_ZERO/ });
  const long = await ask(`select nope_${'x'.repeat(2000)}`).catch((error: Error) => error);
  t.ok(long instanceof SourceError && long.message.length < 700);
  const strict = openTrino({
    ...config,
    session: { query_max_scan_physical_bytes: '1B', join_distribution_type: 'odd value' },
  });
  await t.rejects(strict.ask(asks('select 1'), limits()), { kind: 'refused', message: /odd value|ODD VALUE/i });
  await strict.close();
});

t.test('the test of a source', { skip: missing }, async (t) => {
  const signal = AbortSignal.timeout(20_000);
  const found = await client.test(signal);
  t.match(found, { ok: true, server: /^Trino \S+$/ });
  const nowhere = openTrino({ ...config, url: 'http://127.0.0.1:9' });
  t.match(await nowhere.test(signal), { ok: false, error: /^Trino cannot be reached/ });
  await nowhere.close();
});

t.test('leaves no transaction open', { skip: missing }, async () => {
  await client.close();
  const other = openTrino({ ...config, user: 'counter' });
  // One that somebody forgot is idle for five minutes before Trino ends it.
  const forgotten = async (): Promise<number> => {
    const query = `select count(*) n from system.runtime.transactions
      where read_only and not auto_commit_context and idle_time_secs >= 2`;
    const [row] = (await other.ask(asks(query), limits())).rows;
    return (row as { n: number }).n;
  };
  await eventually(async () => (await forgotten()) === 0, PATIENT_MS);
  await other.close();
});

t.test('values that Trino cannot use are told from what is wrong for any value', { skip: missing }, async (t) => {
  const client = openTrino(config);
  t.teardown(() => client.close());
  const wrong: [query: string, v: Bound][] = [
    ['select * from nation where nationkey = :v', 'x'],
    ['select cast(:v as bigint)', 'x'],
    ['select cast(:v as tinyint)', 1000],
    ['select 1 / :v', 0],
    ['select abs(:v)', 'x'],
    ['select name from nation limit :v', 'x'],
    ['select name from nation limit :v', 1.5],
    ['select current_timestamp at time zone :v', 'nowhere/never'],
    ['select * from nation where regexp_like(name, :v)', '('],
    ['select json_value(name, :v) from nation', 'lax $['],
  ];
  for (const [query, v] of wrong) {
    const compiled = compileTrino(query);
    if ('faults' in compiled) throw new Error(compiled.faults[0]?.message);
    const asking = client.ask(compiled.template.render(new Map([['v', v]])), limits());
    await t.rejects(asking, { name: 'SourceError', kind: 'bad value' }, `${query} ${v}`);
  }
  const compiled = compileTrino('select nope from nation where nationkey = :v');
  if ('faults' in compiled) throw new Error(compiled.faults[0]?.message);
  const asking = client.ask(compiled.template.render(new Map([['v', 1]])), limits());
  await t.rejects(asking, { name: 'SourceError', kind: 'refused' });
});
