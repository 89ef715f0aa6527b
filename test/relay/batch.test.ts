import { createHash } from 'node:crypto';
import t, { type Test } from 'tap';
import type { Session } from '../../src/exchange/exchange.ts';
import { batch } from '../../src/relay/batch/entry.ts';
import { sealTicket, TICKET_HEADER } from '../../src/relay/ticket.ts';
import { eventually } from '../support/eventually.ts';
import { type Ask, json, type Knock, type SmallRelay, smallRelay, type Told } from './small-relay.ts';

const request = (id: string, name = 'x'): string =>
  `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"${name}"}}`;
const INITIALIZED = '{"jsonrpc":"2.0","method":"notifications/initialized"}';
const JSON_ONLY = { headers: { accept: 'application/json' } };

interface BatchStage extends SmallRelay {
  send(body: string | Buffer, options?: Ask): Promise<Told>;
  listenTo(body: string, options?: Ask): ReturnType<SmallRelay['listen']>;
}

async function relay(t: Test): Promise<BatchStage> {
  const r = await smallRelay(t, { work: { batch } });
  const { session, header } = r.world.sessionIds.mint({
    tenant: 'default',
    namespace: 'docs',
    binding: 'api_key:first',
    protocolVersion: '2025-03-26',
    clientName: 'old/1',
    capabilities: '{}',
  });
  const asProcessor = (options: Ask): Ask => ({
    ...options,
    headers: {
      accept: 'application/json, text/event-stream',
      'mcp-session-id': header,
      'x-tenant': 'acme',
      [TICKET_HEADER]: ticket(r, session),
      ...options.headers,
    },
  });
  return {
    ...r,
    send: (body, options = {}) => r.ask('POST', '/docs/mcp', { ...asProcessor(options), body }),
    listenTo: (body, options = {}) => r.listen('/docs/mcp', { ...asProcessor(options), body }),
  };
}

function ticket({ world }: SmallRelay, session: Session): string {
  const client = {
    era: 'legacy',
    protocolVersion: '2025-03-26',
    capabilities: '{}',
    clientName: '',
    logLevel: null,
  } as const;
  const principal = {
    tenant: 'default',
    subject: 'first',
    roles: [],
    method: 'api_key',
    binding: session.binding,
  } as const;
  return sealTicket(
    world.vault,
    {
      work: 'batch',
      requestId: 'r',
      tenant: 'default',
      namespace: 'docs',
      principal,
      session,
      client,
      connection: null,
      question: null,
    },
    Date.now(),
  );
}

const nameOf = ({ text }: Knock): string => /"name":"(\w+)"/.exec(text)?.[1] ?? '';

t.test('each message passes the front door by itself; the responses are one array', async (t) => {
  const r = await relay(t);
  r.door.onKnock = ({ text, response }) => {
    if (!text.includes('"big"')) return undefined;
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end('{"jsonrpc":"2.0","id":9007199254740993,"result":{"n":12345678901234567890}}');
    return true;
  };
  const messages = [
    request('"a"'),
    INITIALIZED,
    '{ "jsonrpc" : "2.0","id":9007199254740993,"method":"big", "params":{"a":[1e400, "\\u00e9,]"]}}',
    '{"jsonrpc":"2.0","id":"q","result":{}}',
    request('-5'),
  ];
  const told = await r.send(` [ ${messages.join(' ,\n')}\t]\n`);
  t.match(told, { status: 200, headers: { 'content-type': 'application/json', 'content-length': /\d+/ } });
  t.equal(
    told.text,
    '[{"jsonrpc":"2.0","id":"a","result":{}},' +
      '{"jsonrpc":"2.0","id":9007199254740993,"result":{"n":12345678901234567890}},' +
      '{"jsonrpc":"2.0","id":-5,"result":{}}]',
  );
  t.same(
    r.door.knocks
      .map(({ text }) => text)
      .filter((text) => !text.includes('"q"'))
      .sort(),
    messages.filter((text) => !text.includes('"q"')).sort(),
    'byte for byte',
  );
  for (const { path, headers } of r.door.knocks) {
    t.equal(path, '/docs/mcp');
    t.match(headers, {
      host: '127.0.0.1:8080',
      authorization: `Bearer ${r.stage.key}`,
      accept: 'application/json, text/event-stream',
      'content-type': 'application/json',
      'mcp-protocol-version': '2025-03-26',
      'mcp-session-id': /^[\w-]+$/,
      'x-tenant': 'acme',
    });
    t.equal(headers[TICKET_HEADER], undefined);
  }
});

t.test('a batch that is none is refused as a whole', async (t) => {
  const r = await relay(t);
  const many = Array.from({ length: 65 }, (_, i) => request(String(i)));
  for (const [body, code, message] of [
    ['[]', -32600, 'at least one'],
    [' [ ] ', -32600, 'at least one'],
    [`[${many.join(',')}]`, -32600, 'at most 64'],
    [`[${request('1')},{"jsonrpc":"2.0","id":2,"method":"initialize","params":{}}]`, -32600, 'initialize'],
    [`[${request('1')},`, -32700, 'not valid JSON'],
    [`[${request('1')}] x`, -32700, 'not valid JSON'],
    [`[${request('1')},]`, -32700, 'not valid JSON'],
    [Buffer.from(`[${request('1')},"\xff"]`, 'latin1'), -32700, 'UTF-8'],
    [`${'['.repeat(300)}${']'.repeat(300)}`, -32700, 'deeper'],
    [request('1'), -32600, 'an array'],
  ] as const) {
    const told = await r.send(body);
    t.equal(told.status, 400);
    t.match(JSON.parse(told.text), { id: null, error: { code, message: new RegExp(message) } });
  }
  t.same(r.door.knocks, [], 'none of it was acted upon');
  t.equal((await r.send(Buffer.alloc((4 << 20) + 65_537, ' '))).status, 413);
});

t.test('an element that is no message is answered with an error; the others are unharmed', async (t) => {
  const r = await relay(t);
  const told = await r.send(
    `[1, "x", null, [${request('0')}], {}, {"jsonrpc":"1.0","id":7,"method":"m"}, {"jsonrpc":"2.0","id":8,"id":8,"method":"m"}, ${request('9')}]`,
    JSON_ONLY,
  );
  const invalid = (id: unknown) => ({ jsonrpc: '2.0', id, error: { code: -32600 } });
  t.match(JSON.parse(told.text), [
    ...[null, null, null, null, null, 7, null].map(invalid),
    { jsonrpc: '2.0', id: 9, result: {} },
  ]);
  t.equal(r.door.knocks.length, 1);
  t.match(JSON.parse((await r.send('[1]')).text), [invalid(null)]);
});

t.test('only notifications and responses: accepted without a body', async (t) => {
  const r = await relay(t);
  const response = '{"jsonrpc":"2.0","id":"q","result":{}}';
  t.match(await r.send(`[${INITIALIZED},${response}]`), { status: 202, text: '' });
  r.door.onKnock = ({ text, response: out }) => {
    if (!text.includes('"result"')) return undefined;
    json(out, 400, { jsonrpc: '2.0', id: null, error: { code: -32600, message: 'nobody asked' } });
    return true;
  };
  t.match(await r.send(`[${INITIALIZED},${response}]`), { status: 202 }, 'something was accepted');
  t.match(await r.send(`[${response},${response}]`), { status: 400, text: /nobody asked/ });
});

t.test('at most eight are under way together, and one that fails fails alone', async (t) => {
  const r = await relay(t);
  let open = 0;
  let most = 0;
  const failures: Record<string, (knock: Knock) => void> = {
    denied: ({ response }) =>
      json(response, 401, { jsonrpc: '2.0', id: null, error: { code: -32000, message: 'no', data: 1e21 } }),
    broken: ({ response }) => void response.destroy(),
    page: ({ response }) =>
      void response.writeHead(503, { 'content-type': 'text/plain' }).end('upstream connect error'),
    wrong: ({ response }) => json(response, 200, { jsonrpc: '2.0', id: 'of another', result: {} }),
    half({ response }) {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': 100 }).write('{"jsonrpc"');
      setTimeout(() => response.destroy(), 20);
    },
  };
  r.door.onKnock = (knock) => {
    open++;
    most = Math.max(most, open);
    knock.response.once('close', () => open--);
    const fail = failures[nameOf(knock)];
    setTimeout(() => {
      if (fail === undefined)
        json(knock.response, 200, { jsonrpc: '2.0', id: knock.message.id, result: nameOf(knock) });
      else fail(knock);
    }, 20);
    return true;
  };
  const names = ['x', ...Object.keys(failures), ...Array.from({ length: 24 }, () => 'x')];
  const told = await r.send(`[${names.map((name, i) => request(String(i), name)).join(',')}]`, JSON_ONLY);
  const answers = JSON.parse(told.text) as { id: number; result?: string; error?: { message: string; code: number } }[];
  t.same(
    answers.map(({ id }) => id),
    names.map((_, i) => i),
    'in the order of the requests',
  );
  t.equal(most, 8);
  t.match(answers.slice(0, 6), [
    { result: 'x' },
    { error: { code: -32000, message: 'no', data: 1e21 } },
    { error: { code: -32603, message: /broke off/ } },
    { error: { code: -32603, message: /HTTP 503/ } },
    { error: { code: -32603, message: /without a response/ } },
    { error: { code: -32603, message: /broke off/ } },
  ]);
  t.ok(answers.slice(6).every(({ result }) => result === 'x'));
});

t.test('one answer that is a stream makes all of them one', async (t) => {
  const r = await relay(t);
  const streams = new Map<string, Knock>();
  r.door.onKnock = (knock) => {
    const name = nameOf(knock);
    if (name === 'x') return undefined;
    streams.set(name, knock);
    knock.response.writeHead(200, { 'content-type': 'text/event-stream' }).write('id: 1\nretry: 5\ndata: \n\n');
    return true;
  };
  const body = `[${request('1')},${request('2', 'slow')},${INITIALIZED},{},${request('3', 'late')}]`;
  const stream = await r.listenTo(body);
  t.match(stream.headers, { 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' });
  const next = async (): Promise<unknown> => JSON.parse((await stream.next())?.data ?? 'null');
  const first = [await next(), await next()] as { id: unknown }[];
  t.same(first.map(({ id }) => id).sort(), [1, null], 'what was there before is told');
  const slow = await eventually(() => streams.get('slow'));
  const late = await eventually(() => streams.get('late'));
  for (const n of [1, 2, 3]) {
    const event = `data: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":${n}}}\n\n`;
    (n % 2 === 0 ? slow : late).response.write(event);
    t.match(await next(), { params: { progress: n } }, 'as it comes');
  }
  late.response.end('data: {"jsonrpc":"2.0","id":3,"result":{}}\n\n');
  t.match(await next(), { id: 3, result: {} });
  slow.response.end();
  t.match(await next(), { id: 2, error: { message: /broke off/ } });
  t.equal(await stream.next(), undefined, 'it ends after the last response');

  r.door.onKnock = (knock) => {
    if (nameOf(knock) !== 'slow') return undefined;
    knock.response.writeHead(200, { 'content-type': 'text/event-stream' });
    knock.response.end(
      'data: {"jsonrpc":"2.0","method":"notifications/m"}\n\ndata: {"jsonrpc":"2.0","id":2,"result":{}}\n\n',
    );
    return true;
  };
  const array = await r.send(body.replace('late', 'x'), JSON_ONLY);
  t.match(
    JSON.parse(array.text),
    [{ id: 1 }, { id: 2, result: {} }, { id: null }, { id: 3 }],
    'unless the client takes none',
  );
});

t.test('a client that goes away takes its batch along', async (t) => {
  const r = await relay(t);
  r.door.onKnock = () => true;
  const gone = new AbortController();
  const told = r.send(`[${Array.from({ length: 20 }, (_, i) => request(String(i))).join(',')}]`, {
    signal: gone.signal,
  });
  told.catch(() => {});
  await eventually(() => r.door.knocks.length === 8);
  gone.abort();
  await eventually(() => r.door.knocks.every(({ isAborted }) => isAborted));
  t.equal(r.door.knocks.length, 8, 'and nothing more is sent');
});

t.test('large answers arrive whole; too many of them do not', async (t) => {
  const r = await relay(t);
  const text = 'x'.repeat(6 << 20);
  r.door.onKnock = ({ message, response }) => {
    json(response, 200, { jsonrpc: '2.0', id: message.id, result: { text } });
    return true;
  };
  const told = await r.send(`[${request('0')},${request('1')}]`, JSON_ONLY);
  const digest = (value: string): string => createHash('sha256').update(value).digest('hex');
  const answers = JSON.parse(told.text) as { result: { text: string } }[];
  t.same(
    answers.map(({ result }) => digest(result.text)),
    [digest(text), digest(text)],
  );
  const many = await r.send(`[${Array.from({ length: 8 }, (_, i) => request(String(i))).join(',')}]`, JSON_ONLY);
  const outcomes = JSON.parse(many.text) as { result?: unknown; error?: { message: string } }[];
  t.equal(outcomes.length, 8);
  t.ok(outcomes.filter(({ result }) => result !== undefined).length >= 4);
  t.match(outcomes.find(({ error }) => error !== undefined)?.error, { message: /too large/ });
});
