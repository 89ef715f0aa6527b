/** The relay in the place of an HTTP+SSE upstream, as Sallyport's own parts see it: a streamable HTTP server of a legacy era. */
import t, { type Test } from 'tap';
import type { SessionTableOptions } from '../../src/relay/sse-upstreams/session-table.ts';
import { createSseUpstreams } from '../../src/relay/sse-upstreams/sse-upstreams.ts';
import { openTicket, sealUpstreamTicket, TICKET_HEADER } from '../../src/relay/ticket.ts';
import type { Connection, Snapshot } from '../../src/snapshot/snapshot.ts';
import { stage, tools } from '../support/conversation.ts';
import { eventually } from '../support/eventually.ts';
import { frontDoor, type SmallRelay, smallRelay } from './small-relay.ts';
import { type SseServer, sseServer, usual } from './sse-server.ts';

const INITIALIZE =
  '{"jsonrpc":"2.0","id":"i","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}';
const PATH = '/old?tenant=7';

interface Caller {
  readonly relay: SmallRelay;
  readonly id: string;
  /** One POST on the session. */
  send(body: string, headers?: Record<string, string | undefined>): ReturnType<SmallRelay['ask']>;
  /** A POST that is answered with events, or a GET. */
  listen(body?: string): ReturnType<SmallRelay['listen']>;
  end(): ReturnType<SmallRelay['ask']>;
}

interface Table {
  readonly upstream: SseServer;
  readonly relays: readonly SmallRelay[];
  readonly size: () => number;
  readonly drain: () => void;
  open(relay?: SmallRelay): Promise<Caller>;
  ticket(connection?: string): Record<string, string>;
}

async function setUp(t: Test, options: SessionTableOptions & { session?: 'pooled'; timeoutMs?: number } = {}) {
  const upstream = await sseServer(t);
  const base = stage();
  const { tenants, ...rest } = base.world.snapshot() as NonNullable<ReturnType<typeof base.world.snapshot>>;
  const tenant = tenants.get('default');
  const files = tenant?.connections.get('files');
  if (tenant === undefined || files === undefined) throw new Error('the stage is another one');
  const { session = 'auto' as const, timeoutMs = 20_000, ...tableOptions } = options;
  const connection: Connection = { ...files, url: new URL(upstream.url), path: PATH, session, timeoutMs };
  const connections = new Map([...tenant.connections, ['files', connection]]);
  const snapshot: Snapshot = { ...rest, tenants: new Map([['default', { ...tenant, connections }]]) };
  const shared = { ...base, world: { ...base.world, snapshot: () => snapshot } };
  const door = await frontDoor(t, shared);
  const made = [createSseUpstreams(tableOptions), createSseUpstreams(tableOptions)];
  const relays: SmallRelay[] = [];
  for (const { entry } of made) {
    relays.push(await smallRelay(t, { work: { upstream: entry } }, { stage: shared, door }));
  }
  for (const one of relays) for (const other of relays) one.addresses.set(other.world.relayId, other.address);
  t.teardown(() => {
    for (const one of made) one.close(0);
  });
  const ticket = (name = 'files') => ({
    [TICKET_HEADER]: sealUpstreamTicket(base.world.vault, { tenant: 'default', name }),
  });
  const table: Table = {
    upstream,
    relays,
    size: () => made.reduce((sum, one) => sum + one.size, 0),
    drain: () => made[0]?.close(300),
    ticket,
    async open(relay = relays[0] as SmallRelay) {
      const opened = await relay.ask('POST', PATH, { body: INITIALIZE, headers: ticket() });
      const id = String(opened.headers['mcp-session-id']);
      const headers = (): Record<string, string> => ({ ...ticket(), 'mcp-session-id': id });
      return caller(relay, id, headers);
    },
  };
  return table;
}

const caller = (relay: SmallRelay, id: string, headers: () => Record<string, string>): Caller => ({
  relay,
  id,
  send: (body, more) => relay.ask('POST', PATH, { body, headers: { ...headers(), ...more } }),
  listen: (body) => relay.listen(PATH, { headers: headers(), ...(body === undefined ? {} : { body }) }),
  end: () => relay.ask('DELETE', PATH, { headers: headers() }),
});

const call = (id: number | string, name: string, token?: unknown): string =>
  JSON.stringify({
    jsonrpc: '2.0',
    id,
    method: 'tools/call',
    params: { name, arguments: {}, ...(token === undefined ? {} : { _meta: { progressToken: token } }) },
  });
const progress = (token: unknown): string =>
  JSON.stringify({ jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: token, progress: 1 } });
const result = (id: unknown): string => `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":{ "n": 1.0 }}`;

t.test('a session from beginning to end', async (t) => {
  const { upstream, open, size, relays, ticket } = await setUp(t);
  const relay = relays[0] as SmallRelay;
  const missing = await relay.ask('POST', PATH, { body: call(1, 'echo'), headers: ticket() });
  t.match(missing, { status: 400, text: /Mcp-Session-Id/ });
  t.equal((await relay.ask('GET', PATH, { headers: ticket() })).status, 400);
  t.equal((await relay.ask('POST', PATH, { body: INITIALIZE })).status, 403, 'without a ticket');
  t.equal((await relay.ask('GET', PATH, {})).status, 404, 'a GET without one is a client’s');
  const forged = { ...ticket(), 'mcp-session-id': 'forged' };
  t.equal((await relay.ask('POST', PATH, { body: call(1, 'echo'), headers: forged })).status, 404);

  const one = await open();
  t.match(one.id, /^[\w-]{60,}$/);
  const other = { ...ticket('crm'), 'mcp-session-id': one.id };
  t.equal((await relay.ask('POST', PATH, { body: call(1, 'echo'), headers: other })).status, 404, 'another connection');
  const initialized = '{"jsonrpc":"2.0","method":"notifications/initialized"}';
  t.match(await one.send(initialized, { 'x-api-key': 'k', 'mcp-protocol-version': '2024-11-05' }), { status: 202 });
  t.match(upstream.posted.at(-1), {
    text: initialized,
    path: '/messages?stream=0',
    headers: { 'x-api-key': 'k', 'mcp-protocol-version': '2024-11-05' },
  });
  const echoed = await one.send(call(1, 'echo'));
  t.match(echoed.headers, { ':status': 200, 'content-type': 'application/json' });
  t.equal((await one.send('{"jsonrpc":"2.0","id":1.5,"method":"ping"}')).status, 400);
  t.equal((await one.send('[]')).status, 400);
  t.equal((await one.relay.ask('PUT', PATH, { headers: { ...ticket(), 'mcp-session-id': one.id } })).status, 405);

  t.equal((await one.end()).status, 204);
  t.equal(size(), 0);
  await eventually(() => upstream.streams.size === 0);
  t.equal((await one.send(call(2, 'echo'))).status, 404);
});

t.test('who is told what', async (t) => {
  const { upstream, open } = await setUp(t);
  upstream.answer = (posted) => (posted.message.method === 'initialize' ? usual(posted) : undefined);
  const one = await open();
  const arrived = (id: unknown) => eventually(() => upstream.posted.some(({ message }) => message.id === id));
  const changed = '{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}';
  upstream.say(0, changed);
  const both = [one.listen(call(1, 'slow', 1)), one.listen(call('1', 'slow', '1'))];
  await Promise.all([arrived(1), arrived('1')]);
  upstream.say(0, progress('1'));
  upstream.say(0, progress(1));
  upstream.say(0, progress(2));
  const [number, text] = await Promise.all(both);
  t.match(number?.headers, { 'content-type': 'text/event-stream' });
  t.same(await number?.next(), { event: 'message', data: progress(1) });
  t.same(await text?.next(), { event: 'message', data: progress('1') });
  const question = '{"jsonrpc":"2.0","id":5,"method":"roots/list"}';
  upstream.say(0, question);
  t.same(await text?.next(), { event: 'message', data: question }, 'the newest is asked');
  t.equal((await one.send('{"jsonrpc":"2.0","id":5,"result":{"roots":[]}}')).status, 202);
  t.match(upstream.posted.at(-1), { text: '{"jsonrpc":"2.0","id":5,"result":{"roots":[]}}' });
  t.match((await one.send(call('\u0031', 'slow'))).text, /is being answered/);

  const get = await one.listen();
  t.same(await get.next(), { event: 'message', data: changed }, 'what was said before is not lost');
  upstream.say(0, result('1'));
  t.same(await text?.next(), { event: 'message', data: result('1') }, 'byte for byte');
  t.equal(await text?.next(), undefined);
  const log = '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}';
  upstream.say(0, log);
  t.same(await number?.next(), { event: 'message', data: log });
  number?.close();
  await new Promise((resolve) => setTimeout(resolve, 50));
  upstream.say(0, result(1));
  upstream.say(0, 'no JSON');
  upstream.say(0, log);
  t.same(await get.next(), { event: 'message', data: log }, 'nobody is told of what nobody waits for');
});

t.test('of several who share a session nobody is told what may be another’s', async (t) => {
  const { upstream, open } = await setUp(t, { session: 'pooled' });
  const one = await open();
  const get = await one.listen();
  const both = [one.send(call(1, 'slow')), one.send(call(2, 'slow'))];
  await eventually(() => upstream.of('tools/call').length === 2);
  const log = '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}';
  upstream.say(0, log);
  t.same(await get.next(), { event: 'message', data: log });
  for (const id of [1, 2]) upstream.say(0, result(id));
  for (const { headers } of await Promise.all(both)) t.match(headers, { 'content-type': 'application/json' });
});

t.test('another relay passes on what is not its own', async (t) => {
  const { upstream, open, relays, ticket } = await setUp(t);
  const one = await open(relays[0]);
  const elsewhere = relays[1] as SmallRelay;
  const headers = () => ({ ...ticket(), 'mcp-session-id': one.id, 'x-api-key': 'k' });
  const echoed = await elsewhere.ask('POST', PATH, { body: call(1, 'echo'), headers: headers() });
  t.match(echoed, { status: 200, text: /"id":1/ });
  t.match(upstream.posted.at(-1)?.headers, { 'x-api-key': 'k' });
  const get = await elsewhere.listen(PATH, { headers: headers() });
  const changed = '{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}';
  upstream.say(0, changed);
  t.same(await get.next(), { event: 'message', data: changed });
  t.equal((await elsewhere.ask('DELETE', PATH, { headers: headers() })).status, 204);
  t.equal(await get.next(), undefined);
  t.equal((await elsewhere.ask('POST', PATH, { body: call(2, 'echo'), headers: headers() })).status, 404);

  const two = await open(relays[0]);
  elsewhere.addresses.set(relays[0]?.world.relayId ?? '', '127.0.0.1:1');
  const orphan = { ...ticket(), 'mcp-session-id': two.id };
  t.equal((await elsewhere.ask('POST', PATH, { body: call(3, 'echo'), headers: orphan })).status, 404, 'it is gone');
});

t.test('an upstream that fails', async (t) => {
  const { upstream, open, relays, ticket, size } = await setUp(t, { timeoutMs: 400 });
  const relay = relays[0] as SmallRelay;
  const initialize = () => relay.ask('POST', PATH, { body: INITIALIZE, headers: ticket() });
  const one = await open();
  t.match(await one.send(call(1, 'quiet')), { status: 504, text: /did not answer within 0.4 s/ });
  const pending = one.send(call(2, 'quiet'));
  await eventually(() => upstream.of('tools/call').length === 2);
  upstream.streams.get(0)?.destroy();
  t.match(await pending, { status: 502, text: /"id":2.*closed its event stream/ });
  t.equal((await one.send(call(3, 'quiet'))).status, 404);

  upstream.answer = () => undefined;
  t.match(await initialize(), { status: 504 });
  upstream.answer = ({ message }) => `{"jsonrpc":"2.0","id":"${message.id}","error":{"code":-32602,"message":"no"}}`;
  t.match(await initialize(), { status: 200, text: /"no"/ });
  upstream.answer = usual;
  upstream.status = () => 500;
  t.match(await initialize(), { status: 502, text: /HTTP 500/ });
  upstream.status = () => 202;
  upstream.getStatus = 403;
  t.match(await initialize(), { status: 403, text: /credential/ });
  upstream.getStatus = 204;
  t.match(await initialize(), { status: 502, text: /something else/ });
  upstream.getStatus = 200;
  for (const [what, endpoint] of [
    ['no URL', 'http://['],
    ['another host', 'http://localhost:1/messages'],
    ['another scheme', upstream.origin.replace('http', 'https')],
    ['without a scheme', '//example.com/messages'],
    ['a script', 'javascript:alert(1)'],
  ] as const) {
    upstream.endpoint = () => endpoint;
    t.match(await initialize(), { status: 502, text: /the endpoint that it names/ }, what);
  }
  t.equal(size(), 0);
  await eventually(() => upstream.streams.size === 0);
});

t.test('there is an end to how many, and to how long', async (t) => {
  const { upstream, open, relays, ticket, size } = await setUp(t, { maxOfOne: 2, idleMs: 1000 });
  const relay = relays[0] as SmallRelay;
  const [a, b] = [await open(), await open()];
  const get = await b.listen();
  const c = await open();
  t.equal((await a.send(call(1, 'echo'))).status, 404, 'the idlest has made room');
  const slow = c.send(call(1, 'slow'));
  await eventually(() => upstream.of('tools/call').length === 1);
  const refused = await relay.ask('POST', PATH, { body: INITIALIZE, headers: ticket() });
  t.match(refused, { status: 503, text: /Too many sessions/ });
  get.close();
  upstream.say(2, result(1));
  t.equal((await slow).status, 200);
  t.equal(size(), 2);
  await eventually(() => size() === 0 && upstream.streams.size === 0, 5000);
});

t.test('the relay stops', async (t) => {
  const { upstream, open, drain, size } = await setUp(t);
  const [one, two] = [await open(), await open()];
  const get = await two.listen();
  const calls = [one.send(call(1, 'slow')), one.send(call(2, 'slow'))];
  await eventually(() => upstream.of('tools/call').length === 2);
  drain();
  t.equal(await get.next(), undefined);
  upstream.say(0, result(1));
  t.equal((await calls[0])?.status, 200, 'what is answered in time is answered');
  t.match(await calls[1], { status: 503, text: /The gateway restarts/ });
  t.equal(size(), 0);
});

t.test('the processor sends calls there, and refuses them where there is no relay', async (t) => {
  const { world, send, initialize } = stage({ files: { ...tools(['read']), transport: 'sse' } });
  const headers = { 'mcp-session-id': await initialize(), 'mcp-protocol-version': '2025-06-18' };
  const body = call(1, 'files__read');
  const { set = {} } = (await send(body, headers)).forwarded ?? {};
  t.match(set, { 'x-sallyport-route': 'relay', ':path': '/files/mcp', 'mcp-protocol-version': '2025-11-25' });
  t.match(openTicket(world.vault, set[TICKET_HEADER] ?? '', Date.now()), { work: 'upstream', connection: 'files' });
  t.match((await send(call(1, 'crm__get'), headers)).forwarded?.set, { 'x-sallyport-route': 'default/crm' });
  Object.assign(world, { relay: false });
  const refused = await send(body, headers);
  t.equal(refused.status, 200);
  t.match(refused.text, /speaks only HTTP\+SSE .* has no relay/);
});
