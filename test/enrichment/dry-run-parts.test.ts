import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { jsonDiff, prettyJson } from '../../src/enrichment/pretty-diff.ts';
import { secretRemover } from '../../src/enrichment/without-secrets.ts';
import { jsonText, parseJson } from '../../src/mcp/exact-json.ts';

t.test('JSON is written a member a line, as JSON.stringify does, and keeps its digits', async (t) => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      const compact = JSON.stringify(JSON.parse(text));
      assert.equal(prettyJson(compact), JSON.stringify(JSON.parse(text), null, 2));
      assert.equal(prettyJson(JSON.stringify(JSON.parse(text), null, 7)), prettyJson(compact));
    }),
    { numRuns: 300 },
  );
  t.equal(
    prettyJson('{"a":[12345678901234567890,1.10],"b":{},"c":[]}'),
    '{\n  "a": [\n    12345678901234567890,\n    1.10\n  ],\n  "b": {},\n  "c": []\n}',
  );
  t.equal(jsonDiff('{"a":1}', '{ "a": 1 }'), '', 'the same, written otherwise');
  t.match(
    jsonDiff('{"a":1}', '{"a":2}'),
    /^--- before\n\+\+\+ after\n@@ [^\n]*\n \{\n- {2}"a": 1\n\+ {2}"a": 2\n \}\n$/,
  );
});

t.test('no secret is left of what was recorded, however it is written', async (t) => {
  const secret = fc
    .string({ unit: 'binary-ascii', minLength: 8, maxLength: 20 })
    .filter((text) => !/[R-T]ED/.test(text));
  const holder = (text: string) =>
    fc.constantFrom<unknown>(
      text,
      { [text]: 1 },
      [`before ${text} after`],
      JSON.stringify({ deep: [text] }),
      JSON.stringify(JSON.stringify([text, { [text]: text }])),
      // Every character as an escape, inside of text.
      `{"a":"${[...text].map((one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`).join('')}"}`,
    );
  fc.assert(
    fc.property(
      secret.chain((text) => fc.tuple(fc.constant(text), holder(text))),
      ([text, value]) => {
        const clean = secretRemover([text, 'another-secret'])(parseJson(JSON.stringify(value)));
        assert.ok(!everyText(clean).some((one) => one.includes(text)), JSON.stringify([text, clean]));
      },
    ),
    { numRuns: 500 },
  );
  const remove = secretRemover(['postgres://gw:p%40ssword-1@db/ledger', '12345678901', 'short']);
  t.same(remove(parseJson('{"a":"p@ssword-1 p%40ssword-1","b":12345678901,"c":"short"}')), {
    a: '[REDACTED] [REDACTED]',
    b: '[REDACTED]',
    c: 'short',
  });
  const untouched = '{"n":12345678901234567890,"text":"{ \\"n\\": 1.10 }"}';
  t.equal(jsonText(remove(parseJson(untouched))), untouched, 'what holds no secret stays as it was written');
});

/** Every text in a value, and in JSON inside of text. */
function everyText(value: unknown): string[] {
  if (typeof value === 'string') {
    try {
      const inner: unknown = JSON.parse(value);
      return typeof inner === 'number' ? [value] : [value, ...everyText(inner)];
    } catch {
      return [value];
    }
  }
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => [key, ...everyText(inner)]);
}
