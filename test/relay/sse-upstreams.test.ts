/** Upstreams of HTTP+SSE behind the running gateway: the official server, and one that plays along. */
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { CreateMessageRequestSchema, LoggingMessageNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import t, { type Test } from 'tap';
import { eventually } from '../support/eventually.ts';
import { type Gateway, startGateway } from '../support/gateway.ts';
import { openSession, sdkClient, textOf } from '../support/mcp.ts';
import { modernPost } from '../support/raw-client.ts';
import { freePort } from '../support/upstream.ts';
import { everythingSse, killed, sseServer, usual } from './sse-server.ts';

t.test('the official server over HTTP+SSE', async (t) => {
  const port = await freePort();
  let server = await everythingSse(t, port);
  const gateway = await startGateway(t);
  await add(t, gateway, 'old', `http://127.0.0.1:${port}/sse`);

  t.match((await gateway.admin('GET', 'connections/old/status')).json, {
    state: 'ready',
    era: 'legacy',
    transport: 'sse',
    serverName: 'mcp-servers/everything',
    hasSessions: true,
    resources: 7,
    lastError: undefined,
  });
  t.match((await gateway.admin('POST', 'connections/old/test')).json, { ok: true, transport: 'sse', era: 'legacy' });

  const client = await sdkClient(t, gateway.mcpUrl, gateway.key);
  await eventually(async () => (await client.listTools()).tools.some(({ name }) => name === 'old__echo'));
  const echo = async (who: Client, message: string): Promise<string> =>
    JSON.stringify((await who.callTool({ name: 'old__echo', arguments: { message } })).content);
  t.match(await echo(client, 'hello'), /Echo: hello/);

  await t.test('progress comes in time, to whom it belongs', async (t) => {
    const other = await sdkClient(t, gateway.mcpUrl, gateway.key);
    const long = async (who: Client, steps: number): Promise<number[]> => {
      const at: number[] = [];
      const began = performance.now();
      const call = { name: 'old__trigger-long-running-operation', arguments: { duration: 2, steps } };
      await who.callTool(call, undefined, { onprogress: () => at.push(performance.now() - began) });
      return at;
    };
    const [four, two] = await Promise.all([long(client, 4), long(other, 2)]);
    t.equal(four.length, 4);
    t.equal(two.length, 2);
    t.ok((four[0] as number) < 1400, `the first after half a second, not at the end: ${four}`);
    t.same(
      await Promise.all(Array.from({ length: 20 }, (_, i) => echo(i % 2 === 0 ? client : other, `n${i}`))),
      Array.from({ length: 20 }, (_, i) => `[{"type":"text","text":"Echo: n${i}"}]`),
    );
  });

  await t.test('resources, prompts, completions', async (t) => {
    const { resources } = await client.listResources();
    const uri = resources[0]?.uri as string;
    t.ok((await client.readResource({ uri })).contents.length > 0, uri);
    t.ok((await client.listPrompts()).prompts.some(({ name }) => name === 'old__args-prompt'));
    const prompt = await client.getPrompt({ name: 'old__args-prompt', arguments: { city: 'Ulm' } });
    t.match(JSON.stringify(prompt.messages), /Ulm/);
    const completed = await client.complete({
      ref: { type: 'ref/prompt', name: 'old__completable-prompt' },
      argument: { name: 'department', value: 'E' },
    });
    t.same(completed.completion.values, ['Engineering']);
  });

  await t.test('what the upstream asks in the middle of a call, and what it says outside', async (t) => {
    const asked = await asking(t, gateway);
    const sampled = await asked.client.callTool({
      name: 'old__trigger-sampling-request',
      arguments: { prompt: 'who?', maxTokens: 9 },
    });
    t.match(JSON.stringify(sampled.content), /it was me/);
    await asked.client.setLoggingLevel('debug');
    await asked.client.callTool({ name: 'old__toggle-simulated-logging', arguments: {} });
    await eventually(() => asked.logged() > 0, 15_000);
  });

  await t.test('a modern client', async (t) => {
    const called = await modernPost(gateway.mcpUrl, gateway.key, 'tools/call', {
      name: 'old__echo',
      arguments: { message: 'new' },
    });
    t.match(textOf(called), 'Echo: new');
  });

  await t.test('the relay is killed and comes again', async (t) => {
    const relay = Object.entries(gateway.children()).find(([name]) => name.startsWith('relay'));
    process.kill(relay?.[1] as number, 'SIGKILL');
    const again = () => echo(client, 'still here').catch((error: Error) => error.message);
    t.match(await eventually(async () => /Echo/.exec(await again())?.input, 20_000), /still here/);
  });

  await t.test('the upstream is killed and comes again', async (t) => {
    const pending = client.callTool({
      name: 'old__trigger-long-running-operation',
      arguments: { duration: 20, steps: 2 },
    });
    const outcome = pending.then(
      (result) => JSON.stringify(result),
      (error: Error) => error.message,
    );
    await new Promise((resolve) => setTimeout(resolve, 300));
    await killed(server);
    t.match(await outcome, /closed its event stream before it answered/);
    t.match(await echo(client, 'x').catch((error: Error) => error.message), /cannot be reached/);
    server = await everythingSse(t, port);
    t.match(await echo(client, 'again'), /Echo: again/, 'on a session of the new one');
    await gateway.ready('old');
  });
});

t.test('an upstream that plays along', async (t) => {
  const upstream = await sseServer(t);
  const gateway = await startGateway(t);
  await add(t, gateway, 'old', upstream.url, {
    timeout: '2s',
    auth: { type: 'bearer', token: 'upstream-secret' },
    forward: ['x-tenant'],
  });
  t.match(upstream.opened.at(-1), { authorization: 'Bearer upstream-secret', accept: 'text/event-stream' });

  const session = await openSession(gateway.mcpUrl, gateway.key);
  await eventually(async () => (await session.tools()).includes('old__echo'));
  const numbers = '{"n":9007199254740993,"e":1e400, "a":1}';
  const echoed = await session.call('old__echo', numbers, '9007199254740993');
  t.match(echoed.headers.get('content-type'), /^application\/json/);
  const sent = upstream.of('tools/call').at(-1);
  t.match(sent?.text, numbers, 'byte for byte');
  t.match(sent?.headers, { authorization: 'Bearer upstream-secret', 'content-type': 'application/json' });
  for (const name of ['mcp-session-id', 'x-sallyport-ticket', 'x-sallyport-route']) {
    t.notOk(sent?.headers[name], `${name} stays here`);
    t.notOk(upstream.opened.at(-1)?.[name], `${name} stays here`);
  }

  await t.test('one stream for each client', async (t) => {
    const before = upstream.opened.length;
    const other = await openSession(gateway.mcpUrl, gateway.key);
    t.equal(textOf(await other.call('old__echo', '{"b":1}')), '{"b":1}');
    t.equal(textOf(await session.call('old__echo', '{"b":2}')), '{"b":2}');
    t.equal(upstream.opened.length, before + 1);
    // The same id at the same time, answered the other way round.
    upstream.answer = () => undefined;
    const both = [session.call('old__slow', '{"who":1}', '7'), other.call('old__slow', '{"who":2}', '7')];
    const calls = await eventually(() => {
      const found = upstream.of('tools/call').filter(({ message }) => message.id === 7);
      return found.length === 2 && found;
    });
    for (const { stream, message } of [...calls].reverse())
      upstream.say(
        stream,
        `{"jsonrpc":"2.0","id":7,"result":{"content":[],"who":${JSON.stringify(message.params?.arguments)}}}`,
      );
    t.match(
      (await Promise.all(both)).map(({ json }) => json.result),
      [{ who: { who: 1 } }, { who: { who: 2 } }],
    );
    upstream.answer = usual;
    const { size } = upstream.streams;
    await fetch(gateway.mcpUrl, {
      method: 'DELETE',
      headers: { authorization: `Bearer ${gateway.key}`, 'mcp-session-id': other.id },
    });
    await eventually(() => upstream.streams.size < size);
  });

  await t.test('what takes too long', async (t) => {
    const late = await session.call('old__quiet', '{}', '41');
    t.match(late.text, /did not answer within 2 s/);
    await eventually(() =>
      upstream.of('notifications/cancelled').some(({ message }) => message.params?.requestId === 41),
    );
    await eventually(() => upstream.of('ping').length > 0);
    const opened = upstream.opened.length;
    t.equal(textOf(await session.call('old__echo', '{"b":3}')), '{"b":3}', 'it was only slow');
    t.equal(upstream.opened.length, opened);
  });

  await t.test('cancellation reaches it', async (t) => {
    const running = session.call('old__quiet', '{}', '"c-1"');
    await eventually(() => upstream.of('tools/call').some(({ message }) => message.id === 'c-1'));
    await session.send(
      '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"c-1","reason":"no"}}',
    );
    await eventually(() =>
      upstream.of('notifications/cancelled').some(({ message }) => message.params?.requestId === 'c-1'),
    );
    t.match((await running).text, /cancelled/);
  });

  await t.test('a ping is answered here', async () => {
    const [stream] = [...upstream.streams.keys()].slice(-1);
    upstream.say(stream as number, '{"jsonrpc":"2.0","id":"p","method":"ping"}');
    await eventually(() => upstream.posted.some(({ message }) => message.id === 'p' && message.result !== undefined));
  });

  await t.test('a stream that it knows no more, and one that it refuses', async (t) => {
    let isFirst = true;
    upstream.status = ({ message }) => {
      if (message.method !== 'tools/call' || !isFirst) return 202;
      isFirst = false;
      return 404;
    };
    const streams = upstream.opened.length;
    upstream.answer = (posted) => (isFirst && posted.message.method === 'tools/call' ? undefined : usual(posted));
    t.match((await session.call('old__echo', '{"again":1}')).text, /again/, 'the call is made again on a new stream');
    t.equal(upstream.opened.length, streams + 1);
    upstream.status = () => 202;
    for (const stream of upstream.streams.values()) stream.destroy();
    await eventually(() => upstream.streams.size === 0);
    upstream.getStatus = 401;
    t.match((await session.call('old__echo', '{}')).text, /did not accept the gateway/);
    upstream.getStatus = 200;
    upstream.endpoint = () => 'http://127.0.0.1:1/messages';
    t.match((await session.call('old__echo', '{}')).text, /endpoint that it names is not on/);
    upstream.endpoint = (stream) => `${upstream.origin}/messages?stream=${stream}`;
    t.match((await session.call('old__echo', '{"ok":1}')).text, /ok/, 'a whole URL of its own is fine');
  });
});

async function add(t: Test, gateway: Gateway, name: string, url: string, more: object = {}): Promise<void> {
  const added = await gateway.admin('POST', 'connections', { name, url, ...more });
  t.equal(added.status, 201, JSON.stringify(added.json));
  await gateway.ready(name);
}

/** A client that can be asked for a sample. */
async function asking(t: Test, gateway: Gateway): Promise<{ client: Client; logged: () => number }> {
  const client = new Client({ name: 'asked', version: '1' }, { capabilities: { sampling: {} } });
  client.setRequestHandler(CreateMessageRequestSchema, async () => ({
    model: 'none',
    role: 'assistant' as const,
    content: { type: 'text' as const, text: 'it was me' },
  }));
  let logged = 0;
  client.setNotificationHandler(LoggingMessageNotificationSchema, () => void logged++);
  const transport = new StreamableHTTPClientTransport(new URL(gateway.mcpUrl), {
    requestInit: { headers: { authorization: `Bearer ${gateway.key}` } },
  });
  await client.connect(transport as unknown as Parameters<Client['connect']>[0]);
  t.teardown(() => client.close());
  return { client, logged: () => logged };
}
