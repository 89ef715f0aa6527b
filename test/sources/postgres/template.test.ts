import t from 'tap';
import { ExactNumber } from '../../../src/mcp/exact-json.ts';
import { locate } from '../../../src/sources/postgres/location.ts';
import { compilePostgres } from '../../../src/sources/postgres/template.ts';
import { type Bound, SourceError, ValueError } from '../../../src/sources/source.ts';
import { render, source } from './opened.ts';

const faults = (query: string): readonly string[] => {
  const compiled = compilePostgres(query);
  return 'faults' in compiled ? compiled.faults.map(({ path, message }) => `${path}: ${message}`) : [];
};

t.test('values are parameters: the same name is the same one', async (t) => {
  const request = render("select ':x', a::text from t where id = :id and (b = :b or c = :id);", { id: "o'k", b: true });
  t.equal(request.text, "select ':x', a::text from t where id = $1 and (b = $2 or c = $1)");
  t.strictSame(request.values, ["o'k", 'true']);
  t.equal(request.shown, "select ':x', a::text from t where id = 'o''k' and (b = true or c = 'o''k')");
  t.strictSame(
    render('values (:a, :b, :c, :d)', { a: null, b: 1.5, c: new ExactNumber('9007199254740993'), d: 'back\\slash' })
      .values,
    [null, '1.5', '9007199254740993', 'back\\slash'],
  );
});

t.test('a list is as many parameters as it has values', async (t) => {
  const query = 'select * from t where id in (:ids) and k = any(array[:ids]) and x = :x';
  const compiled = compilePostgres(query);
  t.strictSame('template' in compiled && Object.fromEntries(compiled.template.names), { ids: 'list', x: 'one' });
  const some = render(query, { ids: [1, 'b'], x: 2 });
  t.equal(some.text, 'select * from t where id in ($1,$2) and k = any(array[$1,$2]) and x = $3');
  t.strictSame(some.values, ['1', 'b', '2']);
  t.equal(some.name, undefined);
  const none = render(query, { ids: [], x: 2 });
  t.equal(none.text, 'select * from t where id in (null) and k = any(array[null]) and x = $1');
  t.equal(render('select 1 where 1 in (:ids)', { ids: Array(10_000).fill(1) }).values.length, 10_000);
  t.throws(() => render('select 1 where 1 in (:ids)', { ids: Array(10_001).fill(1) }), ValueError);
});

t.test('a name that also stands for one value takes one', async (t) => {
  const compiled = compilePostgres('select * from t where id in (:id) or parent = :id');
  t.equal('template' in compiled && compiled.template.names.get('id'), 'one');
});

t.test('the same question has the same key, and another has another', async (t) => {
  const query = 'select * from t where a = :a and b in (:b)';
  t.equal(render(query, { a: 1, b: ['x'] }).key, render(query, { a: 1, b: ['x'] }).key);
  const keys = [
    { a: 1, b: ['x'] },
    { a: 2, b: ['x'] },
    { a: 1, b: ['x', 'x'] },
    { a: 1, b: [] },
    { a: null, b: ['x'] },
  ];
  t.equal(new Set(keys.map((values) => render(query, values).key)).size, keys.length);
});

t.test('values that cannot be bound', async (t) => {
  const values: Bound[] = ['a\0b', '\ud800', Number.NaN, Number.POSITIVE_INFINITY, [], [1], {}, { a: 1 }];
  for (const v of values) t.throws(() => render('select :v', { v }), ValueError, JSON.stringify(v));
  t.throws(() => render('select :v'), ValueError);
  t.throws(() => render('select 1 where 1 in (:v)', { v: [[1]] }), ValueError);
});

t.test('what is shown is cut, what is sent is not', async (t) => {
  const request = render('select :v', { v: 'x'.repeat(100_000) });
  t.equal(request.shown.length, 8_193);
  t.equal(request.values[0]?.length, 100_000);
});

t.test('functions that do more than read are refused when a rule is saved, with the column', async (t) => {
  const refused: [query: string, fault: RegExp][] = [
    ["select set_config('transaction_read_only', 'off', true)", /line 1, column 8: set_config does more than read/],
    ["select 1,\n  pg_catalog.\"set_config\" /* x */ ('a', 'b', false)", /line 2, column 14: set_config/],
    ["select U&\"set\\005fconfig\"('a', 'b', false)", /column 8: /],
    ["select nextval('s')", /column 8: nextval/],
    ['select Pg_Advisory_Lock(1)', /column 8: pg_advisory_lock/],
    ['select * from pg_read_file($$/etc/passwd$$)', /column 15: pg_read_file/],
    ["select lo_import('/etc/passwd')", /lo_import/],
    ["select * from dblink('host=x', 'delete from t') as t(a int)", /dblink/],
    ["select query_to_xml('select pg_reload_conf()', true, true, '')", /query_to_xml/],
    ['select pg_terminate_backend(1)', /pg_terminate_backend/],
    ["select pg_logical_emit_message(false, 'a', 'b')", /pg_logical_emit_message/],
    ['delete from t', /column 1: /],
    ['with x as (delete from t returning *) select * from x', /column 12: /],
    ['select 1; drop table t', /column 9: /],
    ['select 1 into t', /column 10: /],
  ];
  for (const [query, fault] of refused) t.match(faults(query), [fault], query);
  for (const query of [
    'select nextval from t',
    "select 'set_config(1)'",
    'select lower(a), max(b) from pg_stat_file',
  ]) {
    t.strictSame(faults(query), [], query);
  }
});

t.test('where a database is follows from its URL alone', async (t) => {
  const where = (url: string, tls?: { ca?: string; insecure?: boolean }) => {
    const { password, ...rest } = locate(source(url, tls === undefined ? {} : { tls }));
    return { ...rest, password: password() };
  };
  t.strictSame(where('postgres://u%40x:p%2Fw@db.example:5433/led%20ger'), {
    host: 'db.example',
    port: 5433,
    user: 'u@x',
    password: 'p/w',
    database: 'led ger',
    ssl: false,
    application_name: 'sallyport',
  });
  t.match(where('postgresql://u@/d?host=/run/pg'), {
    host: '/run/pg',
    port: 5432,
    user: 'u',
    database: 'd',
    password: '',
  });
  t.match(where('postgresql:///d?host=/run/pg&user=u'), { host: '/run/pg', user: 'u', database: 'd' });
  t.match(where('postgres://u@[::1]'), { host: '::1', database: 'u' });
  t.strictSame(where('postgres://u@h/d?sslmode=require').ssl, { rejectUnauthorized: true });
  t.strictSame(where('postgres://u@h/d?sslmode=no-verify').ssl, { rejectUnauthorized: false });
  t.strictSame(where('postgres://u@h/d', { ca: 'PEM' }).ssl, { ca: 'PEM', rejectUnauthorized: true });
  t.strictSame(where('postgres://u@h/d?sslmode=require', { insecure: true }).ssl, { rejectUnauthorized: false });
  t.equal(where('postgres://u@h/d?sslmode=disable', { ca: 'PEM' }).ssl, false);
  for (const url of [
    'mysql://u:hush@h/d',
    'postgres://u:hush@h:x/d',
    'postgres://:hush@h/d',
    'postgres://u:hush%zz@h/d',
    'hush',
  ]) {
    t.throws(() => where(url), SourceError, url);
    try {
      where(url);
    } catch (error) {
      t.notMatch(`${(error as Error).message}${(error as Error).cause}`, /hush/);
    }
  }
});
