import t, { type Test } from 'tap';
import type { ParkedCallsOptions } from '../../src/relay/bridge/parked-calls.ts';
import { eventually } from '../support/eventually.ts';
import { type LegacyUpstream, startLegacy } from '../support/legacy-upstream.ts';
import type { Call as Held } from '../support/scripted-upstream.ts';
import {
  type Answering,
  type BridgedClient,
  type BridgedMessage,
  type BridgeStage,
  bridgeStage,
  type UpstreamOptions,
} from './bridge-stage.ts';

interface SetUp {
  readonly up: LegacyUpstream;
  readonly s: BridgeStage;
}

type Options = ParkedCallsOptions & Partial<UpstreamOptions>;

async function setUp(t: Test, options: Options = {}): Promise<SetUp> {
  const up = await startLegacy(t, { sessions: options.hasSessions !== false });
  return { up, s: await bridgeStage(t, { url: up.url, era: 'legacy', ...options }, options) };
}

const FORM = { mode: 'form', message: 'Your name?', requestedSchema: { type: 'object', properties: {} } };
const ask = (held: Held, id: unknown, method = 'elicitation/create', params: object | undefined = FORM): void =>
  held.event({ jsonrpc: '2.0', id, method, ...(params && { params }) });
const text = (said: string) => ({ content: [{ type: 'text', text: said }] });

/** A call of `held`, and its repetition with what the client has to say. */
const call = (client: BridgedClient, extra: object = {}, id = '1'): Answering =>
  client.call('tools/call', JSON.stringify({ name: 'held', arguments: { a: 1 }, ...extra }), id);

/** The message that ends a request's answer. */
async function last(answer: Answering): Promise<BridgedMessage> {
  let message: BridgedMessage = {};
  for (let next = await answer.next(); next !== undefined; next = await answer.next()) message = next.message;
  return message;
}

/** Parks a call of the client's on a question. */
async function parked(
  { up }: SetUp,
  client: BridgedClient,
  id: unknown = 'q',
): Promise<{ held: Held; state: string; key: string }> {
  const answer = call(client);
  const held = await up.nextCall();
  ask(held, id);
  const { result } = await last(answer);
  const [key = ''] = Object.keys(result?.inputRequests ?? {});
  return { held, state: result?.requestState ?? '', key };
}

const BAD_STATE = { code: -32602, message: /requestState is not valid.*without requestState/ };

t.test('a question parks the call; the answer lets it go on', async (t) => {
  const { up, s } = await setUp(t);
  const client = s.client();
  const first = client.call('tools/call', '{"name":"held","arguments":{"n":9007199254740993}}', '"a"');
  const held = await up.nextCall();
  t.match(up.sessions.get(held.session ?? '')?.capabilities, { elicitation: {}, sampling: {}, roots: {} });
  t.not(held.message.id, 'a', 'callers share the session, so each call has an id of its own');
  t.match(held.body, '9007199254740993');
  t.notMatch(held.body, 'io.modelcontextprotocol');
  held.raw(
    `data: {"jsonrpc":"2.0","id":9007199254740993,"method":"elicitation/create","params":{"message":"?","big":12345678901234567890}}\n\n`,
  );
  const asked = await first.next();
  t.equal(await first.type(), 'application/json', 'there was nothing else to say');
  t.match(asked?.message, { id: 'a', result: { resultType: 'input_required', requestState: String } });
  t.match(asked?.text, '{"method":"elicitation/create","params":{"message":"?","big":12345678901234567890}}');
  t.equal(await first.next(), undefined);
  t.notOk(held.isAborted, 'the upstream waits');

  const [key = ''] = Object.keys(asked?.message.result?.inputRequests ?? {});
  const state = JSON.stringify(asked?.message.result?.requestState);
  const second = client.call(
    'tools/call',
    `{"arguments":{"n":9007199254740993},"name":"held","inputResponses":{"${key}":{"action":"accept","content":{"n":98765432109876543210}},"else":{}},"requestState":${state}}`,
    '2',
  );
  const answered = await eventually(() => up.answers[0]);
  t.equal(answered.session, held.session, 'on the session of the call');
  t.equal(
    answered.body,
    '{"jsonrpc":"2.0","id":9007199254740993,"result":{"action":"accept","content":{"n":98765432109876543210}}}',
  );
  held.result({ ...text('thanks'), structuredContent: { n: 1 } });
  const final = await second.next();
  t.strictSame(final?.message, {
    jsonrpc: '2.0',
    id: 2,
    result: { resultType: 'complete', ...text('thanks'), structuredContent: { n: 1 } },
  });
  t.equal(up.of('tools/call').length, 1, 'the call was made once');
  t.equal(s.bridge.waiting, 0);
});

t.test('sampling and roots, several at once, one after the other, and what was left out once more', async (t) => {
  const { up, s } = await setUp(t);
  const client = s.client();
  const first = call(client);
  const held = await up.nextCall();
  held.raw(
    `data: ${JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'sampling/createMessage', params: { messages: [], maxTokens: 5 } })}\n\n` +
      `data: ${JSON.stringify({ jsonrpc: '2.0', id: '1', method: 'roots/list' })}\n\n`,
  );
  const one = (await last(first)).result;
  t.same(Object.values(one?.inputRequests ?? {}), [
    { method: 'sampling/createMessage', params: { messages: [], maxTokens: 5 } },
    { method: 'roots/list' },
  ]);
  const [sampling = '', roots = ''] = Object.keys(one?.inputRequests ?? {});
  const partly = await last(
    call(client, { requestState: one?.requestState, inputResponses: { [sampling]: { role: 'assistant' } } }, '2'),
  );
  t.same(partly.result?.inputRequests, { [roots]: { method: 'roots/list' } }, 'only what is missing');
  t.not(partly.result?.requestState, one?.requestState);
  t.match(await up.answerTo(1), { result: { role: 'assistant' } });

  const rest = call(
    client,
    { requestState: partly.result?.requestState, inputResponses: { [roots]: { roots: [] } } },
    '3',
  );
  t.match(await up.answerTo('1'), { result: { roots: [] } }, 'ids keep their type');
  ask(held, 'again');
  const third = await last(rest);
  t.match(third.id, 3);
  const [key = ''] = Object.keys(third.result?.inputRequests ?? {});
  t.not(key, sampling, 'keys are not used twice');
  const done = call(
    client,
    { requestState: third.result?.requestState, inputResponses: { [key]: { action: 'decline' } } },
    '4',
  );
  t.match(
    await up.answerTo('again'),
    { result: { action: 'decline' } },
    "what a user's no means is the upstream's to say",
  );
  held.result(text('fine'));
  t.match(await last(done), { id: 4, result: text('fine') });
});

t.test('progress and log messages of a call that goes on reach the request that waits', async (t) => {
  const { up, s } = await setUp(t);
  const client = s.client({ logLevel: 'info' });
  const first = call(client, { _meta: { progressToken: 'p' } });
  const held = await up.nextCall();
  held.progress(1);
  t.match((await first.next())?.message, { params: { progressToken: 'p', progress: 1 } });
  held.event({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'debug', data: 'x' } });
  held.event({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'error', data: 'y' } });
  t.match((await first.next())?.message, { params: { level: 'error' } });
  t.equal(await first.type(), 'text/event-stream');
  ask(held, 'q');
  const { result } = await last(first);
  const [key = ''] = Object.keys(result?.inputRequests ?? {});
  const second = call(
    client,
    {
      _meta: { progressToken: 22 },
      requestState: result?.requestState,
      inputResponses: { [key]: { action: 'cancel' } },
    },
    '2',
  );
  await up.answerTo('q');
  held.progress(2);
  t.match((await second.next())?.message, { params: { progressToken: 22, progress: 2 } });
  ask(held, 'r');
  const again = (await last(second)).result;
  const [other = ''] = Object.keys(again?.inputRequests ?? {});
  const third = call(
    client,
    { requestState: again?.requestState, inputResponses: { [other]: { action: 'cancel' } } },
    '3',
  );
  await up.answerTo('r');
  held.progress(3);
  held.result(text('end'));
  t.match((await third.next())?.message, { id: 3, result: text('end') }, 'no progress where none was asked for');
});

t.test('pings are answered, and what the client did not declare is refused', async (t) => {
  const { up, s } = await setUp(t);
  const client = s.client({ capabilities: '{"elicitation":{},"sampling":{}}' });
  const answer = call(client);
  const held = await up.nextCall();
  ask(held, 'ping-1', 'ping', undefined);
  ask(held, 'samp', 'sampling/createMessage', { tools: [] });
  ask(held, 'roots', 'roots/list', {});
  ask(held, 'url', 'elicitation/create', { mode: 'url', url: 'https://example.com' });
  ask(held, 'odd', 'tools/list', {});
  t.match(await up.answerTo('ping-1'), { result: {} });
  for (const id of ['samp', 'roots', 'url', 'odd']) t.match(await up.answerTo(id), { error: { code: -32601 } });
  held.result(text('alone'));
  t.match(await last(answer), { result: text('alone') });
});

t.test('a state is good for its principal, its request and once', async (t) => {
  const set = await setUp(t);
  const { up, s } = set;
  const ann = s.client();
  const bob = s.client({ subject: 'bob' });
  const { held, state, key } = await parked(set, ann);
  const bobs = await parked(set, bob);
  const inputResponses = { [key]: { action: 'accept', content: {} } };
  const wrong: [string, Answering][] = [
    ["another principal's", call(bob, { requestState: state, inputResponses })],
    ["swapped with somebody's", call(ann, { requestState: bobs.state, inputResponses })],
    ['other arguments', call(ann, { requestState: state, inputResponses, arguments: { a: 2 } })],
    [
      'another tool',
      ann.call('tools/call', JSON.stringify({ name: 'echo', arguments: { a: 1 }, requestState: state })),
    ],
    ['another method', ann.call('prompts/get', JSON.stringify({ name: 'held-prompt', requestState: state }))],
    ['tampered with', call(ann, { requestState: `${state.slice(0, -2)}AA`, inputResponses })],
    ['forged', call(ann, { requestState: 'x'.repeat(200), inputResponses })],
    ['empty', call(ann, { requestState: '', inputResponses })],
  ];
  for (const [what, answer] of wrong) {
    const { error, result } = await last(answer);
    t.match(error, BAD_STATE, what);
    t.equal(result, undefined);
  }
  for (const extra of [
    { requestState: 5 },
    { requestState: state, inputResponses: [] },
    { requestState: state, inputResponses: { [key]: 5 } },
  ]) {
    t.match((await last(call(ann, extra))).error, { code: -32602 }, JSON.stringify(extra).slice(0, 40));
  }
  t.equal(up.answers.length, 0, 'none of these reached the upstream');
  const good = call(ann, { requestState: state, inputResponses });
  await up.answerTo('q');
  const twice = call(ann, { requestState: state, inputResponses });
  t.match((await last(twice)).error, BAD_STATE, 'replayed while the first goes on');
  held.result(text('once'));
  t.match(await last(good), { result: text('once') });
  t.match((await last(call(ann, { requestState: state, inputResponses }))).error, BAD_STATE, 'and after');
  t.equal(up.answers.length, 1);
});

const cancelled = (up: LegacyUpstream, held: Held) =>
  eventually(() =>
    up.of('notifications/cancelled').find(({ message }) => message.params?.requestId === held.message.id),
  );

t.test('of too many that wait, the oldest of the same principal is ended', async (t) => {
  const set = await setUp(t, { maxOfOne: 2, max: 3 });
  const { up, s } = set;
  const ann = s.client();
  const first = await parked(set, ann);
  await parked(set, ann);
  await parked(set, ann);
  t.equal((await cancelled(up, first.held)).session, first.held.session);
  t.match((await last(call(ann, { requestState: first.state }))).error, BAD_STATE);
  await parked(set, s.client({ subject: 'bob' }));
  const answer = call(s.client({ subject: 'eve' }));
  const held = await up.nextCall();
  ask(held, 'q');
  t.match((await last(answer)).result, { isError: true, content: [{ text: /Too many calls are waiting/ }] });
  await cancelled(up, held);
  t.equal(s.bridge.waiting, 3, "nobody else's call had to go");
});

t.test('what waits too long is ended upstream', async (t) => {
  const set = await setUp(t, { waitMs: 100 });
  const { held, state } = await parked(set, set.s.client());
  await cancelled(set.up, held);
  t.equal(set.s.bridge.waiting, 0);
  await held.closed;
  t.match((await last(call(set.s.client(), { requestState: state }))).error, BAD_STATE);
});

t.test('a client that goes away has cancelled', async (t) => {
  const set = await setUp(t);
  const { up, s } = set;
  const ann = s.client();
  const before = call(ann);
  const silent = await up.nextCall();
  before.close();
  const told = await eventually(() => up.of('notifications/cancelled')[0]);
  t.match(told.message.params, { requestId: silent.message.id });
  t.equal(told.session, silent.session);

  const during = call(ann, { _meta: { progressToken: 1 } });
  const talking = await up.nextCall();
  talking.progress(1);
  await during.next();
  during.close();
  t.match((await eventually(() => up.of('notifications/cancelled')[1])).message.params, {
    requestId: talking.message.id,
  });

  const { held, state, key } = await parked(set, ann);
  const resumed = call(ann, { requestState: state, inputResponses: { [key]: { action: 'accept' } } });
  await up.answerTo('q');
  resumed.close();
  t.match((await eventually(() => up.of('notifications/cancelled')[2])).message.params, {
    requestId: held.message.id,
  });
  t.equal(s.bridge.waiting, 0);
});

t.test('a retry finds the relay that holds its call; one that is gone is told', async (t) => {
  const set = await setUp(t);
  const { up, s } = set;
  const other = await s.another();
  const { held, state, key } = await parked(set, s.client());
  const elsewhere = other.client();
  const retry = { requestState: state, inputResponses: { [key]: { action: 'accept' } } };
  t.match((await last(call(elsewhere, retry))).error, { code: -32603, message: /interrupted.*without requestState/ });
  other.relay.addresses.set(s.relay.world.relayId, '127.0.0.1:1');
  t.match((await last(call(elsewhere, retry))).error, { code: -32603 }, 'nobody listens there');
  other.relay.addresses.set(s.relay.world.relayId, other.relay.address);
  t.match((await last(call(elsewhere, retry))).error, { code: -32603 }, 'a successor at the same address');

  other.relay.addresses.set(s.relay.world.relayId, s.relay.address);
  const answer = call(elsewhere, { ...retry, _meta: { progressToken: 'far' } }, '"f"');
  await up.answerTo('q');
  held.event({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info' } });
  held.result(text('found'));
  t.match(await last(answer), { id: 'f', result: text('found') });

  const second = await parked(set, s.client());
  const leaving = call(elsewhere, {
    requestState: second.state,
    inputResponses: { [second.key]: { action: 'accept' } },
  });
  await eventually(() => up.answers.length === 2);
  leaving.close();
  t.match((await eventually(() => up.of('notifications/cancelled')[0])).message.params, {
    requestId: second.held.message.id,
  });
});

t.test('a page to visit first', async (t) => {
  const { up, s } = await setUp(t);
  const client = s.client();
  const elicitation = { mode: 'url', elicitationId: 'e-1', url: 'https://example.com/connect', message: 'Connect' };
  const needsVisit = (held: Held, data: unknown): void => held.error(-32042, 'Needs a visit', data);
  const first = call(client);
  needsVisit(await up.nextCall(), {
    elicitations: [elicitation, { ...elicitation, mode: undefined, url: 'https://b.example/' }],
  });
  const { result } = await last(first);
  t.same(result?.inputRequests, {
    'url-1': {
      method: 'elicitation/create',
      params: { mode: 'url', url: 'https://example.com/connect', message: 'Connect' },
    },
    'url-2': { method: 'elicitation/create', params: { mode: 'url', url: 'https://b.example/', message: 'Connect' } },
  });
  t.match(result, { resultType: 'input_required' });
  t.equal(s.bridge.waiting, 0, 'nothing waits');
  const accepted = { 'url-1': { action: 'accept' }, 'url-2': { action: 'accept' } };
  const again = call(client, { requestState: result?.requestState, inputResponses: accepted }, '2');
  const second = await up.nextCall();
  t.notMatch(second.body, /requestState|inputResponses/);
  second.result(text('in'));
  t.match(await last(again), { id: 2, result: text('in') });

  const declined = call(client, {
    requestState: result?.requestState,
    inputResponses: { ...accepted, 'url-2': { action: 'decline' } },
  });
  t.match((await last(declined)).result, { isError: true, content: [{ text: /did not accept/ }] });
  const stolen = call(s.client({ subject: 'bob' }), { requestState: result?.requestState, inputResponses: accepted });
  t.match((await last(stolen)).error, BAD_STATE);

  for (const data of [undefined, { elicitations: [] }, { elicitations: [{ url: 'no url' }] }, { elicitations: 'x' }]) {
    const answer = call(client);
    needsVisit(await up.nextCall(), data);
    t.match((await last(answer)).result, { isError: true, content: [{ text: /does not say which/ }] });
  }
  const unable = call(s.client({ capabilities: '{"elicitation":{}}' }));
  needsVisit(await up.nextCall(), { elicitations: [elicitation] });
  t.match((await last(unable)).result, { isError: true, content: [{ text: /does not support/ }] });
});

t.test('an upstream that breaks off, floods, or answers twice harms its own call only', async (t) => {
  const set = await setUp(t, { timeoutMs: 1500 });
  const { up, s } = set;
  const client = s.client();
  const bystander = await parked(set, s.client({ subject: 'bob' }));
  const ends: [(held: Held) => void, RegExp][] = [
    [(held) => held.end(), /ended before the response/],
    [(held) => held.json('nonsense'), /ended before the response/],
    [(held) => held.raw(`data: ${'x'.repeat(17 << 20)}`), /event of more than/],
    [(held) => held.json({ oops: 'no' }, 500), /HTTP 500/],
    [() => {}, /did not answer within 1.5 s/],
    [
      (held) => {
        for (let i = 0; i < 100; i++) ask(held, i);
      },
      /asked for too much/,
    ],
    [
      (held) => {
        for (let i = 0; i < 200; i++) ask(held, i, 'ping', undefined);
      },
      /asked for too much/,
    ],
  ];
  for (const [end, expected] of ends) {
    const answer = call(client);
    end(await up.nextCall());
    t.match((await last(answer)).result, { isError: true, content: [{ text: expected }] }, expected.source);
  }
  const twice = call(client);
  const held = await up.nextCall();
  held.event({ jsonrpc: '2.0', id: held.message.id, result: text('first') });
  ask(held, 'late');
  held.result(text('second'));
  t.match(await last(twice), { result: text('first') });

  const gone = await parked(set, client);
  gone.held.response.destroy();
  const retry = call(client, { requestState: gone.state, inputResponses: { [gone.key]: { action: 'accept' } } });
  t.match((await last(retry)).result, { isError: true, content: [{ text: /broke off|ended before/ }] });

  const { state, key } = bystander;
  const bob = s.client({ subject: 'bob' });
  const good = call(bob, { requestState: state, inputResponses: { [key]: { action: 'accept' } } });
  await eventually(() => up.answers.length > 0);
  bystander.held.result(text('unharmed'));
  t.match(await last(good), { result: text('unharmed') });
});

t.test('a question that the upstream takes back is not asked', async (t) => {
  const set = await setUp(t);
  const { up, s } = set;
  const client = s.client();
  const { held, state, key } = await parked(set, client);
  held.event({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'q' } });
  const retry = call(client, { requestState: state, inputResponses: { [key]: { action: 'accept' } } });
  await eventually(() => up.answers.length > 0);
  held.result(text('anyway'));
  t.match((await retry.next())?.message, { result: text('anyway') }, 'and no client hears of its id');

  const answer = call(client);
  const other = await up.nextCall();
  other.raw(
    `data: ${JSON.stringify({ jsonrpc: '2.0', id: 'z', method: 'roots/list' })}\n\ndata: ${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'z' } })}\n\n`,
  );
  await new Promise((resolve) => setTimeout(resolve, 50));
  other.result(text('nothing asked'));
  t.match(await last(answer), { result: text('nothing asked') });
});

t.test('a lost session is opened again, a broken stream taken up again', async (t) => {
  const { up, s } = await setUp(t);
  const client = s.client();
  const echo = () => last(client.call('tools/call', '{"name":"echo","arguments":{}}'));
  t.match(await echo(), { result: { content: [{ type: 'text' }] } });
  up.sessions.clear();
  t.match(await echo(), { result: { content: [{ type: 'text' }] } });
  t.equal(up.of('initialize').length, 2);

  const third = call(client);
  const held = await up.nextCall();
  held.raw('id: 7\nretry: 10\ndata: \n\n');
  held.end();
  const stream = await eventually(() => [...up.streams].find(({ headers }) => headers['last-event-id'] !== undefined));
  t.equal(stream.headers['last-event-id'], '7');
  stream.event({ jsonrpc: '2.0', id: held.message.id, result: text('3') });
  t.match(await last(third), { result: text('3') });
});

t.test('what is asked beside the call, on the GET stream, is asked in it', async (t) => {
  const { up, s } = await setUp(t);
  const client = s.client();
  const answer = call(client);
  const held = await up.nextCall();
  t.equal(up.streams.size, 1, 'the stream was open before the call');
  up.notify({ jsonrpc: '2.0', method: 'notifications/tools/list_changed' });
  up.notify({ jsonrpc: '2.0', id: 'p', method: 'ping' });
  up.notify({ jsonrpc: '2.0', id: 'side', method: 'roots/list' });
  t.match(await up.answerTo('p'), { result: {} });
  const { result } = await last(answer);
  t.same(Object.values(result?.inputRequests ?? {}), [{ method: 'roots/list' }]);
  up.notify({ jsonrpc: '2.0', id: 'meanwhile', method: 'roots/list' });
  up.notify({ jsonrpc: '2.0', id: 'withdrawn', method: 'roots/list' });
  up.notify({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'withdrawn' } });
  const [key = ''] = Object.keys(result?.inputRequests ?? {});
  const second = await last(
    call(client, { requestState: result?.requestState, inputResponses: { [key]: { roots: [] } } }, '2'),
  );
  t.match(await up.answerTo('side'), { result: { roots: [] } });
  const [other = '', ...more] = Object.keys(second.result?.inputRequests ?? {});
  t.equal(more.length, 0, 'what was taken back meanwhile is not asked');
  const third = call(client, { requestState: second.result?.requestState, inputResponses: { [other]: { roots: [] } } });
  t.match(await up.answerTo('meanwhile'), { result: { roots: [] } });
  held.result(text('both'));
  t.match(await last(third), { result: text('both') });

  up.notify({ jsonrpc: '2.0', id: 'nobody', method: 'roots/list' });
  t.match(await up.answerTo('nobody'), { error: { code: -32601 } }, 'outside of a call there is nobody to ask');
  const again = call(client);
  (await up.nextCall()).result(text('x'));
  await last(again);
  t.equal(up.calls.filter(({ httpMethod }) => httpMethod === 'GET').length, 1, 'the stream is kept for the next call');
  s.bridge.close();
  await eventually(() => up.streams.size === 0);
});

t.test('on a session that principals share, questions are heard on the call itself only', async (t) => {
  const { up, s } = await setUp(t, { session: 'pooled' });
  const ann = await parked({ up, s }, s.client());
  const bob = await parked({ up, s }, s.client({ subject: 'bob' }));
  t.equal(ann.held.session, bob.held.session);
  t.not(ann.held.message.id, bob.held.message.id);
  t.equal(up.calls.filter(({ httpMethod }) => httpMethod === 'GET').length, 0);
});

t.test('a server without sessions can ask as well', async (t) => {
  const { up, s } = await setUp(t, { hasSessions: false });
  const client = s.client();
  const { held, state, key } = await parked({ up, s }, client);
  t.equal(held.session, undefined);
  const answer = call(client, { requestState: state, inputResponses: { [key]: { action: 'accept' } } });
  t.match(await up.answerTo('q'), { result: { action: 'accept' } });
  held.result(text('ok'));
  t.match(await last(answer), { result: text('ok') });
});

t.test('a relay that stops ends what waits', async (t) => {
  const set = await setUp(t);
  const { held } = await parked(set, set.s.client());
  set.s.bridge.close();
  t.match((await eventually(() => set.up.of('notifications/cancelled')[0])).message.params, {
    requestId: held.message.id,
  });
});
