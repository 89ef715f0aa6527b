import t from 'tap';
import { MAX_DEPTH } from '../../src/mcp/json.ts';
import { StoreAway } from '../../src/sessions/stored-session.ts';
import { stage } from '../support/conversation.ts';

const call = (name: string, args = '{}', id = '1') =>
  `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"${name}","arguments":${args}}}`;
const PING = '{"jsonrpc":"2.0","id":1,"method":"ping"}';

t.test('initialize opens a session; the list shows what the persona may use', async (t) => {
  const s = stage();
  const session = await s.initialize();
  t.match(session, /^[\x21-\x7e]+$/, 'visible ASCII');
  const list = await s.send('{"jsonrpc":"2.0","id":"a","method":"tools/list"}', { 'mcp-session-id': session });
  t.equal(list.status, 200);
  t.equal(list.json.id, 'a');
  t.same(
    ((list.json.result?.tools ?? []) as { name: string }[]).map((tool) => tool.name),
    ['crm__get', 'files__read', 'files__delete'],
  );

  const reader = s.addKey('reader-key', ['reader']);
  const as = { authorization: `Bearer ${reader}` };
  const mine = await s.initialize(as);
  const seen = await s.send('{"jsonrpc":"2.0","id":1,"method":"tools/list"}', { ...as, 'mcp-session-id': mine });
  t.same(
    ((seen.json.result?.tools ?? []) as { name: string }[]).map((tool) => tool.name),
    ['files__read'],
  );
  const nobody = s.addKey('nobody', ['unheard-of']);
  const none = { authorization: `Bearer ${nobody}` };
  const empty = await s.send('{"jsonrpc":"2.0","id":1,"method":"tools/list"}', {
    ...none,
    'mcp-session-id': await s.initialize(none),
  });
  t.same(empty.json.result, { tools: [] }, 'no persona sees nothing');
});

t.test('a call is forwarded with path, route, credential and name replaced, and nothing of the caller', async (t) => {
  const s = stage();
  const session = await s.initialize();
  const body = call('crm__get', '{"n":9007199254740993, "n2" :1e400}', '"\\u0031"');
  const { forwarded } = await s.send(body, {
    'mcp-session-id': session,
    'content-length': String(body.length),
    cookie: 'c=1',
    'x-tenant': 'acme',
    'last-event-id': '5',
    'x-forwarded-for': '1.2.3.4',
    'accept-encoding': 'gzip',
  });
  t.match(forwarded?.set, {
    ':path': '/crm',
    'x-sallyport-route': 'default/crm',
    authorization: 'Bearer upstream-secret',
    'content-type': 'application/json',
    'mcp-protocol-version': '2025-11-25',
    'x-tenant': 'acme',
  });
  t.equal(forwarded?.body?.toString(), body.replace('crm__get', 'get'), 'every other byte is the same');
  t.equal(forwarded?.set['content-length'], String(body.length - 5));
  t.same([...(forwarded?.removed ?? [])].sort(), [
    'accept-encoding',
    'cookie',
    'last-event-id',
    'mcp-session-id',
    'x-forwarded-for',
  ]);
});

t.test('a tool outside the persona and one that does not exist read the same', async (t) => {
  const s = stage();
  const as = { authorization: `Bearer ${s.addKey('k', ['reader'])}` };
  const session = await s.initialize(as);
  for (const name of ['files__delete', 'crm__get', 'nope__x']) {
    const answer = await s.send(call(name), { ...as, 'mcp-session-id': session });
    t.equal(answer.status, 200);
    t.same(answer.json.result, {
      content: [{ type: 'text', text: `No tool named ${name} is available to you; tools/list shows what is.` }],
      isError: true,
    });
  }
  const calls = s.rows.filter((row) => row.method === 'tools/call');
  t.match(calls, [
    {
      verdict: 'denied',
      tool: 'files__delete',
      rule: 'persona reader: tools deny',
      pattern: '*__delete',
      persona: 'reader',
      subject: 'k',
    },
    { verdict: 'denied', tool: 'crm__get', rule: 'persona reader: tools default', pattern: null },
    { verdict: 'denied', tool: 'nope__x', rule: 'no_tool', reason: 'no such tool in this namespace' },
  ]);
});

t.test('who may not call at all is told how', async (t) => {
  const s = stage();
  const refusals: [string, string | undefined, RegExp][] = [
    ['no key', undefined, /Authorization: Bearer KEY/],
    ['unknown key', 'Bearer sp_nonsense', /not valid/],
    ['not a bearer', 'Basic abc', /not valid/],
    ['expired', `Bearer ${s.addKey('old', ['admin'], { expiresAt: Date.now() - 1 })}`, /not valid/],
    ['revoked', `Bearer ${s.addKey('gone', ['admin'], { revoked: true })}`, /not valid/],
  ];
  for (const [name, authorization, message] of refusals) {
    const answer = await s.send(PING, { authorization });
    t.equal(answer.status, 401, name);
    t.match(answer.json.error?.message, message, name);
    t.match(answer.headers['www-authenticate'], /^Bearer /);
  }
  t.equal(s.rows.length, refusals.length, 'each leaves a row');
  t.ok(s.rows.every((row) => row.verdict === 'denied'));
});

t.test('sessions belong to one principal and one namespace, end, and expire', async (t) => {
  const s = stage();
  const session = await s.initialize();
  const list = '{"jsonrpc":"2.0","id":1,"method":"tools/list"}';
  const other = { authorization: `Bearer ${s.addKey('other', ['admin'])}` };
  t.equal((await s.send(list, {})).status, 400, 'no session id');
  t.equal((await s.send(list, { ...other, 'mcp-session-id': session })).status, 404, 'of another principal');
  t.equal(
    (await s.send(list, { ':path': '/docs/mcp', 'mcp-session-id': session })).status,
    404,
    'of another namespace',
  );
  const last = session.slice(-2) === 'AA' ? 'BB' : 'AA';
  t.equal((await s.send(list, { 'mcp-session-id': session.slice(0, -2) + last })).status, 404, 'tampered with');
  t.equal((await s.send(list, { 'mcp-session-id': 'x'.repeat(5000) })).status, 404, 'far too long');
  t.equal(
    (await s.send(list, { 'mcp-session-id': session, 'mcp-protocol-version': '1999-01-01' })).status,
    400,
    'an unknown revision',
  );
  t.equal((await s.send(list, { 'mcp-session-id': session })).status, 200, 'still good');
  const deleted = await s.send(undefined, { ':method': 'DELETE', ...other, 'mcp-session-id': session });
  t.equal(deleted.status, 404, 'nobody else can end it');
  t.equal((await s.send(undefined, { ':method': 'DELETE', 'mcp-session-id': session })).status, 204);
  const gone = await s.send(list, { 'mcp-session-id': session });
  t.equal(gone.status, 404, 'ended means ended');
  t.equal(gone.json.error?.code, -32001);
});

t.test('bad requests get a status and a sentence, never a crash', async (t) => {
  const s = stage();
  const session = await s.initialize();
  const cases: [string, string | Buffer, Record<string, string | undefined>, number, number][] = [
    ['malformed JSON', '{"jsonrpc":', {}, 400, -32700],
    ['invalid UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d]), {}, 400, -32700],
    ['an empty body', '', {}, 400, -32700],
    ['a batch', `[${PING}]`, {}, 400, -32600],
    ['a repeated key', '{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}', {}, 400, -32600],
    [
      'deep nesting',
      `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":${'['.repeat(MAX_DEPTH)}${']'.repeat(MAX_DEPTH)}}}`,
      {},
      400,
      -32600,
    ],
    ['a wrong content type', PING, { 'content-type': 'text/plain' }, 415, -32000],
    ['a charset that reads differently', PING, { 'content-type': 'application/json; charset=utf-7' }, 415, -32000],
    ['no content type', PING, { 'content-type': undefined }, 415, -32000],
    ['an Accept without JSON', PING, { accept: 'text/html' }, 406, -32000],
    ['a declared length above the limit', PING, { 'content-length': '99999999' }, 413, -32000],
    ['an unknown namespace', PING, { ':path': '/nope/mcp' }, 404, -32000],
    ['a path trick', PING, { ':path': '/../mcp' }, 404, -32000],
    ['a foreign host', PING, { ':authority': 'evil.example' }, 403, -32000],
    ['a host in disguise', PING, { ':authority': '127.0.0.1:80@evil.example' }, 403, -32000],
    ['a foreign origin', PING, { origin: 'https://evil.example' }, 403, -32000],
    ['PUT', PING, { ':method': 'PUT' }, 405, -32000],
    ['an unknown method', '{"jsonrpc":"2.0","id":1,"method":"nope/nope"}', { 'mcp-session-id': session }, 200, -32601],
    [
      'tools/call without a name',
      '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}',
      { 'mcp-session-id': session },
      200,
      -32602,
    ],
    ['arguments that are no object', call('crm__get', '[1]'), { 'mcp-session-id': session }, 200, -32602],
    [
      'a forged cursor',
      '{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"x"}}',
      { 'mcp-session-id': session },
      200,
      -32602,
    ],
  ];
  for (const [name, body, headers, status, code] of cases) {
    const answer = await s.send(body, headers);
    t.equal(answer.status, status, name);
    t.equal(answer.json.error?.code, code, name);
    t.equal(answer.headers['content-type'], 'application/json', name);
    t.ok((answer.json.error?.message ?? '').length > 20, `${name}: ${answer.json.error?.message}`);
  }
  t.equal((await s.send(undefined, {})).status, 405, 'GET');
  t.equal(
    (await s.send('{"jsonrpc":"2.0","method":"notifications/initialized"}', { 'mcp-session-id': session })).status,
    202,
  );
});

t.test('what is recorded is masked', async (t) => {
  const s = stage();
  const session = await s.initialize();
  await s.send(
    call(
      'files__read',
      '{"path":"/x","api_key":"hunter2","deep":[{"Client-Secret":"hunter2"}],"long":"'.concat('y'.repeat(20_000), '"}'),
    ),
    { 'mcp-session-id': session },
  );
  const row = s.rows.find((one) => one.tool === 'files__read');
  t.match(JSON.parse(row?.arguments ?? '{}'), {
    path: '/x',
    api_key: '[REDACTED]',
    deep: [{ 'Client-Secret': '[REDACTED]' }],
    long: '[TRUNCATED: 20000 bytes]',
  });
  t.match(row?.arguments_sha256, /^[0-9a-f]{64}$/);
  t.notMatch(JSON.stringify(s.rows), /hunter2|upstream-secret/);
  t.notOk(JSON.stringify(s.rows).includes(s.key), 'nor is the key');
});

t.test('nothing can be hidden from the record', async (t) => {
  const s = stage();
  const session = { 'mcp-session-id': await s.initialize() };
  await s.send(call('files__read', '{"__proto__":{"hidden":1},"shown":2,"pwd":"hunter2","maxTokens":5}'), session);
  const row = s.rows.find((one) => one.tool === 'files__read');
  t.equal(row?.arguments, '{"__proto__":{"hidden":1},"shown":2,"pwd":"[REDACTED]","maxTokens":5}');
  t.equal((await s.send(call('files__read', '{"path":"/etc/shadow","path":"/tmp/ok"}'), session)).status, 400);
});

t.test('odd but legal clients are served', async (t) => {
  const s = stage();
  const opened = await s.send(
    '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","clientInfo":null}}',
    { 'content-type': 'application/json; charset="UTF-8"' },
  );
  t.equal(opened.status, 200);
});

t.test('what needs Postgres while it is away says so, and is not a fault of ours', async (t) => {
  const s = stage();
  const session = { 'mcp-session-id': await s.initialize() };
  const away = async () => {
    throw new StoreAway('connect ECONNREFUSED');
  };
  Object.assign(s.world, { endSession: away });
  Object.assign(s.world.sessionStore, { setLogLevel: away });
  const level = '{"jsonrpc":"2.0","id":"l","method":"logging/setLevel","params":{"level":"info"}}';
  for (const answer of [await s.send(undefined, { ':method': 'DELETE', ...session }), await s.send(level, session)]) {
    t.equal(answer.status, 503);
    t.match(answer.json.error?.message, /database.*try again/i);
    t.notMatch(answer.text, /ECONNREFUSED|incident/);
  }
  t.match(s.rows.at(-1), { verdict: 'failed', rule: 'store_away', reason: 'connect ECONNREFUSED' });
});
