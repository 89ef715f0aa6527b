/** Calls across the eras through the whole product, between the official SDK's clients and its servers. */
import { setTimeout as delay } from 'node:timers/promises';
import { Client, type ClientCapabilities, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import t, { type Test } from 'tap';
import { startFixture } from '../conformance/fixture/fixture.ts';
import { eventually } from '../support/eventually.ts';
import { type Gateway, startGateway } from '../support/gateway.ts';
import { startLegacy } from '../support/legacy-upstream.ts';
import { textOf } from '../support/mcp.ts';
import { startModern } from '../support/modern-upstream.ts';
import { legacySession, modernPost, modernRequest, openEvents } from '../support/raw-client.ts';
import { startEverything } from '../support/upstream.ts';

const ANN = 'first-key-of-the-bridge-journey';
const BOB = 'second-key-of-the-bridge-journey';
const EVERYTHING: ClientCapabilities = {
  elicitation: { form: {}, url: {} },
  sampling: {},
  roots: { listChanged: true },
};

const oldFixture = await startFixture({ era: 'legacy' });
const newFixture = await startFixture({ era: 'modern' });
t.teardown(() => Promise.all([oldFixture.close(), newFixture.close()]));
const everything = await startEverything(t);
const oldServer = await startLegacy(t);
const newServer = await startModern(t);
const gateway: Gateway = await startGateway(t, {
  config: `
connections:
  old: { url: "${oldFixture.url}" }
  new: { url: "${newFixture.url}" }
  everything: { url: "${everything.url}" }
  scripted-old: { url: "${oldServer.url}" }
  scripted-new: { url: "${newServer.url}" }
namespaces:
  old: { connections: [old], prefix: never }
  new: { connections: [new], prefix: never }
  everything: { connections: [everything], prefix: never }
  default: { connections: [scripted-old, scripted-new], prefix: always }
personas:
  admin: { roles: [admin], tools: { allow: ["*"] }, connections: { allow: ["*"] } }
identity:
  apiKeys:
    - { name: ann, key: "${ANN}", roles: [admin] }
    - { name: bob, key: "${BOB}", roles: [admin] }
`,
});
await Promise.all(['old', 'new', 'everything', 'scripted-old', 'scripted-new'].map((name) => gateway.ready(name)));

interface Asked {
  readonly method: string;
  readonly params: unknown;
}

/** A client of one era that answers whatever it is asked, and remembers it. */
async function sdk(
  t: Test,
  namespace: 'old' | 'new' | 'everything',
  era: 'legacy' | 'modern',
): Promise<{ client: Client; asked: Asked[] }> {
  const client = new Client(
    { name: 'journey', version: '1' },
    {
      capabilities: EVERYTHING,
      versionNegotiation: { mode: era === 'modern' ? { pin: '2026-07-28' } : 'legacy' },
    },
  );
  const asked: Asked[] = [];
  client.setRequestHandler('elicitation/create', ({ method, params }) => {
    asked.push({ method, params });
    const text = JSON.stringify(params);
    if (text.includes('decline')) return { action: 'decline' };
    return {
      action: 'accept',
      content: { name: 'Ann', username: 'ann', email: 'a@b.c', color: 'blue', ok: true, context: 'ctx' },
    };
  });
  client.setRequestHandler('sampling/createMessage', ({ method, params }) => {
    asked.push({ method, params });
    return { role: 'assistant', model: 'm', content: { type: 'text', text: 'Paris' } };
  });
  client.setRequestHandler('roots/list', ({ method, params }) => {
    asked.push({ method, params });
    return { roots: [{ uri: 'file:///home' }] };
  });
  const url = new URL(`/${namespace}/mcp`, gateway.mcpUrl);
  const transport = new StreamableHTTPClientTransport(url, {
    requestInit: { headers: { authorization: `Bearer ${ANN}` } },
  });
  await client.connect(transport);
  t.teardown(() => client.close());
  return { client, asked };
}

const said = (result: unknown): string =>
  (result as { content?: { text?: string }[] }).content?.map(({ text }) => text).join(' ') ?? JSON.stringify(result);

for (const [era, namespace] of [
  ['modern', 'old'],
  ['legacy', 'new'],
] as const) {
  t.test(`a ${era} client is asked everything that the ${namespace} server wants to know`, async (t) => {
    const { client, asked } = await sdk(t, namespace, era);
    const call = async (name: string, args = {}) => said(await client.callTool({ name, arguments: args }));
    t.match(await call('test_elicitation', { message: 'Who?' }), /action=accept.*ann/);
    t.match(await call('test_elicitation', { message: 'Please decline' }), /action=decline/);
    t.match(await call('test_sampling', { prompt: 'Capital?' }), 'LLM response: Paris');
    t.match(await call('test_input_required_result_list_roots'), 'file:///home');
    t.match(await call('test_input_required_result_multiple_inputs'), 'Paris, Ann! You have 1 roots.');
    t.match(await call('test_input_required_result_multi_round'), 'Ann likes blue.');
    t.match(await call('test_input_required_result_request_state'), 'state-ok');
    const prompt = await client.getPrompt({ name: 'test_input_required_result_prompt' });
    t.match(JSON.stringify(prompt), 'Use the following context: ctx');
    t.equal(asked.length, 11);
    const progress: number[] = [];
    await client.callTool(
      { name: 'test_tool_with_progress', arguments: {} },
      { onprogress: (one) => void progress.push(one.progress) },
    );
    t.ok(progress.length > 1, 'progress passes by the way');
  });
}

t.test('a modern client and the server that most people try first', async (t) => {
  const { client, asked } = await sdk(t, 'everything', 'modern');
  const call = async (name: string, args = {}) => said(await client.callTool({ name, arguments: args }));
  t.match(await call('trigger-elicitation-request'), 'Ann');
  t.match(await call('trigger-sampling-request', { prompt: 'Capital?' }), 'Paris');
  // It asks for roots on the stream of the session, not on that of the call.
  t.match(await call('get-roots-list'), 'file:///home');
  t.ok(asked.length >= 3);
});

t.test('equal ids of two modern principals stay apart, and so do their states', async (t) => {
  const park = async (key: string) => {
    const answer = modernPost(
      gateway.mcpUrl,
      key,
      'tools/call',
      { name: 'scripted-old__held', arguments: {} },
      ASKABLE,
    );
    const held = await oldServer.nextCall();
    held.event({ jsonrpc: '2.0', id: 'same', method: 'roots/list' });
    const { result } = (await answer).json;
    return { held, state: String(result?.requestState), key: Object.keys(result?.inputRequests as object)[0] ?? '' };
  };
  const ann = await park(ANN);
  const bob = await park(BOB);
  t.not(ann.held.session, bob.held.session, 'never one upstream session for two');
  const retry = (key: string, state: string, input: string, uri: string) =>
    modernPost(
      gateway.mcpUrl,
      key,
      'tools/call',
      {
        name: 'scripted-old__held',
        arguments: {},
        requestState: state,
        inputResponses: { [input]: { roots: [{ uri }] } },
      },
      ASKABLE,
    );
  const swapped = await retry(BOB, ann.state, ann.key, 'file:///bob');
  t.match(swapped.json.error, { code: -32602, message: /requestState is not valid/ });
  const bobs = retry(BOB, bob.state, bob.key, 'file:///bob');
  const anns = retry(ANN, ann.state, ann.key, 'file:///ann');
  for (const [held, uri] of [
    [ann.held, 'file:///ann'],
    [bob.held, 'file:///bob'],
  ] as const) {
    const answer = await eventually(() => oldServer.answers.find(({ session }) => session === held.session));
    t.match(answer.message, { id: 'same', result: { roots: [{ uri }] } });
    held.result({ content: [{ type: 'text', text: uri }] });
  }
  t.equal(textOf(await anns), 'file:///ann');
  t.equal(textOf(await bobs), 'file:///bob');
  t.match((await retry(ANN, ann.state, ann.key, 'file:///ann')).json.error, { code: -32602 }, 'once');
});

t.test('two legacy sessions with equal ids are asked each on its own stream', async (t) => {
  const [ann, bob] = await Promise.all([
    legacySession(gateway.mcpUrl, ANN, { capabilities: EVERYTHING }),
    legacySession(gateway.mcpUrl, BOB, { capabilities: EVERYTHING }),
  ]);
  const open = async (client: typeof ann) => {
    const [stream, held] = await Promise.all([
      client.stream('tools/call', { name: 'scripted-new__held', arguments: {} }, 1),
      newServer.nextCall().then((held) => {
        held.result({ resultType: 'input_required', inputRequests: { q: { method: 'roots/list' } } });
        return held;
      }),
    ]);
    return { stream, held, asked: await stream.next() };
  };
  const anns = await open(ann);
  const bobs = await open(bob);
  const answer = (client: typeof ann, id: unknown, uri: string) =>
    client.send({ jsonrpc: '2.0', id, result: { roots: [{ uri }] } });
  t.match(anns.asked?.message, { method: 'roots/list', id: String });
  const foreign = await answer(bob, anns.asked?.message.id, 'file:///bob');
  t.ok(foreign.status >= 400, 'another session has not been asked');
  const accepted = await answer(ann, anns.asked?.message.id, 'file:///ann');
  t.equal(accepted.status, 202);
  t.equal(accepted.text, '');
  const retry = await newServer.nextCall();
  t.match(retry.message.params?.inputResponses, { q: { roots: [{ uri: 'file:///ann' }] } });
  retry.result({ resultType: 'complete', content: [{ type: 'text', text: 'ann' }] });
  const [final, ...rest] = await anns.stream.rest();
  t.match(final?.message, { id: 1, result: { content: [{ text: 'ann' }] } });
  t.equal(rest.length, 0);

  const cancelled = await bob.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } });
  t.equal(cancelled.status, 202);
  const [end, ...more] = await bobs.stream.rest();
  t.equal(more.length, 0, 'a request that was taken back gets no answer');
  t.match(end?.message, { method: 'notifications/cancelled', params: { requestId: bobs.asked?.message.id } });
  t.ok((await answer(bob, bobs.asked?.message.id, 'file:///bob')).status >= 400, 'too late');
  t.same(
    newServer.faults.filter((fault) => !fault.startsWith('initialize')),
    [],
    'only when it was asked which eras it speaks',
  );
});

t.test('a modern client that hangs up has cancelled', async (t) => {
  const { body, headers } = modernRequest(
    'tools/call',
    { name: 'scripted-old__held', arguments: {}, _meta: {} },
    ASKABLE,
  );
  const before = oldServer.of('notifications/cancelled').length;
  const opening = openEvents(gateway.mcpUrl, ANN, body, headers);
  const held = await oldServer.nextCall();
  held.event({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 'x' } });
  const stream = await Promise.race([opening, delay(500, undefined)]);
  t.equal(stream, undefined, 'nothing that this client asked for has come yet');
  held.event({ jsonrpc: '2.0', id: 1, method: 'roots/list' });
  const answered = await (await opening).next();
  t.match(answered?.message.result, { resultType: 'input_required' });

  const hangUp = new AbortController();
  const call = fetch(gateway.mcpUrl, {
    method: 'POST',
    body,
    headers: {
      ...headers,
      'content-type': 'application/json',
      authorization: `Bearer ${ANN}`,
      accept: 'application/json, text/event-stream',
    },
    signal: hangUp.signal,
  });
  const second = await oldServer.nextCall();
  hangUp.abort();
  await t.rejects(call);
  const told = await eventually(() => oldServer.of('notifications/cancelled')[before]);
  t.match(told.message.params, { requestId: second.message.id });
});

t.test('a relay that was restarted has lost what it held, and says so', async (t) => {
  const answer = modernPost(gateway.mcpUrl, ANN, 'tools/call', { name: 'scripted-old__held', arguments: {} }, ASKABLE);
  const held = await oldServer.nextCall();
  held.event({ jsonrpc: '2.0', id: 'q', method: 'roots/list' });
  const { result } = (await answer).json;
  const [name = '', pid = 0] = Object.entries(gateway.children()).find(([child]) => child.startsWith('relay')) ?? [];
  process.kill(pid, 'SIGKILL');
  await eventually(() => gateway.children()[name] !== pid, 20_000);
  const params = {
    name: 'scripted-old__held',
    arguments: {},
    requestState: result?.requestState,
    inputResponses: Object.fromEntries(Object.keys(result?.inputRequests as object).map((key) => [key, { roots: [] }])),
  };
  const told = await eventually(async () => {
    const { json } = await modernPost(gateway.mcpUrl, ANN, 'tools/call', params, ASKABLE);
    // While it starts, Envoy says that it is away.
    return json.error;
  }, 20_000);
  t.match(told, { message: /interrupted.*without requestState/ });
  const again = modernPost(gateway.mcpUrl, ANN, 'tools/call', { name: 'scripted-old__held', arguments: {} }, ASKABLE);
  (await oldServer.nextCall()).result({ content: [{ type: 'text', text: 'again' }] });
  t.equal(textOf(await again), 'again');
});

t.test('each request of a bridged call leaves its row', async (t) => {
  interface Row {
    readonly method: string;
    readonly verdict: string;
    readonly reason: string | null;
    readonly connection: string | null;
  }
  const rows = await eventually(async () => {
    const { json } = await gateway.admin<{ items: Row[] }>('GET', 'audit/events?method=tools/call&limit=200');
    return json.items.length > 10 ? json.items : undefined;
  });
  t.ok(rows.every(({ connection }) => connection !== null));
  const refused = rows.filter(({ reason }) => reason === 'bad_state' || reason === 'interrupted');
  t.ok(refused.length > 1, 'what a relay refused is known as refused');
  t.ok(refused.every(({ verdict }) => verdict === 'failed'));
});

const ASKABLE = { meta: { 'io.modelcontextprotocol/clientCapabilities': EVERYTHING } };
