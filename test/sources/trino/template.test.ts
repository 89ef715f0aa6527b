/** Templates for Trino and the literals that values become. */
import t from 'tap';
import { ExactNumber, type Json, parseJson } from '../../../src/mcp/exact-json.ts';
import { type Bound, type Template, ValueError } from '../../../src/sources/source.ts';
import { listLiteral, literal } from '../../../src/sources/trino/literal.ts';
import { compileTrino, type TrinoRequest } from '../../../src/sources/trino/template.ts';

function compiled(query: string): Template {
  const made = compileTrino(query);
  if ('faults' in made) throw new Error(made.faults[0]?.message);
  return made.template;
}

function render(query: string, values: Readonly<Record<string, Bound>>): string {
  return (compiled(query).render(new Map(Object.entries(values))) as TrinoRequest).statement;
}

t.test('literals', async (t) => {
  const cases: readonly [Json, string][] = [
    [null, 'NULL'],
    [true, 'TRUE'],
    [false, 'FALSE'],
    ['', "''"],
    ["O'Neil'", "'O''Neil'''"],
    ['’ʼ＇` \\ " -- /* ; \n :a 𝒜', "'’ʼ＇` \\ \" -- /* ; \n :a 𝒜'"],
    [0, '0'],
    [-0, '0'],
    [-5, '(-5)'],
    [0.1, '0.1'],
    [-0.1, '(-0.1)'],
    [1e-7, '1E-7'],
    [-1e-7, '(-1E-7)'],
    [1e21, "DECIMAL '1000000000000000000000'"],
    [1.5e37, "DECIMAL '15000000000000000000000000000000000000'"],
    [-1e21, "DECIMAL '-1000000000000000000000'"],
    [1e38, '1E+38'],
    [Number.MAX_SAFE_INTEGER, '9007199254740991'],
    [Number.MAX_VALUE, '1.7976931348623157E+308'],
    [parseJson('9223372036854775807'), '9223372036854775807'],
    [parseJson('-9223372036854775808'), '(-9223372036854775808)'],
    [parseJson('9223372036854775809'), "DECIMAL '9223372036854775809'"],
    [parseJson('-9223372036854775809'), "DECIMAL '-9223372036854775809'"],
    [new ExactNumber('0.10000000000000000000000000000000000001'), '0.10000000000000000000000000000000000001'],
    [new ExactNumber('-12345678901234567890.5'), '(-12345678901234567890.5)'],
    [new ExactNumber('9'.repeat(38)), `DECIMAL '${'9'.repeat(38)}'`],
  ];
  for (const [value, expected] of cases) t.equal(literal(value, 'x'), expected);
  t.equal(listLiteral(['a', 1, null], 'x'), "'a', 1, NULL");
  t.equal(listLiteral([], 'x'), 'NULL');
  t.equal(listLiteral('one', 'x'), "'one'");
});

t.test('values that are refused', async (t) => {
  const cases: readonly [Bound, RegExp][] = [
    ['a\0b', /NUL/],
    ['\ud800', /half of a pair/],
    ['\udc00a', /half of a pair/],
    [Number.NaN, /not a number/],
    [Number.POSITIVE_INFINITY, /not a number/],
    [[1], /:x is an array.*in \(:x\)/],
    [{ a: 1 }, /:x is an object/],
    [new ExactNumber('9'.repeat(39)), /39 digits/],
    [new ExactNumber(`0.${'1'.repeat(39)}`), /39 digits/],
    [new ExactNumber('1e400'), /double/],
    [new ExactNumber("1'; drop"), /not a number/],
  ];
  for (const [value, why] of cases) {
    t.throws(() => literal(value, 'x'), why);
    t.throws(() => literal(value, 'x'), ValueError);
  }
  t.throws(() => listLiteral([[1]], 'x'), ValueError);
  t.throws(() => listLiteral([{}], 'x'), ValueError);
  t.throws(() => listLiteral(Array(10_001).fill(1), 'x'), /10001 values; at most 10000/);
  t.throws(() => render('select :x', { x: 'a'.repeat(1_000_000) }), /Trino takes 1000000/);
  t.throws(() => render('select :x', {}), /:x is not bound/);
});

t.test('templates', async (t) => {
  const template = compiled('select :a, :b from t where c in (:a, :c) and d = any (values :b) and -:n < x ; -- end');
  t.same(
    [...template.names],
    [
      ['a', 'one'],
      ['b', 'one'],
      ['c', 'list'],
      ['n', 'one'],
    ],
  );
  t.equal(template.mayWrite, false);
  t.equal(
    render('select :a, :b from t where c in (:a, :c) and -:n < x ; -- end', { a: "'", b: null, c: ['x', "y'"], n: -1 }),
    "select '''', NULL from t where c in ('''', 'x', 'y''') and -(-1) < x",
  );
  t.equal(render('select * from t where c in (:c)', { c: [] }), 'select * from t where c in (NULL)');
  t.equal(render('select :a', { a: '$& $1 :b' }), "select '$& $1 :b'", 'a value is not looked into');
  const long = compiled('select :a').render(new Map([['a', 'x'.repeat(10_000)]]));
  t.ok(long.shown.length < 9000);
  t.equal(long.key, (long as TrinoRequest).statement);
  t.same(compileTrino('select *\n  from :t'), {
    faults: [
      {
        path: 'source.query',
        message:
          'line 2, column 8: :t cannot stand here: after FROM no value can follow. Names, types and keywords are written out; a typed value is cast(:t as date)',
      },
    ],
  });
});
