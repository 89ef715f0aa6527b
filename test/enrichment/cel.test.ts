import fc from 'fast-check';
import t from 'tap';
import { type Cel, compileCel } from '../../src/enrichment/cel.ts';
import { ExactNumber, type Json } from '../../src/mcp/exact-json.ts';

const VARIABLES = ['args', 'response', 'principal', 'tool'];

function cel(text: string): Cel {
  const compiled = compileCel(text, VARIABLES);
  if ('fault' in compiled) throw new Error(`${text}: ${compiled.fault}`);
  return compiled;
}

function fault(text: string): string {
  const compiled = compileCel(text, VARIABLES);
  return 'fault' in compiled ? compiled.fault : 'none';
}

const values: Record<string, Json> = {
  args: {
    n: 3,
    text: 'hello',
    exact: new ExactNumber('9007199254740993'),
    huge: new ExactNumber('99999999999999999999'),
    decimal: new ExactNumber('0.10'),
    mixed: [1, 2.5, 'x', null],
    nothing: null,
    deep: { a: { b: [true] } },
    'odd name': 1,
    secret: 's3cret',
  },
  response: {
    total: 12.5,
    count: 12,
    items: Array.from({ length: 1_000 }, (_, id) => ({ id, status: id === 900 ? 'open' : 'closed', tags: ['a', 'b'] })),
  },
  principal: { subject: 'ada', roles: ['admin', 'analyst'] },
  tool: { name: 'get_order', connection: 'crm' },
};

t.test('integers and doubles are numbers, whichever JSON has', async (t) => {
  for (const [text, holds] of [
    ['args.n > 2', true],
    ['args.n > 3', false],
    ['args.n >= 3.0', true],
    ['args.n == 3', true],
    ['args.n == 3.0', true],
    ['args.n == 3.5', false],
    ['response.total == 12.5', true],
    ['response.total > 12', true],
    ['response.count == 12.0', true],
    ['response.total * 2 == 25', true],
    ['response.count * 2 == 24', true],
    ['response.count * 1.5 == 18', true],
    ['1.5 + args.n == 4.5', true],
    ['args.n - 0.5 == 2.5', true],
    ['args.n / 2.0 == 1.5', true],
    ['args.n % 2 == 1', true],
    ['-args.n == -3', true],
    ['type(args.n) == int', true],
    ['args.exact == 9007199254740993', true],
    ['args.exact == 9007199254740992', false],
    ['args.exact > 9007199254740992', true],
    ['args.huge > 1e19', true],
    ['args.decimal == 0.1', true],
    ['args.n in [1, 2, 3]', true],
    ['args.n in [1.0, 3.0]', true],
    ['2.5 in args.mixed', true],
    ['"x" in args.mixed', true],
    ['args.mixed[args.n - 3] == 1', true],
  ] as const) {
    t.equal(cel(text).run(values), holds, text);
  }
});

t.test('texts, lists, objects and macros', async (t) => {
  for (const [text, holds] of [
    ['"admin" in principal.roles && tool.name.startsWith("get_")', true],
    ['args.text.matches("^h.l+o$")', true],
    ['args.text.matches("ell")', true],
    ['args.text.matches("^ell")', false],
    ['has(args.n)', true],
    ['has(args.absent)', false],
    ['has(args.deep.a.b)', true],
    ['has(args.nothing)', true],
    ['args.nothing == null', true],
    ['args.n == null', false],
    ['args["odd name"] == 1', true],
    ['"odd name" in args', true],
    ['"constructor" in args', false],
    ['args.deep == {"a": {"b": [true]}}', true],
    ['args.mixed == [1, 2.5, "x", null]', true],
    ['size(principal) == 2 && principal.exists(key, key == "roles")', true],
    ['response.items.exists(item, item.status == "open")', true],
    ['response.items.all(item, item.id >= 0)', true],
    ['response.items.exists_one(item, item.id == 5)', true],
    ['response.items.filter(item, item.id > 997).map(item, item.id) == [998, 999]', true],
    ['response.items.exists(item, item.tags.exists(tag, tag == "b"))', true],
    ['!has(args.absent) || args.absent == 2', true],
  ] as const) {
    t.equal(cel(text).run(values), holds, text);
  }
});

t.test('what cannot be said is an error that names places, never values', async (t) => {
  for (const [text, says] of [
    ['args.absent == 1', 'line 1, column 6: no such key `absent`'],
    ['args.deep.x.y == 1', 'line 1, column 11: no such key `x`'],
    ['args.constructor == 1', 'line 1, column 6: no such key `constructor`'],
    ['args[args.secret] == 1', /^line 1, column \d+: no such key$/],
    ['true &&\n  args.absent', 'line 2, column 8: no such key `absent`'],
    ['args.mixed[9] == 1', /index out of bounds$/],
    ['args.n > args.text', /no such overload$/],
    ['bool(args.secret)', /bool conversion error$/],
    ['args.n.matches("x")', /no matching overload$/],
    ['args.n', 'it gives neither true nor false'],
    ['timestamp("2026-01-01T00:00:00Z").getHours(args.secret) == 1', 'a function cannot take what it is given'],
    ['bytes(args.secret).json() == {}', 'a function cannot take what it is given'],
  ] as const) {
    const result = cel(text).run(values);
    t.match(result, { error: says }, text);
    t.notMatch(JSON.stringify(result), /s3cret/, text);
  }
});

t.test('what is refused when it is saved', async (t) => {
  for (const [text, says] of [
    ['args.n ==', /^line 1, column 10: /],
    ['args.n == 1 &&\n& true', /^line 2, column 1: /],
    ['session.id == 1', /^line 1, column 1: Unknown variable: session/],
    ['1 + 1', /gives a int.*compare it/],
    ['"a" + 1 == "b"', /^line 1, column 1: no such overload/],
    ['args.text.matches(args.text)', /^line 1, column 24: the pattern of `matches` is a text in quotes/],
    ['args.text.matches("(")', /^line 1, column 19: .*missing closing/],
    ['args.text.matches("(?=x)")', /RE2/],
    ['args.text.matches("(a{100}){10}")', /too large/],
    ['[1].exists(x, args.text.matches("\\\\1"))', /RE2/],
    ['cel.bind(x, args.n, x > 1)', /^line 1, column 1: `cel.bind` is not available/],
    [`${'('.repeat(40)}true${')'.repeat(40)}`, /maxDepth/],
    [`args.n in [${'1,'.repeat(300)}1]`, /maxListElements/],
    [`args.text == "${'x'.repeat(2_000)}"`, /at most 2000 characters/],
  ] as const) {
    t.match(fault(text), says, text.slice(0, 60));
  }
});

t.test('work is bounded, and what is too much is an error', async (t) => {
  const many = Array.from({ length: 100_000 }, (_, index) => index);
  const large: Record<string, Json> = {
    ...values,
    args: {
      many,
      thousand: many.slice(0, 1_000),
      long: 'a'.repeat(65_536),
      longer: 'a'.repeat(2 ** 20),
      texts: Array.from({ length: 20 }, () => `b${'a'.repeat(8_000)}`),
      wide: Object.fromEntries(many.map((index) => [`k${index}`, index])),
    },
  };
  const tens = '[1,2,3,4,5,6,7,8,9,10]';
  for (const text of [
    'args.many.exists(x, x < 0)',
    'args.thousand.exists(x, args.thousand.exists(y, x == -y - 1))',
    'args.thousand.all(x, args.thousand.all(y, x >= -y))',
    'args.thousand.filter(x, x in args.thousand).size() == 1000',
    `${tens}.exists(a, ${tens}.exists(b, ${tens}.exists(c, ${tens}.exists(d, ${tens}.exists(e, a+b+c+d+e < 0)))))`,
    'args.longer.contains("b")',
    'args.texts.exists(x, [1,2,3,4,5,6,7,8,9].exists(i, x.contains("aab")))',
    'args.long.split("").exists(c, c == "b")',
    'args.long.matches("(a|aa|aaa){50}$")',
    'args.wide.exists(key, key == "")',
    `${tens}.exists(a, ${tens}.exists(b, timestamp("2026-01-01T00:00:00Z").getHours("Asia/Tokyo") < 0))`,
    '!args.many.exists(x, x < 0) || true',
  ]) {
    t.same(cel(text).run(large), { error: 'it takes more than 50000 steps' }, text);
  }
  t.equal(cel('args.n == 3').run(values), true, 'a run that was too much leaves nothing behind');
});

t.test('compares numbers as JavaScript does where that is exact', async () => {
  const number = fc.oneof(fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true }), fc.maxSafeInteger());
  const compiled = ['<', '<=', '==', '!=', '>=', '>'].map(
    (operator) => [operator, cel(`args ${operator} response`)] as const,
  );
  fc.assert(
    fc.property(number, number, (left, right) =>
      compiled.every(([operator, condition]) => {
        const expected = {
          '<': left < right,
          '<=': left <= right,
          '==': left === right,
          '!=': left !== right,
          '>=': left >= right,
          '>': left > right,
        }[operator];
        return condition.run({ ...values, args: left, response: right }) === expected;
      }),
    ),
  );
});

t.test('never throws, whatever the text and the values', async () => {
  const shard = fc.constantFrom(
    'args',
    '.a',
    '.b',
    '["a"]',
    '[0]',
    ' == ',
    ' > ',
    ' + ',
    ' in ',
    '1',
    '1.5',
    '"x"',
    'null',
    'true',
    '(',
    ')',
    '[',
    ']',
    ' && ',
    ' || ',
    '!',
    '-',
    '.exists(x, x)',
    '.map(x, x)',
    '.matches("x")',
    'has(args.a)',
    'size(args)',
    '.size()',
    '? 1 : 2',
    '__proto__',
    '.constructor',
    'b"x"',
    '5u',
    'string(args)',
  );
  let ran = 0;
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(shard, { maxLength: 6 }).map((shards) => shards.join('')),
        fc.array(shard, { maxLength: 3 }).map((shards) => `args${shards.join('')} == args`),
      ),
      fc.jsonValue(),
      (text, args) => {
        const compiled = compileCel(text, ['args']);
        if ('fault' in compiled) return compiled.fault.length > 0;
        ran += 1;
        const result = compiled.run({ args: args as Json });
        return typeof result === 'boolean' || typeof result.error === 'string';
      },
    ),
    { numRuns: 5_000 },
  );
  if (ran < 500) throw new Error(`only ${ran} expressions ran`);
});
