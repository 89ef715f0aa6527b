/** HTTP+SSE clients and batches through the whole product: Envoy, processors, the relay, a real server behind. */
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { CreateMessageRequestSchema, LoggingMessageNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import t, { type Test } from 'tap';
import { eventually } from '../support/eventually.ts';
import { type Gateway, startGateway } from '../support/gateway.ts';
import { post, textOf } from '../support/mcp.ts';
import { startEverything } from '../support/upstream.ts';

const KEY = 'first-key-of-the-front-journey';
const CONFIG = (url: string): string => `
connections:
  everything: { url: "${url}" }
namespaces:
  default: { connections: [everything], prefix: always }
  plain: { connections: [everything], prefix: never }
personas:
  admin: { roles: [admin], tools: { allow: ["*"] }, connections: { allow: ["*"] } }
  reader: { roles: [reader], tools: { allow: ["*echo"] }, connections: { allow: ["*"] } }
identity:
  apiKeys: [{ name: first, key: "${KEY}", roles: [admin] }]
`;

const old = (gateway: Gateway, path: string): URL => new URL(path, gateway.mcpUrl);

async function sseClient(t: Test, url: URL, key: string, capabilities = {}): Promise<Client> {
  const client = new Client({ name: 'old', version: '1' }, { capabilities });
  const transport = new SSEClientTransport(url, { requestInit: { headers: { authorization: `Bearer ${key}` } } });
  await client.connect(transport as unknown as Parameters<Client['connect']>[0]);
  t.teardown(() => client.close());
  return client;
}

/** What a bare client sees of its stream. */
async function bareStream(
  t: Test,
  url: URL,
  key: string,
): Promise<{ endpoint: string; text(): string; close(): void }> {
  const stop = new AbortController();
  t.teardown(() => stop.abort());
  const response = await fetch(url, { headers: { authorization: `Bearer ${key}` }, signal: stop.signal });
  t.equal(response.status, 200);
  let text = '';
  void (async () => {
    for await (const chunk of response.body ?? []) text += Buffer.from(chunk).toString();
  })().catch(() => {});
  const endpoint = await eventually(() => /^event: endpoint\ndata: (\S+)\n\n/.exec(text)?.[1]);
  return { endpoint: new URL(endpoint, url).href, text: () => text, close: () => stop.abort() };
}

async function newKey(gateway: Gateway, name: string, role: string): Promise<string> {
  const { status, json } = await gateway.admin<{ key: string }>('POST', 'keys', { name, roles: [role] });
  if (status !== 201) throw new Error(`a key: ${status} ${JSON.stringify(json)}`);
  // Keys are read by every process within a moment.
  await eventually(async () => (await post(gateway.mcpUrl, json.key, PING)).status === 200);
  return json.key;
}

const PING = '{"jsonrpc":"2.0","id":"p","method":"ping"}';
const initialize = (version: string): string =>
  `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"${version}","capabilities":{},"clientInfo":{"name":"bare","version":"1"}}}`;

t.test('through the whole product', async (t) => {
  const everything = await startEverything(t);
  const gateway = await startGateway(t, { config: CONFIG(everything.url) });
  await gateway.ready('everything');

  await t.test('the official client over HTTP+SSE: lists, calls, progress and questions in time', async (t) => {
    const client = await sseClient(t, old(gateway, '/plain/sse'), KEY, { sampling: {} });
    client.setRequestHandler(CreateMessageRequestSchema, async () => ({
      model: 'test',
      role: 'assistant',
      content: { type: 'text', text: 'sampled here' },
    }));
    const logged: unknown[] = [];
    client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => void logged.push(params));
    const names = (await client.listTools()).tools.map(({ name }) => name);
    t.ok(names.includes('echo') && names.includes('get-sum'), names.join());
    t.match(await client.callTool({ name: 'echo', arguments: { message: 'old friend' } }), {
      content: [{ text: 'Echo: old friend' }],
    });
    const heard: { progress: number; at: number }[] = [];
    const long = await client.callTool(
      { name: 'trigger-long-running-operation', arguments: { duration: 1.2, steps: 3 } },
      undefined,
      { onprogress: ({ progress }) => void heard.push({ progress, at: Date.now() }) },
    );
    t.match(long, { content: [{ text: /completed/ }] });
    const answeredAt = Date.now();
    // The SDK forgets a call's progress handler at once when its response follows closely: the last may be lost there.
    t.match(
      heard.map(({ progress }) => progress),
      [1, 2],
    );
    t.ok(answeredAt - (heard[0]?.at ?? answeredAt) > 600, 'each when it happened');

    t.match(await client.callTool({ name: 'trigger-sampling-request', arguments: { prompt: 'x' } }), {
      content: [{ text: /sampled here/ }],
    });
    await client.callTool({ name: 'toggle-simulated-logging', arguments: {} });
    await eventually(() => logged.length > 0, 12_000);
    t.match(logged[0], { level: /./ }, 'what belongs to no call comes on the stream, too');
  });

  await t.test('two clients of two keys', async (t) => {
    const reader = await newKey(gateway, 'reader', 'reader');
    const nobody = await newKey(gateway, 'nobody', 'unheard-of');
    const mine = await sseClient(t, old(gateway, '/sse'), KEY);
    const theirs = await sseClient(t, old(gateway, '/sse'), reader);
    const [all, some] = [await mine.listTools(), await theirs.listTools()];
    t.ok(all.tools.length > 5);
    t.same(
      some.tools.map(({ name }) => name),
      ['everything__echo'],
    );
    const calls = await Promise.all(
      ['a', 'b', 'c'].flatMap((message) => [
        mine.callTool({ name: 'everything__echo', arguments: { message: `mine ${message}` } }),
        theirs.callTool({ name: 'everything__echo', arguments: { message: `theirs ${message}` } }),
      ]),
    );
    t.same(
      calls.map(({ content }) => (content as { text: string }[])[0]?.text),
      ['a', 'b', 'c'].flatMap((message) => [`Echo: mine ${message}`, `Echo: theirs ${message}`]),
    );
    t.match(await theirs.callTool({ name: 'everything__get-sum', arguments: { a: 1, b: 2 } }), {
      isError: true,
      content: [{ text: /No tool named everything__get-sum/ }],
    });
    const without = await sseClient(t, old(gateway, '/sse'), nobody);
    t.same((await without.listTools()).tools, []);

    const stream = await bareStream(t, old(gateway, '/sse'), KEY);
    for (const key of [reader, nobody]) t.equal((await post(stream.endpoint, key, PING)).status, 404);
    t.equal((await post(stream.endpoint, undefined, PING)).status, 401);
    t.notMatch(stream.text(), '"p"');
    t.equal((await fetch(old(gateway, '/sse'))).status, 401);
    t.equal(
      (await fetch(old(gateway, '/nowhere/sse'), { headers: { authorization: `Bearer ${reader}` } })).status,
      404,
    );

    t.equal((await gateway.admin('DELETE', 'keys/reader')).status, 204);
    await eventually(async () => (await post(stream.endpoint, reader, PING)).status === 401);
    await t.rejects(theirs.listTools(), 'a revoked key');
  });

  await t.test('bad input, and the end of a stream', async (t) => {
    const stream = await bareStream(t, old(gateway, '/plain/sse'), KEY);
    const send = (body: string, headers = {}) => post(stream.endpoint, KEY, body, headers);
    t.match(await send('{"jsonrpc":"2.0",'), { status: 400, json: { error: { code: -32700 } } });
    t.match(await send(`[${PING}]`), { status: 400, json: { error: { code: -32600 } } });
    t.match(await send(`"${'x'.repeat(5 << 20)}"`), { status: 413 });
    t.match(await send(PING, { 'content-type': 'text/plain' }), { status: 415 });
    t.match(await send(PING, { origin: 'https://evil.example' }), { status: 403 });
    const forged = stream.endpoint.replace(/.{6}$/, 'AAAAAA');
    t.equal((await post(forged, KEY, PING)).status, 404);
    t.equal((await post(stream.endpoint.replace('/plain/', '/'), KEY, PING)).status, 404);
    t.equal((await send('{"jsonrpc":"2.0","id":"early","method":"tools/list"}')).status, 202);
    await eventually(() => /"id":"early","error".*initialize/.test(stream.text()));
    t.equal((await send(initialize('2024-11-05'))).status, 202);
    await eventually(() => /"id":0,"result":\{"protocolVersion":"2024-11-05"/.test(stream.text()));
    t.equal((await send('{"jsonrpc":"2.0","method":"notifications/initialized"}')).status, 202);
    t.equal((await send('{"jsonrpc":"2.0","id":9007199254740993,"method":"tools/list"}')).status, 202);
    await eventually(() => /"id":9007199254740993,"result":\{"tools":\[/.test(stream.text()));

    stream.close();
    await eventually(async () => (await send(PING)).status === 404);
    // The stream, what went through the front door, and the stream of server messages that the relay held for it.
    const expected = ['HTTP DELETE', 'HTTP GET', 'HTTP GET', 'initialize', 'notifications/initialized', 'tools/list'];
    const rows = await eventually(async () => {
      const { json } = await gateway.admin<{ items: { method: string; session: string | null; verdict: string }[] }>(
        'GET',
        'audit/events?limit=20',
      );
      // The session of the revoked key ends without being known any more: that row has none.
      const ended = json.items.find(({ method, session }) => method === 'HTTP DELETE' && session !== null);
      const found = json.items.filter(({ session }) => session === ended?.session);
      return ended !== undefined && found.length >= expected.length && found;
    });
    t.same(rows.map(({ method }) => method).sort(), expected);
    t.ok(rows.every(({ verdict }) => verdict === 'allowed'));
  });

  await t.test('a batch on a session of 2025-03-26, and on no other', async (t) => {
    const url = old(gateway, '/plain/mcp').href;
    const open = async (version: string): Promise<Record<string, string>> => {
      const { headers } = await post(url, KEY, initialize(version));
      return { 'mcp-session-id': headers.get('mcp-session-id') ?? '' };
    };
    const call = (id: string, name: string, args: string): string =>
      `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"${name}","arguments":${args}}}`;
    const messages = [
      call('1', 'echo', '{"message":"one"}'),
      '{"jsonrpc":"2.0","method":"notifications/initialized"}',
      call('"1"', 'get-sum', '{"a":40,"b":2}'),
      '{"jsonrpc":"2.0","id":9007199254740993,"method":"ping"}',
      call('3', 'no-such-tool', '{}'),
      '{"jsonrpc":"2.0","id":4,"method":"no/such/method"}',
    ];
    const session = await open('2025-03-26');
    const expected = new Map<unknown, RegExp>([
      [1, /Echo: one/],
      ['1', /42/],
      [3, /No tool named no-such-tool/],
      [4, /-32601/],
    ]);
    const plain = await post(url, KEY, `[${messages.join(',')}]`, { ...session, accept: 'application/json' });
    t.equal(plain.status, 200, plain.text);
    t.match(plain.headers.get('content-type'), /^application\/json/);
    const answers = JSON.parse(plain.text) as { id: unknown }[];
    t.equal(answers.length, 5);
    for (const [id, pattern] of expected) t.match(JSON.stringify(answers.find((one) => one.id === id)), pattern);
    t.match(plain.text, '"id":9007199254740993');

    const streamed = await post(url, KEY, `[${messages.join(',')}]`, session);
    t.match(streamed.headers.get('content-type'), 'text/event-stream', 'the server answers calls with streams');
    for (const pattern of expected.values()) t.match(streamed.text, pattern);
    t.equal(streamed.text.match(/^data: /gm)?.length, 5);

    const quiet = await post(url, KEY, `[${messages[1]},${messages[1]}]`, session);
    t.match(quiet, { status: 202, text: '' });
    t.match(await post(url, KEY, '[]', session), { status: 400, json: { error: { code: -32600 } } });
    t.match(textOf(await post(url, KEY, call('7', 'echo', '{"message":"x"}'), session)), /Echo: x/);
    for (const version of ['2025-06-18', '2025-11-25', '2024-11-05']) {
      const refused = await post(url, KEY, `[${messages.join(',')}]`, await open(version));
      t.match(refused, { status: 400, json: { error: { code: -32600 } } }, version);
    }
    // Two batches with that call: each message has its row.
    await eventually(async () => {
      const { json } = await gateway.admin<{ items: { method: string; verdict: string }[] }>(
        'GET',
        'audit/events?tool=no-such-tool',
      );
      return json.items.filter(({ method, verdict }) => method === 'tools/call' && verdict === 'denied').length === 2;
    });
  });
});
