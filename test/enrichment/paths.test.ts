import fc from 'fast-check';
import { JSONPath } from 'jsonpath-plus';
import t from 'tap';
import { MOST_RESULTS, MOST_STEPS } from '../../src/enrichment/path-search.ts';
import { compilePath } from '../../src/enrichment/paths.ts';
import type { Path } from '../../src/enrichment/rule.ts';
import { ExactNumber, type Json } from '../../src/mcp/exact-json.ts';

function path(text: string, roots?: readonly string[]): Path {
  const compiled = compilePath(text, roots && { roots });
  if ('fault' in compiled) throw new Error(`${text}: ${compiled.fault}`);
  return compiled;
}

function fault(text: string): string {
  const compiled = compilePath(text);
  return 'fault' in compiled ? compiled.fault : 'none';
}

const root = {
  args: { id: 7, 'first name': 'Ada', "it's": { '["': 1 }, 'a,b': 2, '*': 3, '@type': 'x', __proto: 1 },
  response: {
    items: [{ id: 1, tags: ['a', 'b'] }, { id: 2, tags: [] }, { name: 'no id' }, { id: null, tags: ['c'] }],
    total: new ExactNumber('9007199254740993'),
    text: 'hello',
  },
  principal: { subject: 'ada' },
  tool: { name: 'get', connection: 'crm' },
};

t.test('definite paths find one value and its place', async (t) => {
  for (const [text, value, place] of [
    ['$.args.id', 7, ['args', 'id']],
    ["$.args['first name']", 'Ada', ['args', 'first name']],
    ['$["args"]["first name"]', 'Ada', ['args', 'first name']],
    ["$.args['it\\'s']['[\"']", 1, ['args', "it's", '["']],
    ["$.args['a,b']", 2, ['args', 'a,b']],
    ["$.args['*']", 3, ['args', '*']],
    ["$.args['@type']", 'x', ['args', '@type']],
    ['$.response.items[1].id', 2, ['response', 'items', 1, 'id']],
    ["$.response.items['1'].id", 2, ['response', 'items', 1, 'id']],
    ['$.response.items[3].id', null, ['response', 'items', 3, 'id']],
    ['$.response.total', root.response.total, ['response', 'total']],
  ] as const) {
    const compiled = path(text);
    t.same(compiled.find(root), [value], text);
    t.strictSame(compiled.places(root), [place], text);
  }
});

t.test('several values come in document order, each with its place', async (t) => {
  for (const [text, values, places] of [
    ['$.response.items[*].id', [1, 2, null], [0, 1, 3].map((n) => ['response', 'items', n, 'id'])],
    [
      '$.response.items[*].tags[*]',
      ['a', 'b', 'c'],
      [
        [0, 0],
        [0, 1],
        [3, 0],
      ].map(([n, m]) => ['response', 'items', n, 'tags', m]),
    ],
    ['$.response.items[1:3].id', [2], [['response', 'items', 1, 'id']]],
    ['$.response.items[-1:].tags[0]', ['c'], [['response', 'items', 3, 'tags', 0]]],
    [
      '$.response.items[0,2]["id","name"]',
      [1, 'no id'],
      [
        ['response', 'items', 0, 'id'],
        ['response', 'items', 2, 'name'],
      ],
    ],
    ['$.response..tags[0]', ['a', 'c'], [0, 3].map((n) => ['response', 'items', n, 'tags', 0])],
    ["$.args..['a,b']", [2], [['args', 'a,b']]],
    ["$.args..['*']", [3], [['args', '*']]],
    ['$.principal.*', ['ada'], [['principal', 'subject']]],
  ] as const) {
    const compiled = path(text);
    t.same(compiled.find(root), values, text);
    t.strictSame(compiled.places(root), places, text);
  }
});

t.test('only what the JSON wrote is found', async (t) => {
  for (const text of [
    '$.args.constructor',
    '$.args.__proto__',
    '$.args.toString.name',
    '$.response.items.length',
    '$.response.text.length',
    '$.response.text[0]',
    '$.response..length',
    '$.response.text[*]',
    '$.response.total.text',
    '$.response.total[*]',
    '$.response..toJSON',
    "$.response['items','constructor']['length','map']",
    '$.args.id.x',
    '$.response.items[9]',
    '$.response.items[*].tags.push',
  ]) {
    t.same(path(text).find(root), [], text);
    t.same(path(text).places(root), [], text);
  }
  const own = {
    args: JSON.parse('{"__proto__":{"x":1},"constructor":2,"length":3}') as Json,
    response: null,
    principal: null,
    tool: null,
  };
  t.same(path('$.args.__proto__.x').find(own), [1]);
  t.same(path('$.args.constructor').find(own), [2]);
  t.same(path('$.args.length').find(own), [3]);
  t.same(path("$['args']..length").find(own), [3]);
});

t.test('the root', async (t) => {
  t.match(compilePath('$.item.id'), { fault: /^column 2: .*`\$\.args`.*`\$\.tool`$/ });
  t.same(path('$.item.id', ['args', 'item']).find({ ...root, item: { id: 3 } }), [3]);
  t.same(path('$', []).find([1]), [[1]]);
  t.same(path('$', []).places([1]), [[]]);
  t.same(path('$[*]', []).find([1, 2]), [1, 2]);
  t.same(path('$.rows[*]', []).find('none'), []);
});

t.test('what is refused, with column and what to do', async (t) => {
  for (const [text, column, says] of [
    ["$.response..[?(@.constructor.constructor('return process')())]", 14, /filters and scripts.*`when`/],
    ['$.response.items[?(@.id>1)]', 18, /filters/],
    ['$.response.items[(@.length-1)]', 18, /scripts/],
    ['$.args.id^', 10, /parent/],
    ['$.args.*~', 9, /properties/],
    ['$.args.id@string()', 10, /type selectors/],
    ['$.args.@string()', 8, /type selectors/],
    ['$.args[@.x]', 8, /type selectors/],
    ['$.args.`x', 8, /backquote/],
    ['$.args[0', 7, /not closed/],
    ['$.args[', 8, /expected/],
    ["$.args['x", 8, /quote is not closed/],
    ["$.args['x'", 7, /not closed/],
    ['$.args]', 7, /nothing is open/],
    ['$.args[-1]', 8, /\[-1:\]/],
    ['$.args[0:0]', 8, /ends at 0/],
    ['$.args[::0]', 8, /step 0/],
    ['$.args[*,0]', 7, /list/],
    ['$.args[a b]', 10, /expected `\]`/],
    ["$.args['a\\n']", 11, /backslash/],
    ['$.args.', 8, /name is missing/],
    ['$.args...id', 9, /expected a name/],
    ['$.args.a b', 9, /expected/],
    ['$.args.[0]', 8, /leave out the dot/],
    ['args.id', 1, /begins with `\$`/],
    ['', 1, /begins with/],
    ['$', 2, /begins with one of/],
    ['$.*', 2, /begins with one of/],
    ['$..id', 2, /begins with one of/],
    ['$.session.id', 2, /begins with one of/],
  ] as const) {
    const said = fault(text);
    t.ok(said.startsWith(`column ${column}: `), `${text}: ${said}`);
    t.match(said, says, text);
  }
  t.match(fault(`$.args.${'x'.repeat(1000)}`), /at most 1000 characters; this one has 1007/);
});

const name = fc.constantFrom('a', 'b', 'c', 'long name', 'é', '0', 'x-y', '_');
const key = fc.oneof(name, fc.nat(3));
const tree = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 5, depthSize: 'large' },
    fc.constantFrom<Json>(null, true, 1, '', 'text'),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(name, tie('value'), { maxKeys: 5, noNullPrototype: true }),
  ),
})).value;
const plainStep = fc.oneof(
  { weight: 3, arbitrary: key.map((key) => (typeof key === 'number' ? `[${key}]` : `['${key}']`)) },
  { weight: 1, arbitrary: fc.constant('[*]') },
);
const searchStep = fc.oneof(
  { weight: 3, arbitrary: plainStep },
  { weight: 1, arbitrary: fc.constantFrom('.a', '..a', '..b', '.*', '..*', "..['c']", '..[0]', '..[*]') },
  { weight: 1, arbitrary: fc.constantFrom('[a,b]', '[0,1]', '[1:]', '[:2]', '[-2:]', '[0:3:2]', '[-3:-1]') },
);

for (const [kind, step] of [
  ['plain', plainStep],
  ['searching', searchStep],
] as const) {
  t.test(`${kind} paths find what jsonpath-plus finds, where it finds it`, async () => {
    let found = 0;
    fc.assert(
      fc.property(tree, fc.array(step, { maxLength: 5 }), (json, steps) => {
        const text = `$${steps.join('')}`;
        // `$` alone and scalars at the root are not answered by the library's entry point.
        fc.pre(typeof json === 'object' && json !== null);
        const theirs = JSONPath({ path: text, json: json as object, eval: false, resultType: 'all' }) as {
          value: Json;
          pointer: string;
        }[];
        // Characters of strings are theirs alone.
        const expected = theirs.filter(({ pointer }) => at(json, pointer) !== undefined);
        const ours = path(text, []);
        const values = ours.find(json);
        found += values.length;
        const same =
          values.length === expected.length &&
          values.every((value, index) => value === expected[index]?.value) &&
          ours
            .places(json)
            .every((place, index) => `/${place.join('/')}` === expected[index]?.pointer || place.length === 0);
        if (!same) throw new Error(`${text}: ${JSON.stringify(values)} but ${JSON.stringify(expected)}`);
      }),
      { numRuns: 3_000 },
    );
    if (found < 1_000) throw new Error(`only ${found} values were compared`);
  });
}

function at(json: Json, pointer: string): Json | undefined {
  let value: unknown = json;
  for (const key of pointer.split('/').slice(1)) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Record<string, unknown>)[key];
  }
  return value as Json;
}

t.test('no text makes it throw, and nothing runs', async () => {
  const shard = fc.constantFrom(
    '$',
    '.',
    '..',
    '[',
    ']',
    "'",
    '"',
    '*',
    '?(',
    '(',
    ')',
    '@',
    '^',
    '~',
    ':',
    ',',
    '-1',
    '0',
    'args',
    'a',
    '`',
    ';',
    '#0',
    '\\',
    ' ',
    '\0',
    '@string()',
    '%@%',
    '(globalThis.ran=1)',
    "constructor.constructor('globalThis.ran=1')()",
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(shard, { maxLength: 12 }).map((shards) => `$.args${shards.join('')}`),
      ),
      (text) => {
        const compiled = compilePath(text);
        if ('fault' in compiled) return /^(column \d+: |a path has)/.test(compiled.fault);
        compiled.find(root);
        return compiled.places(root).every((place) => place[0] === 'args');
      },
    ),
    { numRuns: 5_000 },
  );
  if ('ran' in globalThis) throw new Error('a path ran code');
});

t.test('work is bounded', async (t) => {
  const many = {
    args: Array.from({ length: MOST_RESULTS + 5 }, (_, id) => ({ id })),
    response: null,
    principal: null,
    tool: null,
  };
  for (const text of ['$.args[*].id', '$.args..id', '$.args[0:].id']) {
    t.equal(path(text).find(many).length, MOST_RESULTS, text);
    t.same(path(text).places(many).at(-1), ['args', MOST_RESULTS - 1, 'id'], text);
  }
  let looked = 0;
  const counting = new Proxy({ x: 1 } as Record<string, Json>, {
    getOwnPropertyDescriptor(target, key) {
      looked += 1;
      return Reflect.getOwnPropertyDescriptor(target, key);
    },
  });
  const wide = { ...many, args: Array.from({ length: 2 * MOST_STEPS }, () => counting) };
  t.same(path('$.args[*].none').find(wide), []);
  t.ok(looked > 0 && looked <= MOST_STEPS, `looked ${looked} times`);
  let deep: Json = { x: 1 };
  for (let level = 0; level < 256; level += 1) deep = { a: deep };
  t.same(path('$.args..x').find({ ...many, args: deep }), [1]);
  t.same(path('$.args..a..a..a..a..a..none').find({ ...many, args: deep }), [], 'paths that multiply');
  for (let level = 0; level < 5_000; level += 1) deep = [deep];
  t.same(path('$.args..x').find({ ...many, args: deep }), [], 'deeper than anything is searched');
});
