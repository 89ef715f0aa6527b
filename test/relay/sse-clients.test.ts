import t from 'tap';
import { eventually } from '../support/eventually.ts';
import { json } from './small-relay.ts';
import { call, connect, INITIALIZE, INITIALIZED, initialized, relay, rpcError } from './sse-client.ts';

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
