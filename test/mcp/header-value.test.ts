import fc from 'fast-check';
import t from 'tap';
import { decodeHeaderValue, encodeHeaderValue } from '../../src/mcp/header-value.ts';

t.test('the table of the specification', async (t) => {
  for (const [value, header] of [
    ['us-west1', 'us-west1'],
    ['Hello, 世界', '=?base64?SGVsbG8sIOS4lueVjA==?='],
    [' padded ', '=?base64?IHBhZGRlZCA=?='],
    ['line1\nline2', '=?base64?bGluZTEKbGluZTI=?='],
    ['=?base64?literal?=', '=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?='],
  ] as const) {
    t.equal(encodeHeaderValue(value), header);
    t.equal(decodeHeaderValue(header), value);
  }
});

t.test('whatever is encoded is a safe header value and decodes to itself', async () => {
  const nasty = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string(),
    fc.string({ unit: fc.constantFrom('=', '?', 'b', 'a', 's', 'e', '6', '4', ' ', '\t', '\n', '\0', 'é') }),
    fc.string().map((text) => `=?base64?${text}?=`),
  );
  fc.assert(
    fc.property(nasty, (value) => {
      const header = encodeHeaderValue(value);
      return /^[\x20-\x7e\t]*$/.test(header) && header === header.trim() && decodeHeaderValue(header) === value;
    }),
    { numRuns: 5000 },
  );
});

t.test('an empty value is there, not missing: proxies drop headers without a value', async (t) => {
  t.equal(encodeHeaderValue(''), '=?base64??=');
  t.equal(decodeHeaderValue('=?base64??='), '');
  t.equal(decodeHeaderValue(''), '', 'a client may send it bare');
});

t.test('what is no value is refused, never guessed', async (t) => {
  for (const [what, header] of [
    ['not Base64', '=?base64?a b?='],
    ['Base64 without its padding', '=?base64?YQ?='],
    ['URL-safe Base64', '=?base64?_-8=?='],
    ['bits that are not zero', '=?base64?YR==?='],
    ['not UTF-8', '=?base64?/w==?='],
    ['half a surrogate', `=?base64?${Buffer.from([0xed, 0xa0, 0x80]).toString('base64')}?=`],
    ['a raw byte', 'caf\xe9'],
    ['a control character', 'a\x01b'],
    ['far too long', 'x'.repeat(10_000)],
  ] as const) {
    t.equal(decodeHeaderValue(header), undefined, what);
  }
});

t.test('what only looks like an encoded value is itself', async (t) => {
  for (const header of ['=?BASE64?YQ==?=', '=?base64?YQ==', 'x=?base64?YQ==?=', '=?base64?=']) {
    t.equal(decodeHeaderValue(header), header);
  }
  t.equal(decodeHeaderValue(' \tus-west1\t '), 'us-west1', 'optional white space is not part of it');
});

t.test('a long value costs its length', async (t) => {
  const began = performance.now();
  for (const inner of [' ', '\t', ' x']) {
    t.equal(decodeHeaderValue(`a${inner.repeat(60_000)}b`), undefined);
    decodeHeaderValue(`a${inner.repeat(4000)}`);
  }
  t.ok(performance.now() - began < 500, 'quadratic, these take seconds');
});
