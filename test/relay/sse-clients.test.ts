import t, { type Test } from 'tap';
import { createSseClients, type SseClientsOptions } from '../../src/relay/sse-clients/sse-clients.ts';
import { eventually } from '../support/eventually.ts';
import { type Ask, json, type Listener, type SmallRelay, smallRelay, type Told } from './small-relay.ts';

const INITIALIZE = '{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2024-11-05"}}';
const INITIALIZED = '{"jsonrpc":"2.0","method":"notifications/initialized"}';
const call = (id: string, name = 'x'): string =>
  `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"${name}"}}`;

function relay(t: Test, options: SseClientsOptions = {}, shared?: SmallRelay): Promise<SmallRelay> {
  const sseClient = createSseClients(options);
  return smallRelay(t, { sseClient, work: { message: sseClient } }, shared);
}

interface Connected {
  readonly stream: Listener;
  readonly endpoint: string;
  post(body: string | Buffer, options?: Ask): Promise<Told>;
  /** The data of the next `message` event. */
  message(): Promise<string>;
}

async function connect(r: SmallRelay, path = '/sse', options: Ask = {}): Promise<Connected> {
  const stream = await r.listen(path, options);
  const endpoint = (await stream.next())?.data ?? '';
  return {
    stream,
    endpoint,
    post: (body, more = {}) => r.ask('POST', endpoint, { ...options, ...more, body }),
    async message() {
      const event = await stream.next();
      if (event?.event !== 'message') throw new Error(`a ${event?.event} instead of a message`);
      return event.data;
    },
  };
}

async function initialized(r: SmallRelay, path = '/sse', options: Ask = {}): Promise<Connected> {
  const client = await connect(r, path, options);
  await client.post(INITIALIZE);
  await client.message();
  const gets = (): number => r.door.knocks.filter(({ method }) => method === 'GET').length;
  const before = gets();
  await client.post(INITIALIZED);
  await eventually(() => gets() > before);
  return client;
}

const rpcError = (id: unknown, code: number, message: string) => ({ jsonrpc: '2.0', id, error: { code, message } });

t.test('a client of 2024-11-05 meets a streamable HTTP endpoint', async (t) => {
  const r = await relay(t);
  const stream = await r.listen('/docs/sse', { headers: { accept: 'text/event-stream', origin: undefined } });
  t.equal(stream.status, 200);
  t.match(stream.headers, { 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' });
  const first = await stream.next();
  t.equal(first?.event, 'endpoint');
  t.match(first?.data, /^\/docs\/messages\?session=[\w-]{80,}$/);
  const endpoint = first?.data ?? '';
  const post = (body: string, headers = {}) => r.ask('POST', endpoint, { body, headers });

  const opened = await post(INITIALIZE, { 'x-tenant': 'acme', cookie: 'a=b', 'x-sallyport-route': 'forged' });
  t.match(opened, { status: 202, text: '' });
  t.same(JSON.parse((await stream.next())?.data ?? ''), {
    jsonrpc: '2.0',
    id: 0,
    result: { protocolVersion: '2024-11-05' },
  });
  const [initialize] = r.door.knocks;
  t.match(initialize, { method: 'POST', path: '/docs/mcp', text: INITIALIZE });
  t.match(initialize?.headers, {
    host: '127.0.0.1:8080',
    authorization: `Bearer ${r.stage.key}`,
    accept: 'application/json, text/event-stream',
    'content-type': 'application/json',
    'x-tenant': 'acme',
  });
  for (const name of ['cookie', 'x-sallyport-route', 'mcp-session-id', 'mcp-protocol-version'])
    t.equal(initialize?.headers[name], undefined, name);

  t.equal((await post(INITIALIZED)).status, 202);
  const get = await eventually(() => r.door.knocks.find(({ method }) => method === 'GET'));
  const session = r.door.knocks.find(({ text }) => text === INITIALIZED)?.headers;
  t.match(session, { 'mcp-protocol-version': '2024-11-05', 'mcp-session-id': /^[\w-]+$/ });
  t.equal(get.headers['mcp-session-id'], session?.['mcp-session-id']);
  t.match(get.headers, { accept: 'text/event-stream', authorization: `Bearer ${r.stage.key}` });

  get.response.write('id: 7\nevent: message\ndata: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n\n');
  get.response.write('data: not JSON\n\ndata: {"jsonrpc":"2.0","id":9,"result":"nobody asked"}\n\n');
  get.response.write('data: {"jsonrpc":"2.0","id":"s","method":"roots/list"}\n\n');
  t.match((await stream.next())?.data, /list_changed/);
  t.match(
    (await stream.next())?.data,
    /roots\/list/,
    'what is no message, or a response nobody waits for, is left out',
  );
  get.response.end();
  const again = await eventually(() => r.door.knocks.filter(({ method }) => method === 'GET')[1]);
  t.equal(again.headers['last-event-id'], '7', 'a broken stream of server messages is taken up where it broke');

  stream.close();
  const bye = await eventually(() => r.door.knocks.find(({ method }) => method === 'DELETE'));
  t.equal(bye.headers['mcp-session-id'], session?.['mcp-session-id']);
  await eventually(() => again.isAborted);
  t.match(await post(call('5')), { status: 404, text: /Connect again/ });
  await r.world.audit.close(1000);
  t.match(r.stage.rows, [
    { method: 'HTTP GET', namespace: 'docs', subject: 'first', verdict: 'allowed', http_status: 200, session_id: /./ },
    { method: 'HTTP POST', verdict: 'denied', http_status: 404 },
  ]);
});

t.test('answers come byte for byte, and while they are news', async (t) => {
  const r = await relay(t);
  const client = await initialized(r);
  r.door.onKnock = ({ message, response }) => {
    if (message.method !== 'tools/call') return undefined;
    if (message.id === 'pretty') {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(
        '{\r\n  "jsonrpc": "2.0",\n  "id": "pretty",\n  "result": { "n": 9007199254740993, "e": 1e400 }\n}\n',
      );
    } else {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write('id: 1\ndata: \n\n');
    }
    return true;
  };
  t.equal((await client.post(call('"pretty"'))).status, 202);
  t.match(await client.message(), /"result": \{ "n": 9007199254740993, "e": 1e400 \}/);

  await client.post(call('12345678901234567890'));
  const { response } = r.door.knocks.at(-1) ?? {};
  const progress = (n: number) =>
    `data: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":${n}}}\n\n`;
  for (const n of [1, 2, 3]) {
    response?.write(progress(n));
    t.match(await client.message(), `"progress":${n}`);
  }
  response?.write('data: {"jsonrpc":"2.0","id":1,"result":"of another"}\n\n');
  response?.write('event: message\ndata: {"jsonrpc":"2.0",\ndata: "id":12345678901234567890,"result":{}}\n\n');
  response?.write('data: {"jsonrpc":"2.0","id":12345678901234567890,"result":"a second time"}\n\n');
  t.equal(await client.message(), '{"jsonrpc":"2.0",\n"id":12345678901234567890,"result":{}}');
  await client.post('{"jsonrpc":"2.0","id":"after","method":"ping"}');
  t.match(JSON.parse(await client.message()), { id: 'after' });
});

t.test('what the endpoint refuses is the answer to the POST, unless it is a response', async (t) => {
  const r = await relay(t);
  const client = await initialized(r);
  const answers: Record<string, (k: Parameters<typeof r.door.onKnock>[0]) => unknown> = {
    auth: ({ response }) =>
      json(response, 401, rpcError(null, -32000, 'no'), { 'www-authenticate': 'Bearer realm="x"' }),
    slow: ({ response }) => setTimeout(() => json(response, 504, rpcError(null, -32603, 'too slow')), 600),
    page: ({ response }) => setTimeout(() => response.writeHead(502, { 'content-type': 'text/html' }).end('<h1>'), 600),
    own: ({ response, message }) => json(response, 400, rpcError(message.id, -32602, 'bad cursor')),
    broken: ({ response }) => response.destroy(),
    half({ response }) {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: {"jsonrpc"');
      setTimeout(() => response.destroy(), 50);
    },
    empty: ({ response }) => response.writeHead(200, { 'content-type': 'application/json' }).end('{}'),
  };
  r.door.onKnock = (knock) => {
    const name = /"name":"(\w+)"/.exec(knock.text)?.[1];
    if (name === undefined) return undefined;
    answers[name]?.(knock);
    return true;
  };
  t.match(await client.post(call('1', 'auth')), {
    status: 401,
    headers: { 'www-authenticate': 'Bearer realm="x"', 'content-type': 'application/json' },
    text: /"message":"no"/,
  });
  t.equal((await client.post(call('"own"', 'own'))).status, 202);
  t.match(JSON.parse(await client.message()), rpcError('own', -32602, 'bad cursor'));
  t.equal((await client.post(call('2', 'slow'))).status, 202, 'accepted while the endpoint thinks');
  t.match(JSON.parse(await client.message()), rpcError(2, -32603, 'too slow'), 'the refusal that came late has the id');
  t.equal((await client.post(call('3', 'page'))).status, 202);
  t.match(JSON.parse(await client.message()), { id: 3, error: { code: -32603, message: /HTTP 502/ } });
  t.match(await client.post(call('4', 'broken')), { status: 502, text: /broke off/ });
  t.equal((await client.post(call('5', 'half'))).status, 202);
  t.match(JSON.parse(await client.message()), { id: 5, error: { message: /broke off/ } });
  t.equal((await client.post(call('6', 'empty'))).status, 202);
  t.match(JSON.parse(await client.message()), { id: 6, error: { message: /without a response/ } });
  r.door.onKnock = ({ text, response }) => {
    if (text !== 'garbage') return undefined;
    json(response, 400, rpcError(null, -32700, 'not JSON'));
    return true;
  };
  t.match(await client.post('garbage'), { status: 400, text: /not JSON/ });
  await client.post('{"jsonrpc":"2.0","id":"fine","method":"ping"}');
  t.match(JSON.parse(await client.message()), { id: 'fine' }, 'and the stream goes on');
});

t.test('a stream is its principal’s alone', async (t) => {
  const r = await relay(t);
  const none = { headers: { authorization: undefined } };
  t.match(await r.ask('GET', '/sse', none), { status: 401, headers: { 'www-authenticate': /Bearer/ } });
  t.match(await r.ask('GET', '/nowhere/sse'), { status: 404 });
  t.match(await r.ask('GET', '/sse', { headers: { origin: 'https://evil.example' } }), { status: 403 });
  t.match(await r.ask('GET', '/sse', { headers: { ':authority': 'evil.example' } }), { status: 403 });

  const client = await initialized(r);
  const other = { headers: { authorization: `Bearer ${r.stage.addKey('second', ['admin'])}` } };
  const before = r.door.knocks.length;
  const forged = `${client.endpoint.slice(0, -4)}${client.endpoint.endsWith('AAAA') ? 'BBBB' : 'AAAA'}`;
  const value = client.endpoint.split('?')[1];
  for (const [path, options, status] of [
    [client.endpoint, other, 404],
    [client.endpoint, none, 401],
    [client.endpoint, { headers: { authorization: 'Bearer sp_wrong' } }, 401],
    [forged, {}, 404],
    [`/docs/messages?${value}`, {}, 404],
    ['/messages', {}, 404],
    ['/messages?session=', {}, 404],
    [`/messages?session=${'x'.repeat(20_000)}`, {}, 404],
  ] as const) {
    const told = await r.ask('POST', path, { ...options, body: call('1') });
    t.equal(told.status, status, path.slice(0, 40));
    t.notMatch(told.text, /result/);
  }
  t.equal(r.door.knocks.length, before, 'nothing of it reached the endpoint');

  const theirs = await connect(r, '/sse', other);
  await theirs.post('{"jsonrpc":"2.0","id":0,"method":"ping"}');
  await client.post('{"jsonrpc":"2.0","id":0,"method":"tools/list"}');
  t.match(await theirs.message(), /"id":0/);
  const [last, ping] = [r.door.knocks.at(-1), r.door.knocks.at(-2)];
  t.match(ping?.headers, { authorization: other.headers.authorization });
  t.match(last?.headers, { authorization: `Bearer ${r.stage.key}` });
  await r.world.audit.close(1000);
  t.equal(
    r.stage.rows.filter(({ verdict }) => verdict === 'denied').length,
    12,
    'each refusal of the relay has its row',
  );
});

t.test('one client cannot have more than its share', async (t) => {
  const r = await relay(t, { maxStreams: 3, maxStreamsOfOne: 2 });
  const client = await initialized(r);
  r.door.onKnock = ({ message }) => message.method === 'tools/call';
  const posts = Array.from({ length: 64 }, (_, i) => client.post(call(String(i))));
  t.ok((await Promise.all(posts)).every(({ status }) => status === 202));
  t.match(await client.post(call('64')), { status: 429, headers: { 'retry-after': /\d/ } });
  const cancel = '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}';
  t.equal((await client.post(cancel)).status, 202, 'what ends a request always passes');
  const waiting = r.door.knocks.find(({ message }) => message.id === 3);
  json(waiting?.response as never, 200, { jsonrpc: '2.0', id: 3, result: {} });
  t.match(await client.message(), /"id":3/);
  t.equal((await client.post(call('65'))).status, 202, 'and makes room');

  const large = Buffer.alloc((4 << 20) + 1, ' ');
  t.equal((await client.post(large, { headers: { 'content-length': String(large.length) } })).status, 413);
  t.equal((await client.post(large)).status, 413, 'also without saying so beforehand');
  const odd = r.door.knocks.length;
  t.equal((await client.post(cancel)).status, 202, 'the connection lives on');
  t.equal(r.door.knocks.length, odd + 1);

  const broken = new AbortController();
  const half = client.post(large, { signal: broken.signal, headers: { 'content-length': String(4 << 20) } });
  broken.abort();
  await t.rejects(half);

  const second = await connect(r);
  t.match(await r.ask('GET', '/sse'), { status: 429 });
  const other = { headers: { authorization: `Bearer ${r.stage.addKey('second', ['admin'])}` } };
  t.equal((await r.listen('/sse', other)).status, 200);
  t.match(await r.ask('GET', '/sse', other), { status: 429 });
  second.stream.close();
  await eventually(async () => {
    const stream = await r.listen('/sse');
    stream.close();
    return stream.status === 200;
  });

  client.stream.close();
  await eventually(() => r.door.knocks.filter(({ isAborted }) => isAborted).length >= 64);
  t.pass('what was in flight is given up');
});

t.test('a stream that was closed before its response is resumed', async (t) => {
  const r = await relay(t);
  const client = await initialized(r);
  let resumed = 0;
  r.door.onKnock = ({ method, message, headers, response }) => {
    if (message.method === 'tools/call') {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end('id: a-1\nretry: 20\ndata: \n\n');
      return true;
    }
    if (method !== 'GET') return undefined;
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    resumed++;
    if (headers['last-event-id'] === 'a-1')
      response.end('id: a-2\ndata: {"jsonrpc":"2.0","method":"notifications/m"}\n\n');
    else if (headers['last-event-id'] === 'a-2') response.end('data: {"jsonrpc":"2.0","id":1,"result":{}}\n\n');
    return true;
  };
  await client.post(call('1'));
  t.match(await client.message(), 'notifications/m');
  t.match(await client.message(), '"id":1,"result"');
  t.equal(resumed, 2);
});

t.test('a stream ends with its session, with its key, and with the relay', async (t) => {
  const r = await relay(t);
  const ended = await initialized(r);
  const session = r.world.sessionIds.open(String(r.door.knocks.at(-1)?.headers['mcp-session-id']));
  if (session === undefined) throw new Error('no session');
  await r.world.endSession(session);
  t.equal(await ended.stream.next(), undefined, 'the client connects again and initializes');

  r.door.onKnock = ({ method, response }) => {
    if (method !== 'GET') return undefined;
    json(response, 401, rpcError(null, -32000, 'revoked'));
    return true;
  };
  const revoked = await initialized(r);
  t.equal(await revoked.stream.next(), undefined);

  r.door.onKnock = () => undefined;
  const short = r.stage.addKey('short', ['admin'], { expiresAt: Date.now() + 300 });
  const expiring = await connect(r, '/sse', { headers: { authorization: `Bearer ${short}` } });
  setTimeout(() => r.world.watched.worldChanged(), 400);
  t.equal(await expiring.stream.next(), undefined, 'also before it has a session');

  const client = await initialized(r);
  r.stop();
  t.equal(await client.stream.next(), undefined);
  t.equal((await r.ask('GET', '/sse')).status, 503);
});

t.test('a message finds the relay that holds its stream', async (t) => {
  const first = await relay(t);
  const second = await relay(t, {}, first);
  const { addresses } = second;
  addresses.set(first.world.relayId, first.address);
  const client = await connect(first);
  const via = (body: string, headers = {}) => second.ask('POST', client.endpoint, { body, headers });
  t.match(await via(INITIALIZE), { status: 202 });
  t.match(await client.message(), /"id":0/);
  t.match(await via('{"jsonrpc":"2.0","id":1,"method":"ping"}'), { status: 202 });
  t.match(await client.message(), /"id":1/);
  const other = { authorization: `Bearer ${first.stage.addKey('second', ['admin'])}` };
  t.equal((await via(INITIALIZE, other)).status, 404);

  addresses.set(first.world.relayId, second.address);
  t.match(await via(INITIALIZE), { status: 404, text: /Connect again/ }, 'an address that has changed hands');
  addresses.set(first.world.relayId, '127.0.0.1:1');
  t.match(await via(INITIALIZE), { status: 404, text: /Connect again/ }, 'a relay that is gone');
  addresses.set(first.world.relayId, 'unix:/nowhere/at.sock');
  t.match(await via(INITIALIZE), { status: 404 });
  addresses.clear();
  t.match(await via(INITIALIZE), { status: 404 });
});
