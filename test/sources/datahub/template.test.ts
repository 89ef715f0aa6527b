/** What is refused when a rule is saved, and when a call's values cannot stand where they are bound. */
import fc from 'fast-check';
import t from 'tap';
import { compileDataHub, MAX_URNS, renderEntities } from '../../../src/sources/datahub/template.ts';
import { datasetUrn, isUrn, parseDatasetUrn } from '../../../src/sources/datahub/urn.ts';
import { type Bound, ValueError } from '../../../src/sources/source.ts';

type Operation = Parameters<typeof compileDataHub>[0]['operation'];
type Bind = Parameters<typeof compileDataHub>[0]['bind'];

function faults(operation: string, bind: Bind): string[] {
  const compiled = compileDataHub({ operation: operation as Operation, bind });
  return 'faults' in compiled ? compiled.faults.map(({ path, message }) => `${path}: ${message}`) : [];
}

t.test('names that an operation does not take, or lacks', async (t) => {
  t.same(faults('entity', {}), ['source.bind: entity needs "urn": bind it']);
  t.same(faults('entity', { urn: '$.args.urn', name: 'x' }), [
    'source.bind.name: entity takes no "name", only "urn", "columns"',
  ]);
  t.same(faults('glossary_term', {}), ['source.bind: glossary_term needs "urn" or "name": bind it']);
  t.same(faults('glossary_term', { urn: '$.a', name: '$.b' }), [
    'source.bind: glossary_term takes either "urn" or "name"',
  ]);
  t.same(faults('lineage', { urn: '$.a' }), ['source.bind: lineage needs "direction": bind it']);
  t.same(faults('mutation', {}), [
    'source.operation: there is no operation "mutation": use entity, search, glossary_term, lineage',
  ]);
  t.match(faults('toString', {}), [/no operation/]);
  t.match(faults('entity', { urn: '$.a', constructor: 'x' }), [/takes no "constructor"/]);
});

t.test('constants that can never fit', async (t) => {
  t.match(faults('lineage', { urn: '$.a', direction: 'sideways' }), [
    /source.bind.direction: .*UPSTREAM or DOWNSTREAM/,
  ]);
  t.match(faults('search', { query: '$.a', count: 0 }), [/source.bind.count: .*1 to 100/]);
  t.match(faults('search', { query: '$.a', types: 'dataset; drop' }), [/source.bind.types: .*not a type of entity/]);
  t.match(faults('entity', { urn: '$.a', columns: 'yes' }), [/source.bind.columns: "columns" is true or false/]);
  t.match(faults('search', { query: '' }), [/source.bind.query: .*is empty/]);
  t.same(faults('search', { query: '$.a', count: '$.b', types: 'DATASET', platform: 'trino' }), []);
});

t.test('which names take lists', async (t) => {
  const compiled = compileDataHub({ operation: 'entity', bind: { urn: '$.item.urn', columns: true } });
  if ('faults' in compiled) throw new Error('faulty');
  t.same(
    [...compiled.template.names],
    [
      ['urn', 'list'],
      ['columns', 'one'],
    ],
  );
  t.notOk(compiled.template.mayWrite);
});

function render(operation: Operation, values: Readonly<Record<string, Bound>>) {
  const compiled = compileDataHub({
    operation,
    bind: Object.fromEntries(Object.keys(values).map((name) => [name, `$.${name}`])),
  });
  if ('faults' in compiled) throw new Error(JSON.stringify(compiled.faults));
  return compiled.template.render(new Map(Object.entries(values)));
}

t.test('values that cannot stand there', async (t) => {
  const refused = (operation: Operation, values: Readonly<Record<string, Bound>>, message: RegExp): void => {
    t.throws(() => render(operation, values), { name: 'ValueError', message });
  };
  refused('entity', { urn: 'nonsense' }, /"nonsense" is not a URN/);
  refused('entity', { urn: { a: 1 } }, /must be a text, and is an object/);
  refused('entity', { urn: [['urn:li:tag:a']] }, /must be a text, and is a list/);
  refused('search', { query: null }, /is missing/);
  refused('search', { query: 'a\0b' }, /NUL/);
  refused('search', { query: 'a', count: 1.5 }, /whole number/);
  refused('lineage', { urn: 'x', direction: 'UPSTREAM' }, /is not a URN/);
  refused('lineage', { urn: 'urn:li:tag:a', direction: 'UP' }, /UPSTREAM or DOWNSTREAM/);
  const many = Array.from({ length: MAX_URNS + 1 }, (_, i) => `urn:li:tag:${i}`);
  refused('entity', { urn: many }, /501 entities/);
});

t.test('the same question has the same key, another one another', async (t) => {
  const key = (operation: Operation, values: Readonly<Record<string, Bound>>): string => render(operation, values).key;
  t.equal(key('entity', { urn: 'urn:li:tag:a' }), key('entity', { urn: ['urn:li:tag:a', 'urn:li:tag:a'] }));
  const keys = [
    key('entity', { urn: 'urn:li:tag:a' }),
    key('entity', { urn: 'urn:li:tag:a', columns: true }),
    key('glossary_term', { urn: 'urn:li:tag:a' }),
    key('glossary_term', { name: 'a' }),
    key('search', { query: 'a', types: 'GLOSSARY_TERM' }),
    key('lineage', { urn: 'urn:li:tag:a', direction: 'UPSTREAM' }),
    key('lineage', { urn: 'urn:li:tag:a', direction: 'DOWNSTREAM' }),
    renderEntities(['urn:li:tag:a'], { columns: 'described' }).key,
  ];
  t.equal(new Set(keys).size, keys.length);
});

t.test('any table name has a URN of its own that reads back as that name', async () => {
  const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 });
  const clean = name.filter((text) => !/\p{Cc}|\p{Cs}|%/u.test(text) && text.trim() === text);
  fc.assert(
    fc.property(clean, (text) => {
      const urn = datasetUrn({ platform: 'trino', name: text, env: 'PROD' });
      return isUrn(urn) && parseDatasetUrn(urn)?.name === text;
    }),
  );
  fc.assert(
    fc.property(fc.constantFrom(...'a,()"\'%␟ é'), fc.constantFrom(...'b,()"␟'), (a, b) => {
      const urn = datasetUrn({ platform: 'trino', name: `x${a}${b}y`, env: 'PROD' });
      return isUrn(urn) && urn.split(',').length === 3 && parseDatasetUrn(urn)?.name === `x${a}${b}y`;
    }),
  );
});

t.test('what is no URN', async (t) => {
  for (const text of [
    '',
    'urn:li:dataset',
    'urn:li:dataset:',
    'urn:li:dataset:(a,b',
    'urn:li:dataset:)a(',
    'urn:ms:dataset:(a,b,c)',
    'urn:li:dataset:(a,b,c) ',
    'urn:li:dataset:(a,b\n,c)',
    `urn:li:tag:${'x'.repeat(600)}`,
    'urn:li:d"t:(a)',
    "urn:li:dataset:(a,b,c') OR 1=1",
    'urn:li:dataset:(urn:li:dataPlatform:trino,a,b,PROD)',
    'urn:li:dataset:(urn:li:dataPlatform:trino,a)',
    'urn:li:dataset:customer',
    'urn:li:tag:(a,b)',
    'urn:li:tag:a)',
  ]) {
    t.notOk(isUrn(text), JSON.stringify(text.slice(0, 40)));
  }
  for (const text of ['urn:li:tag:é"', 'urn:li:corpuser:a b', 'urn:li:dataJob:(urn:li:dataFlow:(a,b,c),d)'])
    t.ok(isUrn(text));
});

t.test('whatever is bound either renders or is refused as a value', async () => {
  fc.assert(
    fc.property(
      fc.constantFrom<Operation>('entity', 'search', 'glossary_term', 'lineage'),
      fc.jsonValue(),
      fc.jsonValue(),
      (operation, first, second) => {
        const names = {
          entity: ['urn', 'columns'],
          search: ['query', 'types'],
          glossary_term: ['name'],
          lineage: ['urn', 'direction'],
        };
        const [a = '', b] = names[operation];
        try {
          render(operation, { [a]: first as Bound, ...(b === undefined ? {} : { [b]: second as Bound }) });
          return true;
        } catch (error) {
          return error instanceof ValueError;
        }
      },
    ),
  );
});
