import t from 'tap';
import { catalog, type Played, type Stage, stage } from '../support/conversation.ts';
import { modernRequest, type Overrides } from '../support/raw-client.ts';

const KEY = 'io.modelcontextprotocol/';
const HEADER_MISMATCH = -32020;

const annotated = {
  type: 'object',
  properties: {
    region: { type: 'string', 'x-mcp-header': 'Region' },
    count: { type: 'integer', 'x-mcp-header': 'Count' },
    deep: { type: 'object', properties: { flag: { type: 'boolean', 'x-mcp-header': 'Flag' } } },
  },
};
const theStage = (): Stage =>
  stage({
    files: catalog({
      tools: [{ name: 'read' }, { name: 'placed', inputSchema: annotated }],
      prompts: [{ name: 'greet' }],
      resources: [{ name: 'file:///a' }],
    }),
  });

const ask = (
  s: Stage,
  method: string,
  params: Record<string, unknown> = {},
  overrides: Overrides = {},
): Promise<Played> => {
  const { body, headers } = modernRequest(method, params, overrides);
  return s.send(body, headers);
};
const call = (s: Stage, overrides: Overrides = {}, name = 'files__read', args?: unknown): Promise<Played> =>
  ask(s, 'tools/call', { name, ...(args !== undefined && { arguments: args }) }, overrides);

t.test('the ladder: each fault has its status, its code, and the id of its request', async (t) => {
  const s = theStage();
  const cases: [string, Overrides, number, number][] = [
    ['no protocol version in the body', { meta: { [`${KEY}protocolVersion`]: undefined } }, 400, -32602],
    ['one that is no string', { meta: { [`${KEY}protocolVersion`]: 5 } }, 400, -32602],
    ['no protocol version in the headers', { headers: { 'mcp-protocol-version': undefined } }, 400, HEADER_MISMATCH],
    ['another one there', { headers: { 'mcp-protocol-version': '2025-11-25' } }, 400, HEADER_MISMATCH],
    ['another case', { headers: { 'mcp-protocol-version': '2026-07-28x' } }, 400, HEADER_MISMATCH],
    [
      'a version to come',
      { meta: { [`${KEY}protocolVersion`]: '2027-01-01' }, headers: { 'mcp-protocol-version': '2027-01-01' } },
      400,
      -32022,
    ],
    [
      'a legacy version in a modern shape',
      { meta: { [`${KEY}protocolVersion`]: '2025-11-25' }, headers: { 'mcp-protocol-version': '2025-11-25' } },
      400,
      -32022,
    ],
    ['no capabilities', { meta: { [`${KEY}clientCapabilities`]: undefined } }, 400, -32602],
    ['capabilities that are no object', { meta: { [`${KEY}clientCapabilities`]: [] } }, 400, -32602],
    ['capabilities without end', { meta: { [`${KEY}clientCapabilities`]: { x: 'y'.repeat(5000) } } }, 400, -32602],
    ['a log level that is none', { meta: { [`${KEY}logLevel`]: 'chatty' } }, 400, -32602],
    ['no Mcp-Method', { headers: { 'mcp-method': undefined } }, 400, HEADER_MISMATCH],
    ['another method', { headers: { 'mcp-method': 'tools/list' } }, 400, HEADER_MISMATCH],
    ['a method in another case', { headers: { 'mcp-method': 'Tools/Call' } }, 400, HEADER_MISMATCH],
    ['no Mcp-Name', { headers: { 'mcp-name': undefined } }, 400, HEADER_MISMATCH],
    ['another name', { headers: { 'mcp-name': 'files__delete' } }, 400, HEADER_MISMATCH],
    ['a name in another case', { headers: { 'mcp-name': 'FILES__READ' } }, 400, HEADER_MISMATCH],
    ['bad Base64 for a name', { headers: { 'mcp-name': '=?base64?!!!?=' } }, 400, HEADER_MISMATCH],
    ['a name with a control character', { headers: { 'mcp-name': 'files__read\x01' } }, 400, HEADER_MISMATCH],
    ['a name far too long', { headers: { 'mcp-name': 'x'.repeat(9000) } }, 400, HEADER_MISMATCH],
  ];
  for (const [what, overrides, status, code] of cases) {
    for (const id of [7, 'seven']) {
      const { status: got, json, forwarded, headers } = await call(s, { ...overrides, id });
      t.equal(got, status, what);
      t.equal(json.error?.code, code, what);
      t.equal(json.id, id, what);
      t.notOk(forwarded, what);
      t.equal(headers['content-type'], 'application/json');
      t.notOk(headers['mcp-session-id']);
    }
  }
  const wrong = await call(s, {
    meta: { [`${KEY}protocolVersion`]: '2027-01-01' },
    headers: { 'mcp-protocol-version': '2027-01-01' },
  });
  t.match(wrong.json.error, { data: { supported: ['2026-07-28'], requested: '2027-01-01' } });
  t.ok(
    s.rows.every((row) => row.verdict === 'failed' || row.verdict === 'denied'),
    'each leaves a row',
  );
  t.equal(s.rows.length, cases.length * 2 + 1);
});

t.test('what the ladder lets pass', async (t) => {
  const s = theStage();
  const passes: [string, Overrides][] = [
    ['all as it should be', {}],
    ['no client info', { meta: { [`${KEY}clientInfo`]: undefined } }],
    ['white space around values', { headers: { 'mcp-name': ' files__read\t', 'mcp-method': ' tools/call ' } }],
    ['an encoded name', { headers: { 'mcp-name': '=?base64?ZmlsZXNfX3JlYWQ=?=' } }],
    ['a session id, which means nothing here', { headers: { 'mcp-session-id': 'forged', 'last-event-id': '5' } }],
    ['an Accept of JSON alone', { headers: { accept: 'application/json' } }],
    ['any Accept', { headers: { accept: '*/*' } }],
    ['an id beyond 2^53', { id: 'x' }],
  ];
  for (const [what, overrides] of passes) {
    const played = await call(s, overrides);
    t.ok(played.forwarded, `${what}: ${played.text}`);
    t.notOk(played.forwarded?.set['mcp-session-id'], what);
  }
});

t.test('a URI beyond ASCII is mirrored in its encoded form', async (t) => {
  const s = theStage();
  const uri = 'files+file:///naïve';
  const encoded = `=?base64?${Buffer.from(uri).toString('base64')}?=`;
  const read = (name: string) => ask(s, 'resources/read', { uri }, { headers: { 'mcp-name': name } });
  t.ok((await read(encoded)).forwarded);
  t.match(await read(uri), { status: 400, json: { error: { code: HEADER_MISMATCH } } }, 'raw bytes are no value');
  t.match(await read(encodeURI(uri)), { status: 400, json: { error: { code: HEADER_MISMATCH } } });
});

t.test('a modern version in the header alone is a modern request without its envelope', async (t) => {
  const s = theStage();
  const session = await s.initialize();
  const bare = await s.send('{"jsonrpc":"2.0","id":1,"method":"tools/list"}', { 'mcp-protocol-version': '2026-07-28' });
  t.match(bare, { status: 400, json: { id: 1, error: { code: -32602 } } });
  const withSession = await s.send('{"jsonrpc":"2.0","id":1,"method":"tools/list"}', {
    'mcp-protocol-version': '2026-07-28',
    'mcp-session-id': session,
  });
  t.match(withSession, { status: 400, json: { error: { code: -32602 } } });
  const claim = await s.send(
    `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"${KEY}protocolVersion":null}}}`,
    { 'mcp-session-id': session },
  );
  t.match(claim, { status: 400, json: { error: { code: -32602 } } }, 'a malformed claim is a claim');
});

t.test('methods per era', async (t) => {
  const s = theStage();
  const session = { 'mcp-session-id': await s.initialize() };
  for (const method of [
    'initialize',
    'ping',
    'logging/setLevel',
    'resources/subscribe',
    'resources/unsubscribe',
    'tasks/result',
    'tasks/list',
    'nope',
    '__proto__',
    'constructor',
  ]) {
    const { status, json } = await ask(s, method, { uri: 'x', taskId: 'x' }, { id: 'm', headers: { 'mcp-name': 'x' } });
    t.equal(status, 404, method);
    t.match(json, { id: 'm', error: { code: -32601 } }, method);
  }
  for (const method of [
    'server/discover',
    'subscriptions/listen',
    'tasks/update',
    'tasks/list',
    'nope',
    '__proto__',
    'toString',
  ]) {
    const { status, json } = await s.send(`{"jsonrpc":"2.0","id":"m","method":"${method}","params":{}}`, session);
    t.equal(status, 200, method);
    t.match(json, { id: 'm', error: { code: -32601 } }, method);
  }
});

t.test('a modern client sends requests; what it notifies of is taken, what it answers is not', async (t) => {
  const s = theStage();
  const headers = { 'mcp-protocol-version': '2026-07-28' };
  const cancelled = await s.send(
    '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}',
    headers,
  );
  t.equal(cancelled.status, 202);
  t.equal(cancelled.text, '');
  for (const answer of [
    '{"jsonrpc":"2.0","id":1,"result":{}}',
    '{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}',
  ]) {
    const { status, json } = await s.send(answer, headers);
    t.equal(status, 400);
    t.equal(json.error?.code, -32600);
    t.equal(json.id, null, 'an error that answers no request has no id: 1 may be a request of the client in flight');
  }
  for (const batch of ['[]', '[{"jsonrpc":"2.0","id":1,"method":"ping"}]']) {
    t.match(await s.send(batch, headers), { status: 400, json: { error: { code: -32600 } } });
  }
  for (const [what, body] of [
    ['id null', '{"jsonrpc":"2.0","id":null,"method":"tools/list","params":{}}'],
    ['a broken number', '{"jsonrpc":"2.0","id":1.5,"method":"tools/list","params":{}}'],
    ['no jsonrpc', '{"id":1,"method":"tools/list","params":{}}'],
    ['params that are a list', '{"jsonrpc":"2.0","id":1,"method":"tools/list","params":[]}'],
    ['both request and response', '{"jsonrpc":"2.0","id":1,"method":"tools/list","result":{}}'],
  ] as const) {
    t.match(await s.send(body, headers), { status: 400, json: { error: { code: -32600 } } }, what);
  }
});

t.test('discovery and lists frame their results', async (t) => {
  const s = theStage();
  const discovered = await ask(s, 'server/discover');
  t.match(discovered.json.result, {
    resultType: 'complete',
    supportedVersions: ['2026-07-28'],
    capabilities: { tools: {} },
    ttlMs: Number,
    cacheScope: 'private',
    _meta: { [`${KEY}serverInfo`]: { name: 'sallyport' } },
  });
  t.notOk(discovered.headers['mcp-session-id'], 'no session is made');
  for (const [method, key] of [
    ['tools/list', 'tools'],
    ['prompts/list', 'prompts'],
    ['resources/list', 'resources'],
    ['resources/templates/list', 'resourceTemplates'],
  ] as const) {
    const { json, status } = await ask(s, method);
    t.equal(status, 200);
    t.match(json.result, { resultType: 'complete', [key]: Array, ttlMs: Number, cacheScope: 'private' }, method);
    t.match(await ask(s, method, { cursor: 'forged' }), { status: 200, json: { error: { code: -32602 } } }, method);
    t.match(await ask(s, method, { cursor: '' }), { status: 200, json: { error: { code: -32602 } } }, method);
  }
});

t.test('arguments that travel in headers: what is sent is what is meant', async (t) => {
  const s = theStage();
  const placed = (args: unknown, headers: Record<string, string | undefined>): Promise<Played> =>
    call(s, { headers }, 'files__placed', args);
  const good: [string, unknown, Record<string, string>][] = [
    ['none', {}, {}],
    ['null is none', { region: null }, {}],
    ['a string', { region: 'eu' }, { 'mcp-param-region': 'eu' }],
    ['encoded', { region: ' eü' }, { 'mcp-param-region': `=?base64?${Buffer.from(' eü').toString('base64')}?=` }],
    ['empty', { region: '' }, { 'mcp-param-region': '' }],
    ['empty, encoded', { region: '' }, { 'mcp-param-region': '=?base64??=' }],
    ['an integer', { count: 42 }, { 'mcp-param-count': '42' }],
    ['an integer in another notation', { count: 42 }, { 'mcp-param-count': '42.0' }],
    ['nested', { deep: { flag: true } }, { 'mcp-param-flag': 'true' }],
    ['what nobody knows', {}, { 'mcp-param-other': 'x' }],
  ];
  for (const [what, args, headers] of good) {
    const { forwarded, text } = await placed(args, headers);
    t.ok(forwarded, `${what}: ${text}`);
    const mirrored = Object.keys(forwarded?.set ?? {}).filter((name) => /^mcp-(name|method|param)/.test(name));
    t.same(mirrored, [], 'a legacy upstream is told nothing twice');
  }
  const bad: [string, unknown, Record<string, string>][] = [
    ['missing', { region: 'eu' }, {}],
    ['missing for an empty value', { region: '' }, {}],
    ['sent for nothing', {}, { 'mcp-param-region': 'eu' }],
    ['sent for null', { region: null }, { 'mcp-param-region': 'null' }],
    ['another', { region: 'eu' }, { 'mcp-param-region': 'us' }],
    ['another case', { region: 'eu' }, { 'mcp-param-region': 'EU' }],
    ['bad Base64', { region: 'eu' }, { 'mcp-param-region': '=?base64?ZXU?=' }],
    ['not text', { region: 'eu' }, { 'mcp-param-region': 'e\x00u' }],
    ['another number', { count: 42 }, { 'mcp-param-count': '43' }],
    ['a number in a string', { region: '100' }, { 'mcp-param-region': '1e2' }],
    ['a boolean in another case', { deep: { flag: true } }, { 'mcp-param-flag': 'True' }],
    ['a beyond-2^53 integer', { count: '9007199254740993' }, { 'mcp-param-count': '9007199254740992' }],
  ];
  for (const [what, args, headers] of bad) {
    const played = await placed(args, headers);
    t.match(played, { status: 400, json: { id: 1, error: { code: HEADER_MISMATCH } } }, what);
  }
});
