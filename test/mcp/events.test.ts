import { createParser } from 'eventsource-parser';
import fc from 'fast-check';
import t from 'tap';
import { canReturnTo, EventSplitter, EventTooLarge, eventData } from '../../src/mcp/events.ts';
import { parseResponse } from '../../src/mcp/response.ts';

/** Feeds the text in the given pieces; returns whole events and what was left. */
function split(text: string, cuts: readonly number[]): { events: Buffer[]; rest: Buffer } {
  const bytes = Buffer.from(text);
  const splitter = new EventSplitter(1 << 20);
  const events: Buffer[] = [];
  let from = 0;
  for (const cut of [...cuts.map((c) => c % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]) {
    events.push(...splitter.push(bytes.subarray(from, cut)));
    from = Math.max(from, cut);
  }
  return { events, rest: splitter.rest() };
}

const line = fc.oneof(
  fc.string({ maxLength: 12 }).map((s) => `data: ${s.replace(/[\r\n]/g, '')}`),
  fc.string({ maxLength: 12 }).map((s) => `data:${s.replace(/[\r\n]/g, '')}`),
  fc.constantFrom('event: message', ': keep-alive', 'id: 7', 'retry: 10', 'data', 'database: x'),
);
const stream = fc
  .tuple(
    fc.array(fc.array(line, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 6 }),
    fc.constantFrom('\n', '\r\n'),
  )
  .map(([events, end]) => events.map((lines) => lines.map((l) => l + end).join('') + end).join(''));

t.test('however a stream is cut, the same events come out, byte for byte', async () => {
  fc.assert(
    fc.property(stream, fc.array(fc.nat(), { maxLength: 8 }), (text, cuts) => {
      const whole = split(text, []);
      const pieces = split(text, cuts);
      return (
        Buffer.concat([...pieces.events, pieces.rest]).toString() === text &&
        pieces.events.length === whole.events.length &&
        pieces.events.every((event, i) => event.equals(whole.events[i] as Buffer))
      );
    }),
    { numRuns: 3000 },
  );
});

t.test('the data of each event is what eventsource-parser reads', async () => {
  fc.assert(
    fc.property(stream, (text) => {
      const expected: string[] = [];
      const parser = createParser({ onEvent: (event) => expected.push(event.data) });
      parser.feed(text);
      const actual = split(text, [])
        .events.map((event) => eventData(event)?.toString())
        .filter((data) => data !== undefined);
      return JSON.stringify(actual) === JSON.stringify(expected);
    }),
    { numRuns: 3000 },
  );
});

t.test('whatever ends the lines, both readers see the same events, however the stream is cut', async () => {
  const anyLine = fc.oneof(
    line,
    fc.constantFrom('data: a', 'id: data', ': data', 'xdata', 'data: {"data":1}', 'event: data', '', 'data:  b'),
  );
  const mixed = fc
    .tuple(
      fc.constantFrom('', '\ufeff'),
      fc.array(fc.tuple(anyLine, fc.constantFrom('\n', '\r\n', '\r')), { maxLength: 12 }),
    )
    .map(([mark, lines]) => `${mark}${lines.map((parts) => parts.join('')).join('')}\n\n`);
  fc.assert(
    fc.property(mixed, fc.array(fc.nat(), { maxLength: 8 }), (text, cuts) => {
      const expected: string[] = [];
      const parser = createParser({ onEvent: (event) => expected.push(event.data) });
      parser.feed(text.replace(/^\ufeff/, ''));
      const actual = split(text, cuts)
        .events.map((event) => eventData(event)?.toString())
        .filter((data) => data !== undefined);
      return JSON.stringify(actual) === JSON.stringify(expected);
    }),
    { numRuns: 5000 },
  );
});

t.test('an event without an end is cut off', async (t) => {
  const splitter = new EventSplitter(1000);
  let fed = 0;
  try {
    for (; fed < 100; fed++) splitter.push(Buffer.from(`data: ${'x'.repeat(50)}\n`));
  } catch (error) {
    t.ok(error instanceof EventTooLarge);
  }
  t.ok(fed < 20, 'soon after the limit');
});

t.test('an event that drips in costs what it weighs', async (t) => {
  const splitter = new EventSplitter(8 << 20);
  splitter.push(Buffer.from(`data: ${'x'.repeat(4 << 20)}`));
  const began = performance.now();
  for (let i = 0; i < 20_000; i++) splitter.push(Buffer.from('y'));
  const events = splitter.push(Buffer.from('\n\n'));
  t.equal(events[0]?.length, 6 + (4 << 20) + 20_000 + 2);
  // Copying what is there for each byte takes a minute here.
  t.ok(performance.now() - began < 5000);
});

t.test('responses are read for their outcome and nothing else', async (t) => {
  const read = (text: string) => parseResponse(Buffer.from(text));
  t.equal(read('{"jsonrpc":"2.0","id":1,"result":{"content":[],"isError":true}}')?.isError, true);
  t.equal(read('{"jsonrpc":"2.0","id":1,"result":{"content":[{"text":"\\"isError\\":true"}]}}')?.isError, false);
  t.equal(read('{"jsonrpc":"2.0","id":1,"result":{"nested":{"isError":true}}}')?.isError, false);
  t.equal(read('{"result":{},"jsonrpc":"2.0","id":"late"}')?.kind, 'result');
  t.equal(read('{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}')?.isError, true);
  t.equal(read('{"jsonrpc":"2.0","method":"notifications/progress","params":{}}')?.kind, 'message');
  t.equal(read('<html>'), undefined);
  t.equal(read('{"jsonrpc":"2.0","id":1,"result":'), undefined);
});

t.test('an id that fits in no header is a place nobody can come back to', async (t) => {
  t.ok(canReturnTo('1/2:3'));
  t.ok(canReturnTo(''));
  t.notOk(canReturnTo('x'.repeat(1025)));
  t.notOk(canReturnTo('\u00e9'));
  t.notOk(canReturnTo('a\tb'));
});
