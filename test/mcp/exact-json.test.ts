import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import {
  ExactNumber,
  exactNumber,
  isEqual,
  isObject,
  type Json,
  jsonText,
  parseJson,
} from '../../src/mcp/exact-json.ts';

/** A decimal as a fraction of integers: the judge, which knows nothing of doubles. */
function sameDecimal(a: string, b: string): boolean {
  const read = (text: string): [bigint, number] => {
    const [, sign, whole, fraction = '', exponent = '0'] = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([-+]?\d+))?$/.exec(
      text,
    ) as RegExpExecArray;
    return [BigInt(`${sign}${whole}${fraction}`), Number(exponent) - fraction.length];
  };
  const [[m, e], [n, f]] = [read(a), read(b)];
  if (m === 0n || n === 0n) return m === n;
  const low = Math.min(e, f);
  return m * 10n ** BigInt(e - low) === n * 10n ** BigInt(f - low);
}

const digits = (max: number) => fc.string({ unit: fc.constantFrom(...'0123456789'), minLength: 1, maxLength: max });
const numbers = fc
  .tuple(
    fc.constantFrom('', '-'),
    fc.oneof(digits(25), digits(3)).map((text) => text.replace(/^0+(?=\d)/, '')),
    fc.option(digits(22), { nil: undefined }),
    fc.option(fc.tuple(fc.constantFrom('e', 'E', 'e+', 'E-', 'e-'), digits(3)), { nil: undefined }),
  )
  .map(
    ([sign, whole, fraction, exponent]) =>
      `${sign}${whole}${fraction === undefined ? '' : `.${fraction}`}${exponent?.join('') ?? ''}`,
  );

t.test('a number is plain exactly where its double denotes what was written', async (t) => {
  fc.assert(
    fc.property(fc.oneof(numbers, fc.double({ noNaN: true, noDefaultInfinity: true }).map(String)), (text) => {
      const value = parseJson(text);
      const shown = jsonText(value);
      if (!sameDecimal(shown, text)) return false;
      const number = Number(text);
      const isHeld = Number.isFinite(number) && sameDecimal(String(number).replace('e+', 'e'), text);
      return isHeld === (typeof value === 'number') && isHeld !== value instanceof ExactNumber;
    }),
    { numRuns: 5000 },
  );
  for (const text of [
    '0',
    '-0',
    '1.10',
    '1e2',
    '0.30000000000000004',
    '9007199254740992',
    '123456789012345680000',
    '5e-324',
    '0e9999999999999999999',
    '1.0000000000000000000',
  ]) {
    t.type(parseJson(text), 'number', text);
  }
  for (const text of [
    '9007199254740993',
    '0.10000000000000000001',
    '1e400',
    '1e-400',
    '-1e99999999999999999999',
    '4.9e-324',
    '12345678901234567890',
    '3.141592653589793238',
  ]) {
    t.equal((parseJson(text) as ExactNumber).text, text);
    t.equal(jsonText(parseJson(` [${text}, {"a":${text}}]`)), `[${text},{"a":${text}}]`);
  }
});

/** Some JSON text, spaces and escapes as writers may choose them, with numbers of any length. */
const texts = fc.letrec<{ value: string }>((tie) => {
  const space = fc.constantFrom('', '', ' ', '\n\t');
  const string = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 8 }).map((text) => JSON.stringify(text)),
    fc.constantFrom(
      '"__proto__"',
      '"a"',
      '"\\u0061"',
      '"\\""',
      '"\\\\"',
      '"\\\\\\""',
      '"1e400"',
      '"\\ud83d\\ude00\\/"',
    ),
  );
  const list = (open: string, close: string, item: fc.Arbitrary<string>) =>
    fc
      .tuple(space, fc.array(fc.tuple(item, space), { maxLength: 5 }))
      .map(([lead, items]) => `${open}${lead}${items.map(([text, after]) => `${text}${after}`).join(',')}${close}`);
  const value = tie('value');
  return {
    value: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      fc.oneof(numbers, string, fc.constantFrom('true', 'false', 'null')),
      list('[', ']', value),
      list(
        '{',
        '}',
        fc.tuple(string, space, space, value).map(([key, a, b, item]) => `${key}${a}:${b}${item}`),
      ),
    ),
  };
}).value;

/** As JSON.parse would give it. */
function rounded(value: Json): unknown {
  if (value instanceof ExactNumber) return Number(value.text);
  if (Array.isArray(value)) return value.map(rounded);
  return isObject(value) ? Object.fromEntries(Object.entries(value).map(([key, item]) => [key, rounded(item)])) : value;
}

t.test('values are those of JSON.parse, digits apart', async (t) => {
  let exact = 0;
  fc.assert(
    fc.property(texts, (text) => {
      const value = parseJson(text);
      const shown = jsonText(value);
      if (shown !== JSON.stringify(value)) exact++;
      assert.deepStrictEqual(rounded(value), JSON.parse(text));
      assert(isEqual(parseJson(shown), value));
      assert.equal(JSON.stringify(JSON.parse(shown)), JSON.stringify(JSON.parse(text)));
    }),
    { numRuns: 2000 },
  );
  t.ok(exact > 150, `${exact} texts held exact numbers`);
  const own = parseJson('{"__proto__": {"x": 9007199254740993}, "a": 1, "a": 2}');
  t.equal(jsonText(own), '{"__proto__":{"x":9007199254740993},"a":2}');
  t.equal(Object.getPrototypeOf(own), Object.prototype);
});

t.test('what JSON.parse refuses is refused, and nothing else', async () => {
  const judge = (parse: (text: string) => unknown, text: string): boolean => {
    try {
      parse(text);
      return true;
    } catch (error) {
      if (error instanceof SyntaxError) return false;
      throw error;
    }
  };
  const scraps = fc
    .array(
      fc.constantFrom(
        '{',
        '}',
        '[',
        ']',
        '"',
        ':',
        ',',
        '\\',
        '1',
        '.',
        'e',
        '-',
        '9007199254740993',
        'true',
        ' ',
        '\u0001',
        'a',
      ),
      { maxLength: 12 },
    )
    .map((parts) => parts.join(''));
  const damaged = fc.tuple(texts, fc.nat(), fc.nat(3)).map(([text, at, length]) => {
    const from = at % (text.length + 1);
    return text.slice(0, from) + text.slice(from + length);
  });
  fc.assert(
    fc.property(fc.oneof(scraps, damaged), (text) => judge(parseJson, text) === judge(JSON.parse, text)),
    { numRuns: 2000 },
  );
});

t.test('depth is bounded, and brackets in strings are no depth', async (t) => {
  const nested = (depth: number) => `${'[{"a":'.repeat(depth / 2)}1e400${'}]'.repeat(depth / 2)}`;
  t.equal(jsonText(parseJson(nested(256))), nested(256));
  t.throws(() => parseJson(nested(258)), SyntaxError);
  t.throws(() => parseJson('['.repeat(1_000_000)), SyntaxError);
  t.equal(parseJson(`"${'['.repeat(1000)}"`), '['.repeat(1000));
});

t.test('numbers are equal by value', async (t) => {
  const equal = (a: string, b: string) => isEqual(parseJson(a), parseJson(b));
  t.ok(equal('1.0', '1'));
  t.ok(equal('1e400', '10.0e399'));
  t.ok(equal('-0', '0'));
  t.ok(isEqual(new ExactNumber('1.0'), 1));
  t.ok(equal('{"a":[1,{"b":9007199254740993}],"c":null}', '{"c":null,"a":[1,{"b":9007199254740993.0}]}'));
  t.notOk(equal('9007199254740993', '9007199254740992'));
  t.notOk(equal('{"a":1}', '{"b":1}'));
  t.notOk(equal('{"a":1}', '[1]'));
  t.notOk(equal('[1]', '[1,2]'));
  t.notOk(equal('null', '{}'));
  t.notOk(equal('1e400', '"1e400"'));
  t.notOk(equal('{"__proto__":1}', '{"x":1}'));
  t.notOk(isObject(exactNumber('1e400')));
  t.equal(jsonText(undefined as unknown as Json), 'null');
});

t.test('hostile texts take linear time', async (t) => {
  const quick = (text: string) => {
    const start = performance.now();
    try {
      parseJson(text);
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
    t.ok(performance.now() - start < 5000);
  };
  quick(`"${'\\'.repeat(2_000_000)}"`);
  quick(`["${'\\"'.repeat(1_000_000)}",1e400]`);
  quick(`"${'\\\\'.repeat(1_000_000)}\\`);
  quick('9'.repeat(1_000_000));
  quick(`1e${'9'.repeat(1_000_000)}`);
  quick(`1e-${'9'.repeat(1_000_000)}`);
  quick(`[${'1e400,'.repeat(200_000)}1]`);
});
