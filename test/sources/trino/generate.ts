/** SQL templates by a small grammar, and values that try to be more than values. */
import fc, { type Arbitrary } from 'fast-check';
import { ExactNumber, type Json } from '../../../src/mcp/exact-json.ts';

/** Pieces that mean something to some SQL lexer, or look as if they did. */
const PIECES = [
  ...'\'"`\\;:-/*()[]{}.,?$&@#%_ \t\n\r\b\f',
  "''",
  '--',
  '/*',
  '*/',
  "';",
  "' or '1'='1",
  "') union select 1 --",
  ':v0',
  ':l0',
  '$$',
  "U&'",
  "X'",
  "E'",
  '\\0027',
  '\\u0027',
  "\\'",
  '%27',
  '’',
  'ʼ',
  '＇',
  '“',
  '´',
  '\u2028',
  '\u00a0',
  '\ufeff',
  '\u200d',
  '\u0301',
  '\u007f',
  '\u0001',
  '𝒜',
  '😀',
  'é',
  'ß',
  'null',
  'drop table t',
  'a',
  '0',
];

export const hostileText: Arbitrary<string> = fc.oneof(
  fc.array(fc.constantFrom(...PIECES), { maxLength: 12 }).map((parts) => parts.join('')),
  fc.string({ unit: 'grapheme', maxLength: 30 }),
  fc.string({ unit: 'binary', maxLength: 30 }).map((text) => text.replaceAll('\0', '')),
);

const digits = (most: number): Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom(...'0123456789'), minLength: 1, maxLength: most });
const sign = fc.constantFrom('', '-');

/** With 38 digits or less. */
export const hostileNumber: Arbitrary<number | ExactNumber> = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.integer(),
  fc.constantFrom(0, -0, 1e21, -1e21, 1e37, 1e38, 5e-324, 1.7976931348623157e308, 2 ** 53, -(2 ** 63), 0.1, -0.1, 1e-7),
  fc.tuple(sign, digits(37)).map(([minus, text]) => new ExactNumber(`${minus}1${text}`)),
  fc
    .tuple(sign, digits(18), digits(18))
    .map(([minus, whole, fraction]) => new ExactNumber(`${minus}1${whole}.${fraction}`)),
  fc
    .constantFrom('9223372036854775807', '9223372036854775808', '-9223372036854775808', '-9223372036854775809')
    .map((text) => new ExactNumber(text)),
);

export const hostileValue: Arbitrary<Json> = fc.oneof(
  { weight: 5, arbitrary: hostileText },
  { weight: 3, arbitrary: hostileNumber },
  { weight: 1, arbitrary: fc.constantFrom(null, true, false) },
);

/** Space, or what counts as space; in some of it things that would be values or quotes elsewhere. */
const space = fc.constantFrom(
  ' ',
  '  ',
  '\n',
  '\t',
  '\r\n',
  ' /* :no \' " ; */ ',
  '/**/',
  " -- :no ' /*\n",
  '/* /* ; */',
  ' -- \r',
);
const scalar = fc.constantFrom(':v0', ':v1', ':v2', ':v3');
const list = fc.constantFrom(':l0', ':l1');
const constant = fc.constantFrom(
  '1',
  '1.5',
  '.5',
  '1e3',
  'null',
  "''",
  "'it''s :no'",
  "'-- no'",
  "'/*'",
  "X'00'",
  "U&'d\\0061t :no'",
  'true',
  "date '2024-01-01'",
  "interval '1' day",
);
const column = fc.constantFrom('a', 't.a', '"a"', '"a "" :no"', '"--"', 't."/*"', '"select"');

/** Words and symbols, joined by something that counts as space. */
const joined = (...parts: (string | Arbitrary<string>)[]): Arbitrary<string> =>
  fc
    .tuple(
      fc.array(space, { minLength: parts.length, maxLength: parts.length }),
      ...parts.map((part) => (typeof part === 'string' ? fc.constant(part) : part)),
    )
    .map(([between, ...texts]) => texts.map((text, i) => (i === 0 ? text : `${between[i]}${text}`)).join(''));

/** How deep brackets and queries go. No deeper: the time of Trino's own parser grows exponentially with some of them. */
const BOUNDED = { maxDepth: 1, depthIdentifier: fc.createDepthIdentifier() };

const { query } = fc.letrec<{ expression: string; query: string; condition: string; relation: string; items: string }>(
  (tie) => {
    const expression = tie('expression');
    const condition = tie('condition');
    const operators = fc.constantFrom('+', '-', '*', '/', '%', '||');
    const comparisons = fc.constantFrom('=', '<>', '!=', '<', '>=', 'is distinct from', 'is not distinct from');
    return {
      expression: fc.oneof(
        BOUNDED,
        scalar,
        { weight: 2, arbitrary: scalar },
        constant,
        column,
        joined('(', expression, operators, expression, ')'),
        joined('(-', expression, ')'),
        expression.map((inner) => `(-${inner})`),
        joined('cast(', expression, 'as varchar )'),
        joined('f(', expression, ',', expression, ')'),
        joined('case when', condition, 'then', expression, 'else', expression, 'end'),
        joined('case', expression, 'when', expression, 'then', expression, 'end'),
        joined('array[', list, ',', expression, ']'),
        joined('transform(array[', list, '], x -> (x ||', expression, '))'),
        joined('(', tie('query'), ')'),
        joined('(', expression, ',', expression, ')'),
        joined('count(*) filter (where', condition, ') over (partition by a order by b )'),
        joined('(', expression, 'at time zone', "'UTC' )"),
        joined("json_object('k' :", expression, ')'),
      ),
      condition: fc.oneof(
        BOUNDED,
        joined(expression, comparisons, expression),
        joined(expression, 'in (', list, ')'),
        joined(expression, 'not in (', expression, ',', list, ')'),
        joined(expression, 'in (', tie('query'), ')'),
        joined(expression, 'between', expression, 'and', expression),
        joined(expression, 'like', expression, 'escape', expression),
        joined('exists (', tie('query'), ')'),
        joined('not (', condition, 'and', condition, ')'),
        joined('(', condition, 'or', condition, ')'),
      ),
      items: fc.oneof(fc.constant('*'), expression, joined(expression, 'as x'), joined(tie('items'), ',', expression)),
      relation: fc.oneof(
        BOUNDED,
        fc.constantFrom('t', 'c.s.t', '"t :no"', 't as u (a, b)'),
        joined('(', tie('query'), ') as q'),
        joined('unnest(array[', list, ']) with ordinality as u (a, n)'),
        joined('(values (', expression, ',', expression, ')) as v (a, b)'),
        joined('table(sequence(start =>', expression, ', stop =>', expression, '))'),
        joined('t join', tie('relation'), 'on', condition),
        joined('t cross join lateral (', tie('query'), ') as l'),
        joined('t for timestamp as of', expression),
        joined('t tablesample bernoulli (', expression, ')'),
      ),
      query: fc.oneof(
        BOUNDED,
        joined('select', tie('items')),
        joined('select', tie('items'), 'from', tie('relation'), 'where', condition),
        joined(
          'select distinct',
          tie('items'),
          'from',
          tie('relation'),
          ', u',
          'where',
          condition,
          'group by a, b having',
          condition,
          'order by abs(',
          expression,
          ') desc, a',
        ),
        joined('values', expression, ',', expression),
        joined('with w (a) as (', tie('query'), '), "w 2" as (', tie('query'), ') select', tie('items'), 'from w'),
        joined('select', expression, 'union all select', expression, 'from', tie('relation')),
        joined(
          'select',
          expression,
          'from t window w as (partition by a order by b rows between',
          expression,
          'preceding and current row )',
        ),
      ),
    };
  },
);

/** A template that the grammar of Trino takes, with `:v0`…`:v3` for one value and `:l0`, `:l1` for a list. */
export const template: Arbitrary<string> = fc
  .tuple(query, fc.constantFrom('', ';', ' ; -- :no'))
  .map(([text, end]) => text + end);

const STATEMENTS = [
  'insert into t values 1',
  'delete from t where a = 1',
  'update t set a = 1',
  'merge into t using u on true when matched then delete',
  'create table t as select 1',
  'drop table t',
  'call p(1)',
  "execute immediate 'drop table t'",
  "set session a = 'b'",
  'explain analyze select 1',
  'explain select 1',
  'prepare p from delete from t',
  'grant select on t to u',
  'start transaction',
  'show tables from a',
  'show create table t',
  'describe t',
  'table t',
  'truncate table t',
  'with function f() returns bigint return 1 select f()',
];
const FRAGMENTS = [
  ...PIECES,
  ...STATEMENTS,
  ...STATEMENTS.map((one) => `(${one})`),
  ...STATEMENTS.map((one) => `with w as (${one}) select 1`),
  'as',
  'from',
  'select',
  'with',
  'in (',
  'values',
  'into t',
  'for update',
  'order by',
  ':v1',
  ':l1',
  'date',
  'interval',
  "''",
  '"',
  'x',
  '1',
  '=>',
  '->',
  '::',
];

/** SQL that went wrong: pieces of statements put in, taken out and doubled. */
export const wreck: Arbitrary<string> = fc
  .tuple(
    fc.oneof(
      template,
      fc.constantFrom(...STATEMENTS),
      fc.constantFrom(...STATEMENTS).map((one) => `${one};`),
    ),
    fc.array(
      fc.tuple(
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.nat(8),
        fc.constantFrom('', ' ', '\n'),
        fc.constantFrom('', ...FRAGMENTS),
      ),
      { maxLength: 4 },
    ),
  )
  .map(([text, edits]) =>
    edits.reduce((now, [where, removed, gap, put]) => {
      const at = Math.floor(where * now.length);
      return now.slice(0, at) + gap + put + gap + now.slice(at + removed);
    }, text),
  );
