import t from 'tap';
import { eventually } from '../support/eventually.ts';
import { json } from './small-relay.ts';
import { call, connect, INITIALIZE, initialized, relay, rpcError } from './sse-client.ts';

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

t.test('a client that does not read holds up its own sources, and loses nothing', async (t) => {
  const r = await relay(t);
  const [slow, other] = [await initialized(r), await initialized(r)];
  const filler = 'x'.repeat(256 << 10);
  const count = 200;
  let sent = 0;
  r.door.onKnock = ({ message, response }) => {
    if (message.method !== 'tools/call') return undefined;
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const more = (): void => {
      while (sent < count) {
        const event = `data: {"jsonrpc":"2.0","method":"notifications/m","params":{"n":${sent++},"filler":"${filler}"}}\n\n`;
        if (!response.write(event)) return void response.once('drain', more);
      }
      response.end(`data: {"jsonrpc":"2.0","id":${message.id},"result":{}}\n\n`);
    };
    more();
    return true;
  };
  slow.stream.pause();
  await slow.post(call('1'));
  let before = -1;
  await eventually(async () => {
    if (before === sent) return true;
    before = sent;
    await new Promise((resolve) => setTimeout(resolve, 300));
    return false;
  });
  t.ok(sent < 60, `${sent} events of 256 KiB have left their source`);
  await other.post('{"jsonrpc":"2.0","id":"fine","method":"ping"}');
  t.match(await other.message(), '"fine"', 'nobody else waits');
  slow.stream.resume();
  for (let n = 0; n < count; n++) if (!(await slow.message()).includes(`"n":${n},`)) t.fail(`event ${n} is missing`);
  t.match(await slow.message(), '"id":1,"result"');
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
