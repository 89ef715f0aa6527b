/** What may be asked, and where values may stand: the author is told with line and column. */
import t, { type Test } from 'tap';
import { type Dialect, scanStatement } from '../../../src/sources/sql/scanner.ts';

function values(text: string, dialect: Dialect): string {
  const scanned = scanStatement(text, dialect);
  if ('faults' in scanned) return scanned.faults.map((one) => `${one.line}:${one.column} ${one.message}`).join('\n');
  return scanned.placeholders
    .map((one) => {
      t.equal(text.slice(one.start, one.end), `:${one.name}`);
      return one.takes === 'list' ? `${one.name}[]` : one.name;
    })
    .join(' ');
}

/** `where`: `line:column`, or `column` of the first line. */
function refused(t: Test, dialects: readonly Dialect[], text: string, where: string, why: RegExp): void {
  for (const dialect of dialects) {
    const said = values(text, dialect);
    t.match(said, new RegExp(`^${where.includes(':') ? where : `1:${where}`} `), `${dialect}: ${text}`);
    t.match(said, why, `${dialect}: ${text}`);
  }
}

const BOTH: readonly Dialect[] = ['trino', 'postgres'];

t.test('values', async (t) => {
  const cases: readonly [text: string, expected: string, dialects?: readonly Dialect[]][] = [
    ['select * from t where id = :id and name = :name', 'id name'],
    ['select :i, :i64, :_x', 'i i64 _x'],
    ["select ':a', \":b\", 'it''s :c', \"q\"\":d\" -- :e ' \n, :f /* :g ' */ , :h", 'f h'],
    ['select * from t where id in (:ids) and x in (1, :a, :b) and y in (:c + 1)', 'ids[] a[] b[] c'],
    ['select * from unnest(array[:ids]) as t(id) cross join unnest(array[1, :more]) as u(x)', 'ids[] more[]'],
    ['select * from t where x in (select :a, :b, :c from u)', 'a b c'],
    ['select f(:a, :b), case when :c then :d else :e end from t', 'a b c d e'],
    ['with a as (select :x as x), b(y) as (values (:y)) select * from a, b where a.x is distinct from :z', 'x y z'],
    ['select * from (values (:a, :b), (:c, :d)) as t(x, y) limit :n', 'a b c d n'],
    ['select * from a join b on a.x = :v and f(:w) where -:n < +:m', 'v w n m'],
    ['select count(*) filter (where x > :x) over (partition by y order by z rows 1 preceding) from t', 'x'],
    ['select a from t order by abs(a - :n) desc offset :o fetch first :k rows only', 'n o k'],
    ['select :a::int, (:b)::text, x::date = :c from t', 'a b c', ['postgres']],
    ["select $$ :a ' $$, $q$ $$ :b $q$, E'\\' :c', x$y$, :d from t", 'd', ['postgres']],
    ['select /* a /* nested :x */ :y */ :z', 'z', ['postgres']],
    ['select /* a /* not nested */ :z', 'z', ['trino']],
    ["select U&'d\\0061t :a' , :b", 'b'],
    ['select * from generate_series(1, :n) g, lateral f(:m) as h(a)', 'n m', ['postgres']],
    ['select * from table(sequence(start => 1, stop => :n))', 'n', ['trino']],
    ['select * from t for timestamp as of :at where x = 1', 'at', ['trino']],
    ['select * from t for timestamp as of f(:a, :b) + g(:c)', 'a b c', ['trino']],
    ['show tables like :p', 'p', ['trino']],
    ['select x at time zone :z from t', 'z'],
    ['((select :a))', 'a'],
    ["select json_object('a' : :b)", 'b', ['trino']],
    ['select a[:i], b[1:2] from t', 'i', ['postgres']],
    ['select x -- the end', ''],
    ['table t', ''],
    ['describe t', '', ['trino']],
    ['select "update", t.delete from t where (share) > 1', '', ['postgres']],
  ];
  for (const [text, expected, dialects = BOTH] of cases)
    for (const dialect of dialects) t.equal(values(text, dialect), expected, `${dialect}: ${text}`);
  const ended = scanStatement('select 1 ; ; -- over', 'trino');
  t.match(ended, { text: 'select 1' });
});

t.test('values as arguments that words lead', async (t) => {
  for (const text of [
    'select extract(year from :v)',
    'select trim(both :v from :w), trim(trailing from :v)',
    'select substring(:v from :a for :b), substring(x from 1 for :b) from t',
    'select overlay(x placing :v from :a) from t',
    'select position(:v in x), position(x in :v) from t',
    "select json_object(key 'a' value :v)",
    'select sum(x) over (order by y rows :n preceding) from t',
  ])
    for (const dialect of BOTH) t.hasStrict(scanStatement(text, dialect), { text }, `${dialect}: ${text}`);
  t.match(scanStatement('select x similar to :v from t', 'postgres'), { placeholders: [{ name: 'v' }] });
  refused(t, BOTH, 'select extract(year from (select 1 from :t))', '41', /after FROM/);
  refused(t, BOTH, 'select sum(x) over (order by y rows :n) from t', '37', /after ROWS/);
  refused(t, BOTH, 'select x from t where a in (1) and b in :v', '41', /write in/);
});

t.test('values that would be something else', async (t) => {
  refused(t, BOTH, 'select x:name', '9', /space before and after :name/);
  refused(t, BOTH, 'select e:name', '9', /space/);
  refused(t, ['postgres'], 'select U&:name', '10', /space/);
  refused(t, ['trino'], 'select U&:name', '9', /"&" cannot stand/);
  refused(t, BOTH, "select 'a':b", '11', /space/);
  refused(t, BOTH, "select :b'a'", '8', /space/);
  refused(t, BOTH, 'select :a:b', '8', /space/);
  refused(t, BOTH, 'select 5:a', '9', /space/);
  refused(t, ['postgres'], 'select :aé', '8', /space/);
  refused(t, ['trino'], 'select :aé', '10', /only inside quotes/);
  refused(t, BOTH, 'select x :name', '10', /after X no value/);
  refused(t, BOTH, 'select date :d', '13', /cast\(:d as date\)/);
  refused(t, BOTH, 'select x /**/ :name', '15', /after X/);
  refused(t, BOTH, "select 'a' :b", '12', /after a string/);
  refused(t, BOTH, "select :b 'a'", '8', /only values/);
  refused(t, BOTH, 'select :a :b', '11', /after a value/);
  refused(t, BOTH, 'select\n  *\nfrom :t', '3:6', /after FROM/);
  refused(t, BOTH, 'select * from a, :t', '18', /a name stands here/);
  refused(t, BOTH, 'select * from a join b on true, :t', '33', /a name stands here/);
  refused(t, BOTH, 'select * from (:t)', '16', /a name stands here/);
  refused(t, BOTH, 'select * from a join :t on true', '22', /after JOIN/);
  refused(t, BOTH, 'select * from a join b using (x, :c)', '34', /a name stands here/);
  refused(t, BOTH, 'select * from a as b(:c)', '22', /a name stands here/);
  refused(t, BOTH, 'select * from s.a b(x, :c)', '24', /a name stands here/);
  refused(t, BOTH, 'with a(:c) as (select 1) select 1', '8', /a name stands here/);
  refused(t, BOTH, 'select a as :c', '13', /after AS/);
  refused(t, BOTH, 'select t. :c from t', '11', /after \./);
  refused(t, BOTH, 'select :t .c', '8', /only values/);
  refused(t, BOTH, 'select :f (1)', '8', /only values/);
  refused(t, BOTH, 'select a from t order by :c', '26', /number of a column/);
  refused(t, BOTH, 'select a from t group by a, (:c)', '30', /number of a column/);
  refused(t, BOTH, 'select a from t group by rollup(:c)', '33', /number of a column/);
  refused(t, BOTH, 'select cast(a as :t)', '18', /after AS/);
  refused(t, ['postgres'], 'select a:::t', '11', /space/);
  refused(t, ['postgres'], 'select a:: :t', '12', /after ::/);
  refused(t, BOTH, 'select x in :ids', '13', /write in \(:ids\)/);
  refused(t, BOTH, 'table :t', '7', /after TABLE/);
  refused(t, ['trino'], "select * from table(es.system.raw_query(query => 'x' || :s))", '57', /query runs/);
  refused(t, ['trino'], 'select * from table(es.system."raw_query"(query => :s))', '52', /query runs/);
  refused(t, ['postgres'], "select query_to_xml(:s, true, true, '')", '21', /query_to_xml runs/);
  refused(t, ['postgres'], 'select $1', '8', /write :name/);
  refused(t, ['trino'], 'select ?', '8', /write :name/);
});

t.test('statements that do more than read', async (t) => {
  refused(t, BOTH, '', '1', /write one query/);
  refused(t, BOTH, '-- nothing', '1', /write one query/);
  for (const word of 'INSERT UPDATE DELETE MERGE TRUNCATE CREATE DROP ALTER GRANT REVOKE CALL EXECUTE PREPARE SET RESET COPY DO BEGIN START COMMIT EXPLAIN ANALYZE VACUUM LOCK USE DENY REFRESH COMMENT LISTEN'.split(
    ' ',
  ))
    refused(t, BOTH, `  ${word.toLowerCase()} x y`, '3', new RegExp(word));
  refused(t, ['postgres'], 'show x', '1', /SHOW/);
  refused(t, BOTH, '(show tables)', '2', /SHOW/);
  refused(t, BOTH, 'select 1; delete from t', '9', /second statement/);
  refused(t, BOTH, 'select 1;;select 2', '9', /second statement/);
  refused(t, BOTH, 'with a as (delete from t returning *) select * from a', '12', /DELETE changes/);
  refused(t, BOTH, 'with a as (select 1), b as ((insert into t values (1))) select 1', '30', /INSERT changes/);
  refused(t, BOTH, 'with a as (select 1) insert into t select * from a', '22', /INSERT changes/);
  refused(t, BOTH, 'with a as (select 1) merge into t using a on true', '22', /MERGE changes/);
  refused(t, BOTH, 'select * from (with a as (update t set x = 1) select 1)', '27', /UPDATE changes/);
  refused(t, ['postgres'], 'with a as not materialized (delete from t) select 1', '29', /DELETE/);
  refused(
    t,
    ['postgres'],
    'with recursive a as (select 1) search depth first by x set y delete from t',
    '62',
    /DELETE/,
  );
  refused(t, ['trino'], 'with function f() returns int return 1 select f()', '6', /only queries/);
  refused(t, ['trino'], "with session query_max_run_time = '1d' select 1", '6', /only queries/);
  refused(t, BOTH, 'select * into t from u', '10', /INTO writes/);
  refused(t, BOTH, 'select * from t for update', '17', /FOR UPDATE locks/);
  refused(t, ['postgres'], 'select * from t for no key update', '17', /locks/);
});

t.test('text that does not end or is none', async (t) => {
  refused(t, BOTH, "select 'abc", '8', /string does not end/);
  refused(t, BOTH, 'select "abc', '8', /name does not end/);
  refused(t, BOTH, "select '𝒜𝒜', \"abc", '14', /name does not end/);
  refused(t, BOTH, 'select 1\r\n /* abc', '2:2', /comment does not end/);
  refused(t, ['postgres'], 'select /* /* */ 1', '8', /comment does not end/);
  refused(t, ['postgres'], "select E'abc\\'", '9', /string does not end/);
  refused(t, ['postgres'], 'select $a$ $b$', '8', /close it with \$a\$/);
  refused(t, ['postgres'], "select E'a'\n'b\\' , :x", '2:1', /string right after/);
  refused(t, ['postgres'], "select 1e'a\\'", '9', /number ends here/);
  refused(t, BOTH, 'select `a`', '8', /backticks/);
  refused(t, BOTH, 'select "a\0"', '10', /NUL/);
  refused(t, BOTH, "select '\ud800'", '9', /half of a pair/);
  refused(t, ['trino'], 'select\u00a01', '7', /only inside quotes/);
  refused(t, BOTH, 'select (1', '8', /not closed/);
  refused(t, BOTH, 'select (1]', '10', /nothing is open/);
  refused(t, BOTH, 'select 1)', '9', /nothing is open/);
  refused(t, ['postgres'], 'select U&"a"', '8', /hide/);
  refused(t, BOTH, `select '${'x'.repeat(65_536)}'`, '1', /64 KiB/);
});

t.test('what hands a statement on to another database is refused, whatever it says', async (t) => {
  refused(
    t,
    ['trino'],
    "select * from table(pg.system.query(query => 'insert into t values (1) returning x'))",
    '31',
    /another database/,
  );
  refused(t, ['trino'], `select * from table(pg.system."Query" (query => 'x'))`, '31', /another database/);
  refused(t, ['trino'], "select * from table(ms.system.procedure(query => 'exec x'))", '31', /another database/);
  for (const text of [
    'select query, t.query from t',
    'select query from (values 1) as query (x)',
    'select t.query in (1) from t',
  ])
    t.match(scanStatement(text, 'trino'), { text });
});
