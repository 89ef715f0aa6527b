import t, { type Test } from 'tap';
import { eventually } from '../support/eventually.ts';
import { type ModernUpstream, startModern } from '../support/modern-upstream.ts';
import type { Call as Held } from '../support/scripted-upstream.ts';
import { type BridgedClient, type BridgeStage, bridgeStage } from './bridge-stage.ts';

async function setUp(t: Test, options: { timeoutMs?: number } = {}): Promise<{ up: ModernUpstream; s: BridgeStage }> {
  const up = await startModern(t);
  return { up, s: await bridgeStage(t, { url: up.url, era: 'modern', ...options }) };
}

const HELD = '{"name":"held","arguments":{"n":9007199254740993}}';
const FORM = { mode: 'form', message: 'Your name?', requestedSchema: { type: 'object', properties: {} } };
const needs = (inputRequests: object | undefined, requestState?: string) => ({
  resultType: 'input_required',
  ...(inputRequests !== undefined && { inputRequests }),
  ...(requestState !== undefined && { requestState }),
});
const done = (text: string) => ({ resultType: 'complete', content: [{ type: 'text', text }] });
const call = (client: BridgedClient, id = '7') => client.call('tools/call', HELD, id);

t.test('an input request becomes a request on the stream, and its answer the next round', async (t) => {
  const { up, s } = await setUp(t);
  const client = s.client();
  const answer = call(client, '9007199254740993');
  const first = await up.nextCall();
  t.match(first.message.params?._meta, { 'io.modelcontextprotocol/clientCapabilities': { sampling: {} } });
  t.match(first.body, '"n":9007199254740993', 'arguments are passed byte for byte');
  first.raw(
    `data: {"jsonrpc":"2.0","id":${JSON.stringify(first.message.id)},"result":{"resultType":"input_required","inputRequests":{"wh\\u006f":{"method":"elicitation/create","params":${JSON.stringify({ ...FORM, big: 1 }).replace('1}', '9007199254740993}')}}},"requestState":"a\\/b"}}\n\n`,
  );
  first.end();
  const asked = await answer.next();
  t.equal(await answer.type(), 'text/event-stream');
  t.match(asked?.message, { method: 'elicitation/create', params: FORM });
  t.match(asked?.text, '9007199254740993', 'params are passed byte for byte');
  const given = await client.answer(asked?.message.id, {
    result: '{"action":"accept","content":{"n":12345678901234567890}}',
  });
  t.equal(given.status, 202);
  const second = await up.nextCall();
  t.not(second.message.id, first.message.id, 'the retry has an id of its own');
  t.match(second.body, '"who":{"action":"accept","content":{"n":12345678901234567890}}');
  t.match(second.body, '"requestState":"a\\/b"', 'the state goes back byte for byte');
  t.match(second.body, '"n":9007199254740993');
  second.result(done('thanks'));
  const last = await answer.next();
  t.match(last?.text, '"id":9007199254740993');
  t.strictSame(last?.message.result, { content: [{ type: 'text', text: 'thanks' }] });
  t.equal(await answer.next(), undefined);
  t.equal(up.faults.length, 0, 'every round was a request as the specification wants it');
  t.match(await client.answer(asked?.message.id, { result: '{}' }), { status: 400 }, 'answered once');
  t.equal(s.bridge.waiting, 0);
});

t.test('nothing to say means plain JSON; progress and log messages come as they happen', async (t) => {
  const { up, s } = await setUp(t);
  const client = s.client();
  const plain = call(client);
  (await up.nextCall()).result(done('x'));
  t.equal(await plain.type(), 'application/json');
  t.match((await plain.next())?.message, { id: 7, result: { content: [{ text: 'x' }] } });

  const slow = client.call('tools/call', '{"name":"held","_meta":{"progressToken":5}}', '"s"');
  const upstream = await up.nextCall();
  t.not(upstream.message.params?._meta?.progressToken, 5);
  upstream.progress(1);
  t.match((await slow.next())?.message, { method: 'notifications/progress', params: { progressToken: 5 } });
  upstream.event({ jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: 'other', progress: 2 } });
  upstream.event({ jsonrpc: '2.0', id: 3, method: 'elicitation/create', params: FORM });
  upstream.raw('data: garbage\n\n');
  upstream.result(done('y'));
  t.match((await slow.next())?.message, { id: 's', result: { content: [{ text: 'y' }] } });
});

t.test('several questions at once, several rounds, and a round that asks nothing', async (t) => {
  const { up, s } = await setUp(t);
  const client = s.client();
  const answer = call(client);
  const roots = { method: 'roots/list' };
  const sampling = { method: 'sampling/createMessage', params: { messages: [], maxTokens: 1 } };
  (await up.nextCall()).result(needs({ a: roots, b: sampling }, 's1'));
  const one = await answer.next();
  const two = await answer.next();
  t.same([one?.message.method, two?.message.method], ['roots/list', 'sampling/createMessage']);
  await client.answer(two?.message.id, { result: '{"role":"assistant"}' });
  await client.answer(one?.message.id, { result: '{"roots":[]}' });
  const second = await up.nextCall();
  t.match(second.body, '"inputResponses":{"a":{"roots":[]},"b":{"role":"assistant"}},"requestState":"s1"');
  second.result(needs(undefined, 's2'));
  const third = await up.nextCall();
  t.match(third.message.params, { requestState: 's2' });
  t.equal(third.message.params?.inputResponses, undefined);
  third.result(done('z'));
  t.match((await answer.next())?.message, { result: { content: [{ text: 'z' }] } });
});

t.test('prompts and resources ask too', async (t) => {
  const { up, s } = await setUp(t);
  const client = s.client();
  for (const [method, params] of [
    ['prompts/get', '{"name":"held-prompt"}'],
    ['resources/read', '{"uri":"file:///held"}'],
  ] as const) {
    const answer = client.call(method, params);
    (await up.nextCall()).result(needs({ q: { method: 'roots/list' } }));
    await client.answer((await answer.next())?.message.id, { result: '{"roots":[]}' });
    const retry = await up.nextCall();
    t.match(retry.message.params, { inputResponses: { q: { roots: [] } } });
    t.equal(retry.message.params?.requestState, undefined, 'no state was given, so none goes back');
    retry.result({ resultType: 'complete', ok: true });
    t.match((await answer.next())?.message, { result: { ok: true } }, method);
  }
});

t.test('a visit to a URL gets the id that older clients expect', async (t) => {
  const { up, s } = await setUp(t);
  const client = s.client();
  const answer = call(client);
  const params = { mode: 'url', message: 'Log in', url: 'https://example.com/login' };
  (await up.nextCall()).result(needs({ q: { method: 'elicitation/create', params } }));
  const asked = await answer.next();
  t.match(asked?.message.params, { ...params, elicitationId: String });
  await client.answer(asked?.message.id, { result: '{"action":"accept"}' });
  (await up.nextCall()).result(done('in'));
  t.match((await answer.next())?.message, { result: { content: [{ text: 'in' }] } });
});

t.test('only what the client declared is asked; what nobody can read is said', async (t) => {
  const { up, s } = await setUp(t);
  const client = s.client({ capabilities: '{"elicitation":{}}' });
  const cases: [object, RegExp][] = [
    [
      needs({ q: { method: 'sampling/createMessage', params: {} } }),
      /needs sampling\/createMessage, which this client/,
    ],
    [needs({ q: { method: 'elicitation/create', params: { mode: 'url' } } }), /does not support/],
    [needs({ q: { method: 'tools/list', params: {} } }), /does not support/],
    [needs({ q: { method: 'sampling/createMessage', params: { tools: [] } } }), /does not support/],
    [needs({ q: 5 }), /form that nobody can read/],
    [needs([] as unknown as object), /form that nobody can read/],
    [needs({}), /form that nobody can read/],
    [{ resultType: 'input_required', requestState: 5 }, /form that nobody can read/],
    [
      needs(Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`k${i}`, { method: 'roots/list' }]))),
      /nobody can/,
    ],
  ];
  for (const [result, expected] of cases) {
    const answer = call(client);
    (await up.nextCall()).result(result);
    const { message } = (await answer.next()) ?? {};
    t.match(message?.result, { isError: true, content: [{ text: expected }] }, expected.source);
    t.equal(await answer.type(), 'application/json');
  }
  const lacking = call(client);
  (await up.nextCall()).error(-32021, 'Missing capability', { requiredCapabilities: { sampling: {} } }, 400);
  t.match((await lacking.next())?.message.result, { isError: true, content: [{ text: /does not support/ }] });
});

t.test('an error answer ends the call, the other question is taken back', async (t) => {
  const { up, s } = await setUp(t);
  const client = s.client();
  const answer = call(client);
  const upstream = await up.nextCall();
  upstream.result(needs({ a: { method: 'roots/list' }, b: { method: 'elicitation/create', params: FORM } }));
  const roots = await answer.next();
  const form = await answer.next();
  await client.answer(form?.message.id, { error: '{"code":-1,"message":"The user is away"}' });
  t.match((await answer.next())?.message, {
    method: 'notifications/cancelled',
    params: { requestId: roots?.message.id },
  });
  t.match((await answer.next())?.message.result, { isError: true, content: [{ text: /The user is away/ }] });
  t.equal(await answer.next(), undefined);
  t.equal(up.of('tools/call').length, 1);
  t.equal((await client.answer(roots?.message.id, { result: '{}' })).status, 400);
});

t.test('an upstream that asks for ever is stopped after eight rounds', async (t) => {
  const { up, s } = await setUp(t);
  const answer = call(s.client());
  up.holds = () => false;
  up.handlers['tools/call'] = (one) => one.result(needs(undefined, 'more'));
  t.match((await answer.next())?.message.result, { isError: true, content: [{ text: /more than 8 times/ }] });
  t.equal(up.of('tools/call').length, 8);
});

t.test('a client takes its request back', async (t) => {
  const { up, s } = await setUp(t);
  const client = s.client();
  const { inFlight } = s.relay.world;
  const early = call(client, '"e"');
  const held = await up.nextCall();
  t.ok(inFlight.cancel(client.session?.id ?? '', '"e"', undefined));
  await held.closed;
  t.ok(held.isAborted, 'a modern upstream sees its stream end');
  t.equal(await early.next(), undefined, 'and the client gets no answer');

  const late = call(client, '2');
  (await up.nextCall()).result(needs({ a: { method: 'roots/list' } }));
  const asked = await late.next();
  t.ok(inFlight.cancel(client.session?.id ?? '', '2', 'no more'));
  t.match((await late.next())?.message, {
    method: 'notifications/cancelled',
    params: { requestId: asked?.message.id },
  });
  t.equal(await late.next(), undefined);
  t.equal(inFlight.size, 0);
  t.equal(s.bridge.waiting, 0);
  t.equal((await client.answer(asked?.message.id, { result: '{}' })).status, 400);
});

t.test('a client that goes away leaves nothing behind', async (t) => {
  const { up, s } = await setUp(t);
  const answer = call(s.client());
  (await up.nextCall()).result(needs({ a: { method: 'roots/list' } }));
  await answer.next();
  answer.close();
  await eventually(() => s.bridge.waiting === 0 && s.relay.world.inFlight.size === 0);
  const other = call(s.client());
  const held = await up.nextCall();
  other.close();
  await held.closed;
  t.ok(held.isAborted);
});

t.test('nobody answers a question but the session that was asked', async (t) => {
  const { up, s } = await setUp(t);
  const ann = s.client();
  const bob = s.client({ subject: 'bob' });
  const answer = call(ann);
  (await up.nextCall()).result(needs({ a: { method: 'roots/list' } }));
  const asked = await answer.next();
  const foreign = await bob.answer(asked?.message.id, { result: '{"roots":[{"uri":"file:///evil"}]}' });
  t.equal(foreign.status, 400);
  t.match(foreign.text, /No request with this id was made on this session/);
  t.equal((await ann.answer('nonsense', { result: '{}' })).status, 400);
  t.equal((await ann.answer(asked?.message.id, { result: '5' })).status, 400, 'a result is an object');
  t.equal((await ann.answer(asked?.message.id, { result: '{"roots":[]}' })).status, 202);
  const retry = await up.nextCall();
  t.match(retry.message.params?.inputResponses, { a: { roots: [] } });
  retry.result(done('ok'));
});

t.test('an answer reaches the relay that asked, by way of another', async (t) => {
  const { up, s } = await setUp(t);
  const other = await s.another();
  other.relay.addresses.set(s.relay.world.relayId, s.relay.address);
  const ann = s.client();
  const answer = call(ann);
  (await up.nextCall()).result(needs({ a: { method: 'roots/list' } }));
  const asked = await answer.next();
  // The same session by its id: the other relay makes the first client of its own.
  const elsewhere = other.client();
  t.equal(elsewhere.session?.id, ann.session?.id);
  t.equal((await elsewhere.answer(asked?.message.id, { result: '{"roots":[]}' })).status, 202);
  (await up.nextCall()).result(done('far'));
  t.match((await answer.next())?.message.result, { content: [{ text: 'far' }] });

  const third = await s.another();
  const gone = await third.client().answer(asked?.message.id, { result: '{}' });
  t.equal(gone.status, 400, 'a relay that is not there has asked nothing');
});

t.test('upstreams that break off, answer something else, or nothing', async (t) => {
  const { up, s } = await setUp(t, { timeoutMs: 1000 });
  const client = s.client();
  const ends: [(held: Held) => void, RegExp][] = [
    [(held) => held.end(), /ended before the response/],
    [breakOff, /broke off/],
    [(held) => held.json('nonsense'), /ended before the response/],
    [(held) => held.json({ jsonrpc: '2.0', id: 'other', result: {} }), /ended before the response/],
    [(held) => held.json('<html>', 502, {}), /HTTP 502/],
    [(held) => void held.response.writeHead(401).end(), /credential/],
    [() => {}, /did not answer within 1 s/],
  ];
  for (const [end, expected] of ends) {
    const answer = call(client);
    end(await up.nextCall());
    t.match((await answer.next())?.message.result, { isError: true, content: [{ text: expected }] }, expected.source);
  }
  await up.stop();
  t.match((await call(client).next())?.message.result, { isError: true, content: [{ text: /cannot be reached/ }] });
});

function breakOff(held: Held): void {
  held.raw('data: {"jsonrpc"');
  held.response.write('', () => setImmediate(() => held.response.destroy()));
}

t.test('the time of an upstream does not run while the user thinks', async (t) => {
  const { up, s } = await setUp(t, { timeoutMs: 300 });
  const client = s.client();
  const answer = call(client);
  (await up.nextCall()).result(needs({ a: { method: 'roots/list' } }));
  const asked = await answer.next();
  await new Promise((resolve) => setTimeout(resolve, 500));
  await client.answer(asked?.message.id, { result: '{"roots":[]}' });
  (await up.nextCall()).result(done('patient'));
  t.match((await answer.next())?.message.result, { content: [{ text: 'patient' }] });
});

t.test('what policy forbids goes nowhere, members of the other era are left out', async (t) => {
  const { up, s } = await setUp(t);
  const client = s.client();
  t.match((await client.call('tools/call', '{"name":"forbidden"}').next())?.message.result, { isError: true });
  t.equal(up.calls.length, 0);
  const answer = client.call('tools/call', '{"name":"held","requestState":"x","inputResponses":{}}');
  const first = await up.nextCall();
  t.notMatch(first.body, /requestState|inputResponses/);
  first.result(needs(undefined, 'y'));
  const second = await up.nextCall();
  t.match(second.body, /"requestState":"y"/);
  second.result(done('z'));
  t.match((await answer.next())?.message.result, { content: [{ text: 'z' }] });
});
