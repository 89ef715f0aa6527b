import fc from 'fast-check';
import t from 'tap';
import { type Envelope, type EnvelopeError, idText, parseEnvelope } from '../../src/mcp/envelope.ts';
import { JsonError, MAX_DEPTH, skipSpace, skipValue } from '../../src/mcp/json.ts';
import { splice } from '../../src/mcp/splice.ts';

/** Whether the scanner takes the text as one JSON value. */
function accepts(text: string | Buffer): boolean {
  const bytes = Buffer.from(text);
  try {
    return skipSpace(bytes, skipValue(bytes, skipSpace(bytes, 0), 0)) === bytes.length;
  } catch (error) {
    if (error instanceof JsonError) return false;
    throw error;
  }
}

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

t.test('the scanner takes exactly what JSON.parse takes', async () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 6 }), (text) => accepts(text)),
    { numRuns: 2000 },
  );
  const alphabet = [
    '{',
    '}',
    '[',
    ']',
    '"',
    ':',
    ',',
    '\\',
    'u',
    '0',
    '1',
    '-',
    '.',
    'e',
    'E',
    '+',
    't',
    'true',
    'null',
    'false',
    ' ',
    '\n',
    'a',
    '\u0001',
    'é',
    '\\n',
    '\\u00e9',
    '\\ud800',
  ];
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom(...alphabet), { maxLength: 24 }),
      (parts) => accepts(parts.join('')) === parses(parts.join('')),
    ),
    { numRuns: 20_000 },
  );
  // Mutations of real JSON reach the corners that random text does not.
  fc.assert(
    fc.property(
      fc.json({ maxDepth: 4 }),
      fc.nat(),
      fc.constantFrom(...alphabet),
      fc.boolean(),
      (text, at, part, insert) => {
        const i = at % (text.length + 1);
        const mutated = text.slice(0, i) + (insert ? part : '') + text.slice(i + (insert ? 0 : 1));
        return accepts(mutated) === parses(mutated);
      },
    ),
    { numRuns: 20_000 },
  );
});

t.test('long strings are judged as short ones', async (t) => {
  const long = 'x'.repeat(200_000);
  t.ok(accepts(JSON.stringify(long)));
  t.ok(accepts(JSON.stringify(`${long}\\"${long}\u2028"\n`)));
  t.notOk(accepts(`"${long}\n"`), 'a raw line feed far inside');
  t.notOk(accepts(`"${long}\\x"`), 'a bad escape far inside');
  t.notOk(accepts(`"${long}`), 'no end');
  t.notOk(accepts(`"${long}\\"`), 'an escaped end');
});

t.test('the scan is linear, whatever stands in a string', async (t) => {
  const texts = {
    escapes: '\\n'.repeat(2_000_000),
    lines: `${'x'.repeat(40)}\\n`.repeat(100_000),
    quotes: '\\"'.repeat(2_000_000),
  };
  for (const [name, text] of Object.entries(texts)) {
    const began = performance.now();
    t.ok(accepts(`"${text}"`), name);
    // A search that starts over at each escape takes a minute here.
    t.ok(performance.now() - began < 3000, `${name} in ${Math.round(performance.now() - began)} ms`);
  }
});

t.test('depth is limited', async (t) => {
  t.ok(accepts('['.repeat(MAX_DEPTH) + ']'.repeat(MAX_DEPTH)));
  t.notOk(accepts('['.repeat(MAX_DEPTH + 1) + ']'.repeat(MAX_DEPTH + 1)));
  t.notOk(accepts(`${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`), 'without a stack overflow');
});

const call = (text: string): Envelope => parseEnvelope(Buffer.from(text));

t.test('an envelope keeps ids as they were written', async (t) => {
  for (const id of ['1', '"1"', '9007199254740993', '-7', '"\\u0061\\n"', '""', '123456789012345678901234567890']) {
    t.equal(idText(call(`{"jsonrpc":"2.0","id":${id},"method":"ping"}`)), id);
  }
  for (const id of ['null', '1.5', '1e3', 'true', '{}', '[1]']) {
    t.throws(() => call(`{"jsonrpc":"2.0","id":${id},"method":"ping"}`), { code: 'invalid' }, `id ${id} is refused`);
  }
});

t.test('names, cursors and arguments are found whatever the order and the escapes', async (t) => {
  const text =
    ' {"params" : {"_meta":{"progressToken":1}, "arguments" : {"n": 9007199254740993}, "n\\u0061me":"a\\"b"},\n"method":"tools/call","id":7,"jsonrpc":"2.0"} ';
  const envelope = call(text);
  t.equal(envelope.name, 'a"b');
  t.equal(text.slice(envelope.nameSpan?.start, envelope.nameSpan?.end), '"a\\"b"');
  t.equal(text.slice(envelope.arguments?.start, envelope.arguments?.end), '{"n": 9007199254740993}');
  t.equal(
    call('{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":""}}').cursor,
    '',
    'an empty cursor is a cursor',
  );
});

t.test('what two parsers could read differently is refused', async (t) => {
  const cases: [string, EnvelopeError['code']][] = [
    ['{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}', 'invalid'],
    ['{"jsonrpc":"2.0","id":1,"method":"ping","m\\u0065thod":"tools/call"}', 'invalid'],
    ['{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}}', 'invalid'],
    ['{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}', 'invalid'],
    ['[{"jsonrpc":"2.0","id":1,"method":"ping"}]', 'batch'],
    ['[]', 'batch'],
    ['{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"p":1,"p":2}}}', 'invalid'],
    ['{"jsonrpc":"2.0","id":1,"method":"m","params":{"arguments":{"x":[{"p":{},"\\u0070":[]}]}}}', 'invalid'],
    ['{"jsonrpc":"1.0","id":1,"method":"ping"}', 'invalid'],
    ['{"id":1,"method":"ping"}', 'invalid'],
    ['{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}', 'invalid'],
    ['{"jsonrpc":"2.0","result":{}}', 'invalid'],
    ['{"jsonrpc":"2.0","id":1,"method":7}', 'invalid'],
    ['{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}', 'invalid'],
    ['{"jsonrpc":"2.0","id":1,"method":"ping"}x', 'parse'],
    ['{"jsonrpc":"2.0","id":1,"method":"ping"', 'parse'],
    ['', 'parse'],
    ['  ', 'parse'],
    ['"x"', 'invalid'],
    ['\ufeff{"jsonrpc":"2.0","id":1,"method":"ping"}', 'parse'],
  ];
  for (const [text, code] of cases) t.throws(() => call(text), { code }, text.slice(0, 60));
  t.throws(
    () => parseEnvelope(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])),
    { code: 'parse' },
    'invalid UTF-8',
  );
  const many = Array.from({ length: 3000 }, (_, i) => `"k${i}":1`).join(',');
  t.throws(
    () => call(`{"jsonrpc":"2.0","id":1,"method":"ping",${many},"k7":2}`),
    { code: 'invalid' },
    'also among thousands',
  );
});

t.test('splicing a name keeps every other byte', async () => {
  fc.assert(
    fc.property(
      fc.json({ maxDepth: 4 }),
      fc.string(),
      fc.string(),
      fc.constantFrom('', ' ', '\n\t'),
      (json, from, to, space) => {
        const before = `{"jsonrpc":"2.0",${space}"id":${space}9007199254740993,"method":"tools/call","params":{"x":${json},"name":`;
        const after = `${space},"arguments":{"deep":${json}}}}${space}`;
        const envelope = call(`${before}${JSON.stringify(from)}${after}`);
        if (envelope.nameSpan === undefined) return false;
        const spliced = splice(envelope.bytes, [{ ...envelope.nameSpan, with: JSON.stringify(to) }]);
        return envelope.name === from && spliced.toString() === `${before}${JSON.stringify(to)}${after}`;
      },
    ),
    { numRuns: 1000 },
  );
});
