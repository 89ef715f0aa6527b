/** Two relays behind one Envoy, which gives each the next request: what one holds, the other finds. */
import { get } from 'node:http';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import t from 'tap';
import { socketsIn } from '../../src/runtime/sockets.ts';
import { eventually } from '../support/eventually.ts';
import { startGateway } from '../support/gateway.ts';
import { startLegacy } from '../support/legacy-upstream.ts';
import { textOf } from '../support/mcp.ts';
import { startModern } from '../support/modern-upstream.ts';
import { legacySession, modernPost, openEvents } from '../support/raw-client.ts';

const KEY = 'first-key-of-two-relays';
const ASKABLE = { meta: { 'io.modelcontextprotocol/clientCapabilities': { roots: {} } } };

t.test('two relays', async (t) => {
  const old = await startLegacy(t);
  const modern = await startModern(t);
  const gateway = await startGateway(t, {
    config: `
connections:
  old: { url: "${old.url}" }
  new: { url: "${modern.url}" }
namespaces:
  default: { connections: [old, new], prefix: always }
personas:
  all: { roles: [all], tools: { allow: ['*'] } }
identity:
  apiKeys: [{ name: first, key: "${KEY}", roles: [all] }]
`,
    args: ['--relays', '2', '--workers', '1'],
  });
  await Promise.all([gateway.ready('old'), gateway.ready('new')]);
  t.teardown(() => t.passing() || t.comment(gateway.output()));
  const relays = (): string[] => Object.keys(gateway.children()).filter((name) => name.startsWith('relay-'));
  t.same(relays().sort(), ['relay-0', 'relay-1']);

  /** Event streams that each relay holds. */
  const held = (): Promise<number[]> => {
    const { relayMetrics } = socketsIn(gateway.runtimeDir);
    const one = async (index: number): Promise<number> => {
      const text = await new Promise<string>((resolve, reject) => {
        get({ socketPath: relayMetrics(index), path: '/metrics' }, async (response) => {
          let all = '';
          for await (const chunk of response.setEncoding('utf8')) all += chunk;
          resolve(all);
        }).once('error', reject);
      });
      return Number(/^sallyport_relay_streams(?:\{.*\})? (\d+)$/m.exec(text)?.[1]);
    };
    return Promise.all([one(0), one(1)]);
  };

  await t.test('parked calls', async (t) => {
    for (let round = 0; round < 5; round++) {
      const params = { name: 'old__held', arguments: {} };
      const first = modernPost(gateway.mcpUrl, KEY, 'tools/call', params, ASKABLE);
      const call = await old.nextCall();
      call.event({ jsonrpc: '2.0', id: `q${round}`, method: 'roots/list' });
      const { result } = (await first).json;
      const [key = ''] = Object.keys(result?.inputRequests as object);
      const inputResponses = { [key]: { roots: [{ uri: `file:///${round}` }] } };
      const retry = { ...params, requestState: result?.requestState, inputResponses };
      const second = modernPost(gateway.mcpUrl, KEY, 'tools/call', retry, ASKABLE);
      const { message } = await eventually(() => old.answers.find(({ message }) => message.id === `q${round}`));
      t.match(message, { result: { roots: [{ uri: `file:///${round}` }] } });
      call.result({ content: [{ type: 'text', text: `done ${round}` }] });
      t.equal(textOf(await second), `done ${round}`);
    }
  });

  await t.test('answers of legacy clients', async (t) => {
    const client = await legacySession(gateway.mcpUrl, KEY, { capabilities: { roots: {} } });
    for (let round = 0; round < 5; round++) {
      const opening = client.stream('tools/call', { name: 'new__held', arguments: {} }, round + 1);
      const call = await modern.nextCall();
      call.result({ resultType: 'input_required', inputRequests: { q: { method: 'roots/list' } } });
      const stream = await opening;
      const id = (await stream.next())?.message.id;
      const told = await client.send({ jsonrpc: '2.0', id, result: { roots: [{ uri: `file:///${round}` }] } });
      t.equal(told.status, 202);
      const again = await modern.nextCall();
      t.match(again.message.params?.inputResponses, { q: { roots: [{ uri: `file:///${round}` }] } });
      again.result({ resultType: 'complete', content: [{ type: 'text', text: 'done' }] });
      t.match((await stream.rest()).at(-1)?.message, { result: { content: [{ text: 'done' }] } });
    }
  });

  await t.test('GET streams: a session is at one relay, wherever its requests arrive', async (t) => {
    const before = await held();
    const open = async (client: Awaited<ReturnType<typeof legacySession>>, headers: Record<string, string> = {}) => {
      const stream = await openEvents(gateway.mcpUrl, KEY, undefined, { ...client.headers, ...headers });
      t.equal(stream.status, 200);
      t.teardown(() => stream.close());
      return stream;
    };
    const client = await legacySession(gateway.mcpUrl, KEY);
    const known = new Set(old.streams);
    const first = await open(client);
    await client.request('tools/call', { name: 'old__echo', arguments: {} });
    const upstream = await eventually(() => [...old.streams].find((call) => !known.has(call)));
    const say = (data: string): void =>
      upstream.event({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data } });
    say('one');
    t.equal((await first.next())?.message.params?.data, 'one');

    const more = [await open(client), await open(client), await open(client)];
    const counts = (await held()).map((count, index) => count - (before[index] ?? 0));
    t.same(counts.toSorted(), [0, 4], 'all four at one of the two');
    say('two');
    const two = await more[2]?.next();
    t.equal(two?.message.params?.data, 'two');
    for (const stream of [first, ...more]) await t.rejects(stream.next(100), 'to the newest alone');

    for (const stream of [first, ...more]) stream.close();
    await eventually(async () => (await held()).every((count, index) => count === before[index]));
    say('three');
    const again = await open(client, { 'last-event-id': two?.id ?? '' });
    t.same(
      (await again.next())?.message.params?.data,
      'three',
      'what the broken stream missed, from the relay that kept it',
    );
    again.close();

    const others = await Promise.all(Array.from({ length: 6 }, () => legacySession(gateway.mcpUrl, KEY)));
    for (const other of others) await open(other);
    t.ok(
      (await held()).every((count, index) => count > (before[index] ?? 0)),
      'sessions are at both',
    );
  });

  await t.test('messages of HTTP+SSE clients', async (t) => {
    const clients = await Promise.all(
      [1, 2].map(async () => {
        const client = new Client({ name: 'older', version: '1' });
        const url = new URL('/sse', gateway.mcpUrl);
        const headers = { authorization: `Bearer ${KEY}` };
        await client.connect(new SSEClientTransport(url, { requestInit: { headers } }) as never);
        t.teardown(() => client.close());
        return client;
      }),
    );
    for (let round = 0; round < 4; round++) {
      for (const client of clients) t.ok((await client.listTools()).tools.length > 1);
    }
  });

  await t.test('a relay that dies takes its own along, the other serves on', async (t) => {
    const client = await legacySession(gateway.mcpUrl, KEY);
    process.kill(gateway.children()['relay-0'] as number, 'SIGKILL');
    const stream = await eventually(async () => {
      const tried = await openEvents(gateway.mcpUrl, KEY, undefined, client.headers);
      if (tried.status === 200) return tried;
      tried.close();
      return undefined;
    });
    t.equal(stream.status, 200);
    stream.close();
  });
});
