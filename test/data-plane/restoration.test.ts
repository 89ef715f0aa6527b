import { createParser } from 'eventsource-parser';
import fc from 'fast-check';
import t from 'tap';
import { Restoration } from '../../src/data-plane/restoration.ts';
import type { World } from '../../src/data-plane/world.ts';
import { EventSplitter } from '../../src/mcp/events.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { exchangeOf, handles, identity, type Setting } from '../translate/exchange.ts';

const world = { handles, log: createLogger('test', 'silent') } as unknown as World;

/** What a client reads of a stream that an upstream sent in these pieces. */
function heard(setting: Setting, pieces: readonly Buffer[]): { data: string; id: string | undefined }[] {
  const { exchange, call } = exchangeOf(setting);
  exchange.upstream = call;
  const restoration = new Restoration(exchange, world);
  const splitter = new EventSplitter(1 << 20);
  const out: Buffer[] = [];
  for (const piece of pieces) {
    for (const event of splitter.push(piece)) {
      const bytes = restoration.event(event);
      if (bytes !== undefined) out.push(bytes);
    }
  }
  const last = restoration.end();
  if (last !== undefined) out.push(last);
  const events: { data: string; id: string | undefined }[] = [];
  // Empty data are a place to come back to, and no message (MCP 2025-11-25 transports).
  const parser = createParser({ onEvent: ({ data, id }) => data !== '' && events.push({ data, id }) });
  // A CR at the very end could be half a line end to this parser.
  parser.feed(`${new TextDecoder().decode(Buffer.concat(out))}\n`);
  return events;
}

const SETTINGS: readonly Setting[] = [
  { client: 'legacy', upstream: 'legacy', uris: identity },
  { client: 'modern', upstream: 'legacy', uris: identity },
  { client: 'legacy', upstream: 'modern', uris: identity, id: '"a"' },
  { client: 'modern', upstream: 'modern', uris: identity, mintedId: '"sp-1"' },
];

t.test(
  'whatever bytes an upstream streams, a client reads whole messages that were meant for it, and one answer',
  async () => {
    const token = fc.constantFrom(
      'data: ',
      'data:',
      'data',
      '\n',
      '\n\n',
      '\r',
      '\r\n',
      '\n\r',
      '\ufeff',
      ': ',
      'id: 7\n',
      'retry: 5\n',
      'event: x\n',
      '\0',
      '{"jsonrpc":"2.0","method":"m"}',
      '{"jsonrpc":"2.0","id":1,"result":{"one":1}}',
      '{"jsonrpc":"2.0","id":"a","result":{"one":1}}',
      '{"jsonrpc":"2.0","id":"sp-1","result":{"one":1}}',
      '{"jsonrpc":"2.0","id":99,"result":{"forged":1}}',
      '{"jsonrpc":"2.0","method":"m","params":',
      '{"jsonrpc":"2.0",',
      '"id":1,"result":{}}',
      '}',
      '[1]',
    );
    const stream = fc.oneof(
      fc.array(token, { maxLength: 30 }),
      // Most of it well formed, so that the odd piece meets something.
      fc
        .array(fc.tuple(fc.constant('data: '), token, fc.constantFrom('\n\n', '\r\n\r\n', '\r\r', '\n\r', '\n')), {
          maxLength: 8,
        })
        .map((all) => all.flat()),
    );
    fc.assert(
      fc.property(
        fc.constantFrom(...SETTINGS),
        stream,
        fc.array(fc.nat(), { maxLength: 6 }),
        (setting, tokens, cuts) => {
          const bytes = Buffer.from(tokens.join(''));
          const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
          const pieces = places.slice(1).map((end, i) => bytes.subarray(places[i], end));
          const events = heard(setting, pieces);
          const messages = events.map(({ data }) => JSON.parse(data) as { id?: unknown; method?: string });
          const answers = messages.filter((message) => message.method === undefined);
          const id: unknown = JSON.parse(setting.id ?? '1');
          return answers.length === 1 && answers[0]?.id === id && messages.at(-1) === answers[0];
        },
      ),
      { numRuns: 20_000 },
    );
  },
);

t.test('event ids of an upstream stay with it', async (t) => {
  const answer = (id: string) => Buffer.from(`id: ${id}\ndata: {"jsonrpc":"2.0","id":1,"result":{}}\n\n`);
  for (const setting of SETTINGS.slice(0, 2)) {
    const [event] = heard(setting, [Buffer.from('id: secret-0\ndata: \n\n'), answer('secret-1')]);
    t.equal(event?.id, undefined, 'a client that could not come back gets none');
  }
});

t.test('an upstream that asks without end is cut off, with an answer', async (t) => {
  const setting: Setting = { ...(SETTINGS[0] as Setting), session: 's', capabilities: { roots: {} } };
  const ask = Buffer.from('data: {"jsonrpc":"2.0","id":1,"method":"roots/list"}\n\n');
  const events = heard(setting, [...Array.from({ length: 1200 }, () => ask)]);
  t.equal(events.length, 1001);
  t.match(JSON.parse(events.at(-1)?.data ?? ''), { id: 1, result: { isError: true } });
});
