import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { eventually } from '../support/eventually.ts';
import { type Gateway, startGateway } from '../support/gateway.ts';
import { startLegacy } from '../support/legacy-upstream.ts';
import { startModern } from '../support/modern-upstream.ts';
import { type LegacyClient, legacySession, openEvents } from '../support/raw-client.ts';
import { rawStream } from './raw-stream.ts';

const CONFIG = (urls: Record<string, string>, more = ''): string => `
connections:
${Object.entries(urls)
  .map(([name, url]) => `  ${name}: { url: "${url}", refresh: 1h }`)
  .join('\n')}
namespaces:
  default: { connections: ['*'], prefix: always }
${more}`;

const KEYS = `
personas:
  all: { roles: [all], tools: { allow: ['*'] }, connections: { allow: ['*'] } }
  narrow: { roles: [narrow], tools: { allow: ['up__echo'] }, connections: { allow: ['up'] } }
identity:
  apiKeys:
    - { name: first, key: "first-key-of-this-test", roles: [all] }
    - { name: second, key: "second-key-of-this-test", roles: [narrow] }
`;
const FIRST = 'first-key-of-this-test';
const SECOND = 'second-key-of-this-test';

const bearer = (key: string): Record<string, string> => ({ authorization: `Bearer ${key}` });
const listen = (gateway: Gateway, key: string, client: LegacyClient, headers: Record<string, string> = {}) =>
  openEvents(gateway.mcpUrl, key, undefined, { ...client.headers, ...headers });

t.test('event streams of legacy clients', async (t) => {
  const up = await startLegacy(t);
  const modern = await startModern(t);
  const gateway = await startGateway(t, { config: CONFIG({ up: up.url, modern: modern.url }, KEYS) });
  await Promise.all([gateway.ready('up'), gateway.ready('modern')]);
  t.teardown(() => t.passing() || t.comment(gateway.output()));

  /** A session that has called the upstream, so that it has one there, and its stream there. */
  async function acquainted(t: Test, key = FIRST, capabilities: unknown = {}) {
    const client = await legacySession(gateway.mcpUrl, key, { capabilities });
    const stream = await listen(gateway, key, client);
    t.equal(stream.status, 200);
    t.teardown(() => stream.close());
    const before = new Set(up.streams);
    await client.request('tools/call', { name: 'up__echo', arguments: {} });
    const upstream = await eventually(() => [...up.streams].find((call) => !before.has(call)));
    return { client, stream, upstream };
  }

  t.test('who may not have one is told why', async (t) => {
    const client = await legacySession(gateway.mcpUrl, FIRST);
    const get = async (headers: Record<string, string>, path = ''): Promise<Response> => {
      const response = await fetch(gateway.mcpUrl + path, { headers });
      await response.body?.cancel();
      return response;
    };
    const good = { ...bearer(FIRST), ...client.headers, accept: 'text/event-stream' };
    const noKey = { ...client.headers, accept: 'text/event-stream' };
    t.equal((await get(noKey)).status, 401);
    t.match((await get(noKey)).headers.get('www-authenticate'), /^Bearer/);
    t.equal((await get({ ...good, ...bearer('wrong-key-of-this-test') })).status, 401);
    t.equal((await get({ ...good, origin: 'https://evil.example' })).status, 403);
    t.equal((await get({ ...good, accept: 'application/json' })).status, 406);
    t.equal((await get({ ...bearer(FIRST), accept: 'text/event-stream' })).status, 400, 'no session');
    t.equal((await get({ ...good, 'mcp-session-id': 'forged' })).status, 404);
    t.equal((await get({ ...good, ...bearer(SECOND) })).status, 404, 'a session of another principal');
    t.equal((await get({ ...good, 'mcp-protocol-version': '1999-01-01' })).status, 400);
    const tooNew = await get({ ...good, 'mcp-protocol-version': '2026-07-28' });
    t.equal(tooNew.status, 405);
    t.equal(tooNew.headers.get('allow'), 'POST');
    const elsewhere = gateway.mcpUrl.replace('/mcp', '/nowhere/mcp');
    t.equal((await fetch(elsewhere, { headers: good })).status, 404);
    const rows = await eventually(async () => {
      const { json } = await gateway.admin<{ items: { method: string; httpStatus?: number; verdict: string }[] }>(
        'GET',
        'audit/events?method=HTTP%20GET',
      );
      return json.items.length >= 10 ? json.items : undefined;
    });
    t.ok(rows.every(({ verdict }) => verdict === 'denied' || verdict === 'failed'));
  });

  t.test('internal headers that a client forges change nothing', async (t) => {
    const client = await legacySession(gateway.mcpUrl, FIRST);
    const forged = { 'x-sallyport-ticket': 'AAAA', 'x-sallyport-route': 'default/up', 'x-sallyport-answer': 'x' };
    const stream = await listen(gateway, FIRST, client, forged);
    t.equal(stream.status, 200);
    t.match(stream.headers.get('content-type'), 'text/event-stream');
    stream.close();
    const anonymous = await fetch(gateway.mcpUrl, { headers: { accept: 'text/event-stream', ...forged } });
    t.equal(anonymous.status, 401);
    const ping = await fetch(gateway.mcpUrl, {
      method: 'POST',
      headers: {
        ...bearer(FIRST),
        ...client.headers,
        'content-type': 'application/json',
        ...forged,
        'x-sallyport-route': 'relay',
      },
      body: '{"jsonrpc":"2.0","id":1,"method":"ping"}',
    });
    t.same(await ping.json(), { jsonrpc: '2.0', id: 1, result: {} });
    const messages = await fetch(gateway.mcpUrl.replace('/mcp', '/messages'), {
      method: 'POST',
      headers: {
        ...bearer(FIRST),
        ...client.headers,
        'content-type': 'application/json',
        ...forged,
        'x-sallyport-route': 'relay',
      },
      body: '{"jsonrpc":"2.0","id":1,"method":"ping"}',
    });
    t.equal(messages.status, 404, 'no event stream behind it, whatever the ticket says');
    t.equal(up.calls.filter(({ headers }) => headers['x-sallyport-ticket'] !== undefined).length, 0);
  });

  t.test('a change of what a caller sees is told, and only to those who see it', async (t) => {
    const all = await legacySession(gateway.mcpUrl, FIRST);
    const narrow = await legacySession(gateway.mcpUrl, SECOND);
    const [wide, small] = [await listen(gateway, FIRST, all), await listen(gateway, SECOND, narrow)];
    up.content.tools.push({ name: 'added', description: 'New.', inputSchema: { type: 'object' } });
    const begun = performance.now();
    up.notify({ jsonrpc: '2.0', method: 'notifications/tools/list_changed' });
    const event = await wide.next();
    t.equal(event?.message.method, 'notifications/tools/list_changed');
    t.comment(`told after ${Math.round(performance.now() - begun)} ms`);
    t.ok(performance.now() - begun < 4000);
    const { json } = await all.request('tools/list');
    t.match(JSON.stringify(json), /up__added/);
    await t.rejects(small.next(700), 'nothing changed for the other');
    wide.close();
    small.close();
  });

  t.test('what an upstream says to a session reaches that session, as it is said', async (t) => {
    const a = await acquainted(t, FIRST, { sampling: {} });
    const b = await acquainted(t, SECOND);
    const log = (data: string) => ({
      jsonrpc: '2.0',
      method: 'notifications/message',
      params: { level: 'info', data },
    });
    a.upstream.event(log('one'));
    const first = await a.stream.next();
    t.same(first?.message, log('one'), 'the second has not been sent yet');
    a.upstream.event(log('two'));
    t.same((await a.stream.next())?.message, log('two'));
    await t.rejects(b.stream.next(300), 'nobody else hears it');

    a.upstream.event({
      jsonrpc: '2.0',
      id: 7,
      method: 'sampling/createMessage',
      params: { messages: [], maxTokens: 1 },
    });
    const asked = await a.stream.next();
    t.equal(asked?.message.method, 'sampling/createMessage');
    t.type(asked?.message.id, 'string', 'never the upstream’s own');
    const result = { role: 'assistant', content: { type: 'text', text: 'x' }, model: 'm' };
    const answer = { jsonrpc: '2.0', id: asked?.message.id, result };
    t.not((await b.client.send(answer)).status, 202, 'another session cannot answer it');
    t.equal((await a.client.send(answer)).status, 202);
    t.same((await up.answerTo(7)).result, result);

    b.upstream.event({
      jsonrpc: '2.0',
      id: 8,
      method: 'sampling/createMessage',
      params: { messages: [], maxTokens: 1 },
    });
    t.equal((await up.answerTo(8)).error?.code, -32601, 'not declared');
    a.upstream.event({ jsonrpc: '2.0', id: 9, method: 'ping' });
    t.same((await up.answerTo(9)).result, {});
    a.upstream.event({ jsonrpc: '2.0', id: 9, result: { stray: true } });
    a.upstream.event('this is no JSON');
    a.upstream.event(log('three'));
    t.same((await a.stream.next())?.message, log('three'), 'what is no message, or nobody’s answer, is dropped');
  });

  t.test('updates of resources come with the URI that clients know, from either era', async (t) => {
    const { client, stream, upstream } = await acquainted(t);
    const list = (await client.request('resources/list')).json.result?.resources as { uri: string }[];
    const [legacyUri, modernUri] = ['up+', 'modern+'].map(
      (alias) => list.find(({ uri }) => uri.startsWith(alias))?.uri ?? '',
    );
    t.ok(legacyUri && modernUri, list.map(({ uri }) => uri).join(' '));
    t.same((await client.request('resources/subscribe', { uri: legacyUri })).json.result, {});
    upstream.event({ jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: legacyUri?.slice(3) } });
    t.same((await stream.next())?.message.params, { uri: legacyUri });
    t.same((await client.request('resources/subscribe', { uri: modernUri })).json.result, {});
    const listener = await eventually(() =>
      [...modern.listeners].find(({ message }) => JSON.stringify(message).includes('resourceSubscriptions')),
    );
    listener.event({ jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: modernUri?.slice(7) } });
    t.same((await stream.next())?.message.params, { uri: modernUri });
    t.same((await client.request('resources/unsubscribe', { uri: modernUri })).json.result, {});
    await listener.closed;
    t.same(
      modern.faults.filter((fault) => !fault.startsWith('initialize:')),
      [],
      'but for the question which eras it has',
    );
  });

  t.test('several streams of one session: each message goes to the newest alone', async (t) => {
    const { client, stream: older, upstream } = await acquainted(t);
    const newer = await listen(gateway, FIRST, client);
    const say = (data: string): void =>
      upstream.event({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data } });
    say('one');
    t.equal((await newer.next())?.message.params?.data, 'one');
    newer.close();
    await sleep(300);
    say('two');
    t.equal((await older.next())?.message.params?.data, 'two', 'the older serves again, and has not heard the first');
    for (let i = 0; i < 16; i++) {
      const one = await listen(gateway, FIRST, client);
      t.teardown(() => one.close());
    }
    t.equal(await older.next(), undefined, 'of seventeen the oldest gives way');
  });

  t.test('a session that ends closes its streams, here and upstream', async (t) => {
    const { client, stream, upstream } = await acquainted(t);
    const ended = await fetch(gateway.mcpUrl, { method: 'DELETE', headers: { ...bearer(FIRST), ...client.headers } });
    t.ok(ended.ok);
    const begun = performance.now();
    t.equal(await stream.next(2000), undefined);
    t.ok(performance.now() - begun < 1000, 'within a second');
    await upstream.closed;
    t.equal((await listen(gateway, FIRST, client)).status, 404);
  });

  t.test('a broken stream is taken up where it broke', async (t) => {
    const { client, stream, upstream } = await acquainted(t);
    const say = (data: string): void =>
      upstream.event({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data } });
    say('one');
    say('two');
    const one = await stream.next();
    await stream.next();
    const lastId = one?.id ?? '';
    t.ok(lastId.length > 20);
    stream.close();
    await sleep(300);
    say('three');
    await sleep(100);
    const again = await listen(gateway, FIRST, client, { 'last-event-id': lastId });
    const heard = [await again.next(), await again.next()].map((event) => event?.message.params?.data);
    t.same(heard, ['two', 'three'], 'what came after that event, and nothing twice');
    say('four');
    t.equal((await again.next())?.message.params?.data, 'four');

    const other = await acquainted(t);
    const foreign = await listen(gateway, FIRST, other.client, { 'last-event-id': lastId });
    await t.rejects(foreign.next(300), 'an id of another session replays nothing');
    for (const forged of ['nonsense', `${lastId.slice(0, -4)}AAAA`]) {
      const fresh = await listen(gateway, FIRST, client, { 'last-event-id': forged });
      t.equal(fresh.status, 200);
      await t.rejects(fresh.next(200), 'a forged one neither');
      fresh.close();
    }
    again.close();
    foreign.close();
  });

  t.test('the stream of a call is taken up at its upstream', async (t) => {
    const { client } = await acquainted(t);
    const calling = client.stream('tools/call', { name: 'up__held', arguments: {} }, 'c1');
    const call = await up.nextCall();
    call.event(
      { jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 'begun' } },
      { id: 'u-1' },
    );
    const stream = await calling;
    const begun = await stream.next();
    t.ok(begun?.id && begun.id !== 'u-1');
    stream.close();
    const before = new Set(up.calls);
    const again = await listen(gateway, FIRST, client, { 'last-event-id': begun?.id ?? '' });
    const resumed = await eventually(() =>
      up.calls.find((one) => !before.has(one) && one.headers['last-event-id'] === 'u-1'),
    );
    t.equal(resumed.session, call.session);
    resumed.event({ jsonrpc: '2.0', id: 'c1', result: { content: [] } }, { id: 'u-2' });
    const final = await again.next();
    t.same(final?.message, { jsonrpc: '2.0', id: 'c1', result: { content: [] } });
    t.ok(final?.id && final.id !== 'u-2');
    resumed.end();
    t.equal(await again.next(), undefined, 'it ends where the upstream ends it');
  });

  t.test('clients that stop reading, or close their half, do not hold anything', async (t) => {
    const { client, stream, upstream } = await acquainted(t);
    stream.close();
    const paused = await rawStream(gateway.mcpUrl, { ...bearer(FIRST), ...client.headers });
    paused.socket.pause();
    const data = 'x'.repeat(200_000);
    for (let i = 0; i < 150; i++) {
      upstream.event({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data } });
      await sleep(1);
    }
    await eventually(async () => {
      const { json } = await gateway.admin<{ items: { sessionId: string | null; bytesOut: number }[] }>(
        'GET',
        'audit/events?method=HTTP%20GET',
      );
      return json.items.some(({ bytesOut }) => bytesOut > 500_000);
    });
    paused.socket.resume();
    await eventually(() => paused.isOver, 15_000);
    t.pass('the stream was cut');
    const half = await rawStream(gateway.mcpUrl, { ...bearer(FIRST), ...client.headers });
    half.socket.end();
    await eventually(() => half.isOver);
    t.pass('a client that has said that it is done is let go');
  });

  t.test('a revoked key ends its streams', async (t) => {
    const made = await gateway.admin<{ key: string; name: string }>('POST', 'keys', { name: 'brief', roles: ['all'] });
    const client = await eventually(() => legacySession(gateway.mcpUrl, made.json.key));
    // The relay hears of a new key by itself, a moment before or after the processor.
    const stream = await eventually(async () => {
      const tried = await listen(gateway, made.json.key, client);
      if (tried.status === 200) return tried;
      tried.close();
      return undefined;
    });
    await gateway.admin('DELETE', 'keys/brief');
    t.equal(await stream.next(5000), undefined);
  });

  t.test('clients that come and go in masses end nobody else’s stream', async (t) => {
    const { stream, upstream } = await acquainted(t);
    const client = await legacySession(gateway.mcpUrl, FIRST);
    const flap = async (): Promise<void> => {
      const one = await rawStream(gateway.mcpUrl, { ...bearer(FIRST), ...client.headers });
      one.socket.resetAndDestroy();
    };
    // Well above what Node's HTTP/2 takes on one connection.
    for (let i = 0; i < 75; i++) await Promise.all(Array.from({ length: 20 }, flap));
    const message = { jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 'still here' } };
    upstream.event(message);
    t.same((await stream.next())?.message, message);
    t.equal((await listen(gateway, FIRST, client)).status, 200);
  });

  t.test('a stop tells clients to come back', async (t) => {
    const client = await legacySession(gateway.mcpUrl, FIRST);
    const stream = await rawStream(gateway.mcpUrl, { ...bearer(FIRST), ...client.headers });
    await stream.until(/id: /);
    const begun = performance.now();
    const code = gateway.stop();
    await stream.until(/retry: \d{4}\n\n/, 5000);
    await eventually(() => stream.isOver, 5000);
    t.equal(await code, 0);
    t.ok(performance.now() - begun < 6000);
    t.match(stream.text(), /\r\n0\r\n\r\n$/, 'a complete answer, not a broken one');
  });
});
