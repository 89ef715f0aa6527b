import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { eventually } from '../support/eventually.ts';
import { type Gateway, startGateway } from '../support/gateway.ts';
import { openSession, textOf } from '../support/mcp.ts';
import { events, freePort, type ProgrammableUpstream, reply, startUpstream } from '../support/upstream.ts';

const config = (connections: Record<string, string>, more = ''): string =>
  `connections:\n${Object.entries(connections)
    .map(([name, body]) => `  ${name}: { ${body} }\n`)
    .join('')}${more}`;

interface AuditItem {
  verdict: string;
  reason: string | null;
  upstreamStatus: number | null;
  isError: boolean | null;
}

async function lastCall(gateway: Gateway): Promise<AuditItem> {
  // Rows are flushed within a second; ask until the newest one is the call that was just made.
  await delay(600);
  return (await gateway.admin<{ items: AuditItem[] }>('GET', 'audit/events?method=tools/call&limit=1')).json
    .items[0] as AuditItem;
}

t.test('sessions that an upstream forgets are opened again and the call is repeated, once', async (t) => {
  const [lost404, lost400, stateless, pooled] = await Promise.all([
    startUpstream(t, { lostStatus: 404 }),
    startUpstream(t, { lostStatus: 400, sse: true }),
    startUpstream(t, { sessions: false }),
    startUpstream(t),
  ]);
  const gateway = await startGateway(t, {
    config: config({
      a: `url: "${lost404.url}"`,
      b: `url: "${lost400.url}"`,
      none: `url: "${stateless.url}"`,
      pool: `url: "${pooled.url}", session: pooled`,
    }),
  });
  await Promise.all(['a', 'b', 'none', 'pool'].map((name) => gateway.ready(name)));
  const [one, two] = await Promise.all([
    openSession(gateway.mcpUrl, gateway.key),
    openSession(gateway.mcpUrl, gateway.key),
  ]);

  for (const [name, upstream] of [
    ['a', lost404],
    ['b', lost400],
  ] as const) {
    t.equal(textOf(await one.call(`${name}__echo`, '{"n":1}')), '{"n":1}');
    t.equal(textOf(await two.call(`${name}__echo`, '{"n":2}')), '{"n":2}');
    const used = () => upstream.calls().map((call) => call.headers['mcp-session-id']);
    t.not(used()[0], used()[1], 'one upstream session per downstream session');
    await one.call(`${name}__echo`);
    t.equal(used()[2], used()[0], 'kept for the next call');
    upstream.sessions.clear();
    const again = await one.call(`${name}__echo`, '{"n":9007199254740993}', '"id-7"');
    t.equal(again.status, 200, again.text);
    t.match(again.text, /"id":"id-7"/);
    t.equal(textOf(again), '{"n":9007199254740992}', 'and its answer is the answer');
    t.equal(upstream.calls().at(-1)?.body.includes('9007199254740993'), true, 'the same bytes, again');
    t.match(await lastCall(gateway), { verdict: 'allowed', reason: 'repeated on a new upstream session' });
    const count = upstream.calls().length;
    await one.call(`${name}__echo`);
    t.equal(upstream.calls().length, count + 1, 'the new session is kept');
  }

  await one.call('none__echo');
  t.notOk(stateless.calls().at(-1)?.headers['mcp-session-id'], 'no session where none is minted');

  const answers = await Promise.all([
    one.call('pool__echo', '{"who":1}', '1'),
    two.call('pool__echo', '{"who":2}', '1'),
    one.call('pool__echo', '{"who":3}', '"1"'),
  ]);
  t.same(
    answers.map((answer) => [textOf(answer), answer.json.id]),
    [
      ['{"who":1}', 1],
      ['{"who":2}', 1],
      ['{"who":3}', '1'],
    ],
  );
  const ids = pooled.calls().map((call) => call.message.id);
  t.equal(new Set(ids).size, 3, 'on a shared session each call has an id of its own');
  t.equal(new Set(pooled.calls().map((call) => call.headers['mcp-session-id'])).size, 1);
});

/** A short body is asked about at its response headers, a longer one comes in full duplex (data-plane/conversation.ts). */
for (const [length, padding] of [
  ['short', ''],
  ['long', `,"arguments":{"padding":"${'.'.repeat(80)}"}`],
] as const) {
  t.test(`answers of every kind reach the client as the upstream gave them: ${length} requests`, (t) =>
    everyKind(t, padding),
  );
}

async function everyKind(t: Test, padding: string): Promise<void> {
  const upstream = await startUpstream(t, {
    tools: ['json', 'sse', 'big', 'bigsse', 'chunked', 'error', 'http500', 'html', 'slow', 'gone', 'nonsense'].map(
      (name) => ({
        name,
        inputSchema: { type: 'object' },
      }),
    ),
  });
  const gateway = await startGateway(t, { config: config({ u: `url: "${upstream.url}", timeout: 2s` }) });
  await gateway.ready('u');
  const session = await openSession(gateway.mcpUrl, gateway.key);
  const message = (name: string, id: string): string =>
    `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"u__${name}"${padding}}}`;
  const call = (name: string, id = '1') => session.send(message(name, id));
  const megabytes = 'x'.repeat(3 << 20);
  let release: () => void = () => {};
  upstream.behaviour.onCall = (arrival, response) => {
    const { id, params } = arrival.message;
    const text = (value: string) => ({ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text: value }] } });
    switch (params?.name) {
      case 'nonsense':
        reply(response, 200, { hello: 'world' });
        return true;
      case 'sse':
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.write(
          `: comment\n\nevent: message\ndata: ${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/progress', params: { progress: 1 } })}\n\n`,
        );
        release = () => response.end(`event: message\r\nid: 3\r\ndata: ${JSON.stringify(text('late'))}\r\n\r\n`);
        return true;
      case 'big':
        reply(response, 200, text(megabytes));
        return true;
      case 'bigsse':
        events(response, [text(megabytes)]);
        return true;
      case 'chunked':
        response.writeHead(200, { 'content-type': 'application/json' });
        response.write('{"jsonrpc":"2.0","result":{"content":[],"n":9007199254740993');
        setTimeout(() => response.end(`},"id":${JSON.stringify(id)}}`), 50);
        return true;
      case 'error':
        reply(response, 400, { jsonrpc: '2.0', id, error: { code: -32602, message: 'bad arguments' } });
        return true;
      case 'http500':
        response.writeHead(500, { 'content-type': 'text/html' }).end('<h1>secret stack trace</h1>');
        return true;
      case 'html':
        response
          .writeHead(200, { 'content-type': 'text/html', 'set-cookie': 'a=b', 'x-powered-by': 'fixture' })
          .end('<p>hello</p>');
        return true;
      case 'slow':
        setTimeout(() => reply(response, 200, text('too late')), 5000).unref();
        return true;
      case 'gone':
        response.destroy();
        return true;
      default:
        return false;
    }
  };
  t.equal(textOf(await call('json')), padding === '' ? '{}' : padding.slice(13));

  // The first event is there before the second is sent.
  const stream = await fetch(gateway.mcpUrl, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      authorization: `Bearer ${gateway.key}`,
      'mcp-session-id': session.id,
    },
    body: message('sse', '5'),
  });
  t.match(stream.headers.get('content-type'), /^text\/event-stream/);
  const reader = (stream.body as ReadableStream<Uint8Array>).getReader();
  let seen = '';
  while (!seen.includes('notifications/progress')) seen += Buffer.from((await reader.read()).value ?? []).toString();
  release();
  for (let part = await reader.read(); !part.done; part = await reader.read())
    seen += Buffer.from(part.value).toString();
  t.match(seen, /late/);
  t.match(seen, /^:\n\n/, 'a comment still keeps the connection alive');

  t.equal(textOf(await call('big')).length, megabytes.length);
  t.equal(textOf(await call('bigsse')).length, megabytes.length);
  t.match(
    (await call('chunked', '"c"')).text,
    /^\{"jsonrpc":"2.0","result":\{"content":\[\],"n":9007199254740993\},"id":"c"\}$/,
  );
  const error = await call('error');
  t.match(
    error,
    { status: 200, json: { id: 1, error: { code: -32602, message: 'bad arguments' } } },
    'an error that a client can read',
  );
  const broken = await call('http500');
  t.equal(broken.status, 200);
  t.match(textOf(broken), /MCP server behind "u" refused the call: it answered HTTP 500/);
  t.notMatch(broken.text, /stack trace/);
  t.equal(
    upstream.calls().filter(({ message }) => message.params?.name === 'error').length,
    1,
    'and it is called once',
  );
  const html = await call('html');
  t.match(textOf(html), /HTTP 200 with text\/html, which is no MCP answer/);
  t.notOk(html.headers.has('set-cookie') || html.headers.has('x-powered-by'));
  t.match(textOf(await call('nonsense')), /its answer is not a JSON-RPC response/);
  const slow = await call('slow');
  t.match(textOf(slow), /did not answer within 2 s.*check before repeating/);
  const gone = await call('gone');
  t.match(textOf(gone), /closed the connection before it answered/);
  t.match(await lastCall(gateway), { verdict: 'failed', reason: 'closed the connection before it answered' });
}

t.test('a dead upstream is shown, fails fast, hides nobody and comes back by itself', async (t) => {
  const [good, bad] = await Promise.all([startUpstream(t), startUpstream(t, { sessions: false })]);
  const nobody = await freePort();
  const gateway = await startGateway(t, {
    config: config({
      good: `url: "${good.url}", refresh: 1s`,
      bad: `url: "${bad.url}", refresh: 1s`,
      never: `url: "http://127.0.0.1:${nobody}/mcp"`,
    }),
  });
  await Promise.all(['good', 'bad'].map((name) => gateway.ready(name)));
  const session = await openSession(gateway.mcpUrl, gateway.key);
  t.same(await session.tools(), ['bad__echo', 'good__echo']);
  const never = await eventually(async () => {
    const { json } = await gateway.admin<{ state: string; lastError: string }>('GET', 'connections/never/status');
    return json.state === 'unavailable' && json;
  });
  t.ok(never.lastError.length > 5, never.lastError);

  await bad.stop();
  const began = performance.now();
  const failed = await session.call('bad__echo');
  t.match(textOf(failed), /MCP server behind "bad" cannot be reached\. Other tools still work/);
  t.equal(failed.json.result?.isError, true);
  t.ok(performance.now() - began < 2000, 'fails fast');
  t.equal(textOf(await session.call('good__echo', '{"x":1}')), '{"x":1}');
  await eventually(
    async () => (await gateway.admin<{ state: string }>('GET', 'connections/bad/status')).json.state === 'unavailable',
  );
  t.same(await session.tools(), ['bad__echo', 'good__echo'], 'its tools stay listed');

  await bad.start();
  await eventually(async () => (await session.call('bad__echo')).json.result?.isError !== true);
  await gateway.ready('bad');

  // The upstream says that its list has changed: seen long before the refresh interval is over.
  good.behaviour.tools.push({ name: 'fresh', inputSchema: { type: 'object' } });
  const looks = () => good.arrivals.filter(({ message }) => message.method === 'tools/list').length;
  const before = looks();
  for (let i = 0; i < 200; i++) good.notify('notifications/tools/list_changed');
  await eventually(async () => (await session.tools()).includes('good__fresh'), 5000);
  t.ok(looks() - before <= 4, 'a flood of changes is a few looks');
  good.behaviour.tools = [];
  t.equal((await gateway.admin('POST', 'connections/good/refresh')).status < 300, true);
  await eventually(async () => !(await session.tools()).includes('good__fresh'), 3000);
});

t.test('five hundred tools over pages of an upstream, and a list that leaves by the edge service', async (t) => {
  const many: ProgrammableUpstream = await startUpstream(t, {
    pageSize: 37,
    tools: Array.from({ length: 500 }, (_, i) => ({
      name: `tool_${i}`,
      description: 'd'.repeat(300),
      inputSchema: { type: 'object' },
      'x-vendor': { keep: i },
    })),
  });
  const gateway = await startGateway(t, { config: config({ many: `url: "${many.url}"` }) });
  await gateway.ready('many');
  const session = await openSession(gateway.mcpUrl, gateway.key);
  const list = await eventually(async () => {
    const answer = await session.send('{"jsonrpc":"2.0","id":"big","method":"tools/list"}');
    return ((answer.json.result?.tools ?? []) as unknown[]).length === 500 && answer;
  });
  t.equal(list.json.id, 'big');
  t.equal(list.headers.get('content-type'), 'application/json');
  t.match(((list.json.result?.tools ?? []) as Record<string, unknown>[])[499], {
    name: 'many__tool_499',
    'x-vendor': { keep: 499 },
  });
  const again = await session.send('{"jsonrpc":"2.0","id":"big","method":"tools/list"}');
  t.equal(again.text, list.text, 'the same bytes each time');
  await delay(500);
  const rows = (
    await gateway.admin<{ items: { verdict: string; bytesOut: number }[] }>(
      'GET',
      'audit/events?method=tools/list&limit=1',
    )
  ).json.items;
  t.match(rows[0], { verdict: 'allowed', bytesOut: list.text.length });
});

t.test('results are recorded as the configuration says', async (t) => {
  const upstream = await startUpstream(t);
  const gateway = await startGateway(t, {
    config: `
connections: { u: { url: "${upstream.url}" } }
audit: { record: { arguments: full, results: redacted }, redactKeys: [ssn] }
`,
  });
  await gateway.ready('u');
  upstream.behaviour.onCall = (arrival, response) => {
    const result = { content: [], structuredContent: { ssn: '123', name: 'x', access_token: 'y' } };
    reply(response, 200, { jsonrpc: '2.0', id: arrival.message.id, result });
    return true;
  };
  const session = await openSession(gateway.mcpUrl, gateway.key);
  await session.call('u__echo', '{"password":"kept in full mode"}');
  const [row] = await eventually(async () => {
    const { json } = await gateway.admin<{ items: Record<string, unknown>[] }>('GET', 'audit/events?method=tools/call');
    return json.items.length > 0 && json.items;
  });
  t.match(row, {
    arguments: { password: 'kept in full mode' },
    result: { structuredContent: { ssn: '[REDACTED]', name: 'x', access_token: '[REDACTED]' } },
    resultSha256: /^[0-9a-f]{64}$/,
  });
});
