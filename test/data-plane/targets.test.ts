import t from 'tap';
import { catalog, type Played, type Stage, stage } from '../support/conversation.ts';
import { modernRequest } from '../support/raw-client.ts';

const kinds = {
  tools: [{ name: 'read' }, { name: 'delete' }],
  prompts: [{ name: 'greet' }, { name: 'delete' }],
  resources: [{ name: 'file:///a' }, { name: 'file:///x__delete' }],
  templates: [{ name: 'file:///{x}' }],
};
const theStage = (): Stage => stage({ files: catalog(kinds), crm: catalog(kinds) });

interface Asker {
  readonly era: string;
  ask(method: string, params: Record<string, unknown>): Promise<Played>;
}
/** The same caller in both eras. */
async function askers(s: Stage, key: string): Promise<Asker[]> {
  const authorization = `Bearer ${key}`;
  const session = await s.initialize({ authorization });
  return [
    {
      era: 'legacy',
      ask: (method, params) =>
        s.send(JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }), { authorization, 'mcp-session-id': session }),
    },
    {
      era: 'modern',
      ask(method, params) {
        const { body, headers } = modernRequest(method, params);
        return s.send(body, { ...headers, authorization });
      },
    },
  ];
}

t.test('what is denied reads as what does not exist', async (t) => {
  const s = theStage();
  for (const { era, ask } of await askers(s, s.addKey('k', ['reader']))) {
    const same = async (
      method: string,
      denied: Record<string, unknown>,
      unknown: Record<string, unknown>,
      code: number | undefined,
    ) => {
      const told = async (params: Record<string, unknown>): Promise<string> => {
        const { status, text, forwarded, json } = await ask(method, params);
        t.notOk(forwarded, `${era} ${JSON.stringify(params)}`);
        t.equal(json.error?.code, code, `${era} ${JSON.stringify(params)}: ${text}`);
        const name = String(
          params.name ??
            params.uri ??
            (params.ref as Record<string, unknown>).name ??
            (params.ref as Record<string, unknown>).uri,
        );
        return `${status} ${text.replaceAll(name, 'NAME')}`;
      };
      t.equal(await told(denied), await told(unknown), `${era} ${method}`);
    };
    const argument = { name: 'x', value: '' };
    const noResource = era === 'modern' ? -32602 : -32002;
    await same('tools/call', { name: 'files__delete' }, { name: 'files__nope' }, undefined);
    await same('tools/call', { name: 'crm__read' }, { name: 'nope' }, undefined);
    await same('prompts/get', { name: 'files__delete' }, { name: 'files__nope' }, -32602);
    await same('prompts/get', { name: 'crm__greet' }, { name: 'nope' }, -32602);
    await same('resources/read', { uri: 'files+file:///x__delete' }, { uri: 'nope+file:///a' }, noResource);
    await same('resources/read', { uri: 'crm+file:///a' }, { uri: 'nope:a' }, noResource);
    await same(
      'completion/complete',
      { ref: { type: 'ref/prompt', name: 'crm__greet' }, argument },
      { ref: { type: 'ref/prompt', name: 'nope' }, argument },
      -32602,
    );
    await same(
      'completion/complete',
      { ref: { type: 'ref/resource', uri: 'crm+file:///{x}' }, argument },
      { ref: { type: 'ref/resource', uri: 'nope:{x}' }, argument },
      noResource,
    );
    if (era === 'legacy') await same('resources/subscribe', { uri: 'crm+file:///a' }, { uri: 'nope:a' }, noResource);
    for (const [method, params] of [
      ['tools/call', { name: 'files__read' }],
      ['prompts/get', { name: 'files__greet' }],
      ['resources/read', { uri: 'files+file:///a' }],
      ['resources/read', { uri: 'files+file:///unlisted' }],
      ['completion/complete', { ref: { type: 'ref/resource', uri: 'files+file:///{x}' }, argument }],
    ] as const) {
      t.ok((await ask(method, params)).forwarded, `${era} ${method} is allowed`);
    }
  }
  const reasons = s.rows.filter(({ verdict }) => verdict === 'denied').map(({ rule, reason }) => `${rule} ${reason}`);
  t.ok(
    reasons.some((text) => text.startsWith('persona reader: tools deny')),
    'the audit knows why',
  );
  t.ok(reasons.some((text) => text.includes('no upstream of this namespace owns it')));
});

t.test('lists show what may be had, of every kind', async (t) => {
  const s = theStage();
  for (const { era, ask } of await askers(s, s.addKey('k', ['reader']))) {
    const list = async (method: string, key: string, own: string): Promise<unknown[] | undefined> =>
      ((await ask(method, {})).json.result?.[key] as Record<string, unknown>[] | undefined)?.map((item) => item[own]);
    t.same(await list('tools/list', 'tools', 'name'), ['files__read'], era);
    t.same(await list('prompts/list', 'prompts', 'name'), ['files__greet'], era);
    t.same(await list('resources/list', 'resources', 'uri'), ['files+file:///a'], era);
    t.same(await list('resources/templates/list', 'resourceTemplates', 'uriTemplate'), ['files+file:///{x}'], era);
  }
});

t.test('parameters that name nothing', async (t) => {
  const s = theStage();
  for (const { era, ask } of await askers(s, s.key)) {
    for (const [method, params] of [
      ['tools/call', {}],
      ['tools/call', { name: 5 }],
      ['prompts/get', {}],
      ['prompts/get', { name: null }],
      ['resources/read', {}],
      ['resources/read', { uri: ['x'] }],
      ['completion/complete', {}],
      ['completion/complete', { ref: 'x' }],
      ['completion/complete', { ref: { type: 'ref/other', name: 'x' } }],
      ['completion/complete', { ref: { type: 'ref/prompt', uri: 'x' } }],
      ['completion/complete', { ref: { name: 'files__greet' } }],
      ['tasks/get', {}],
      ['tasks/get', { taskId: 'nobody-made-this' }],
      ['tasks/cancel', { taskId: 'x'.repeat(20_000) }],
    ] as const) {
      const { json, forwarded, text } = await ask(method, params);
      // What has to be mirrored and is not there is a header's fault first.
      t.match(json.error?.code, era === 'modern' ? /-32602|-32020/ : /-32602/, `${era} ${method} ${text}`);
      t.notOk(forwarded);
    }
  }
});

t.test('task ids belong to whom they were given', async (t) => {
  const s = theStage();
  const handle = s.world.handles.wrap('task', 'api_key:first', ['files', 't"1']);
  for (const { era, ask } of await askers(s, s.key)) {
    const { forwarded } = await ask('tasks/get', { taskId: handle });
    t.match(JSON.parse(forwarded?.body?.toString() ?? '{}'), { params: { taskId: 't"1' } }, era);
  }
  for (const { era, ask } of await askers(s, s.addKey('other', ['admin']))) {
    t.match(await ask('tasks/get', { taskId: handle }), { json: { error: { code: -32602 } } }, era);
  }
  for (const [kind, owner] of [
    ['request', 'api_key:first'],
    ['task', 'first'],
  ] as const) {
    const other = s.world.handles.wrap(kind, owner, ['files', 't1']);
    for (const { ask } of await askers(s, s.key))
      t.match(await ask('tasks/get', { taskId: other }), { json: { error: { code: -32602 } } });
  }
  const away = s.world.handles.wrap('task', 'api_key:first', ['gone', 't1']);
  for (const { ask } of await askers(s, s.key))
    t.match(await ask('tasks/get', { taskId: away }), { json: { error: { code: -32602 } } });
});

t.test('a client promises on behalf of nobody: what the gateway offers is what its members have', async (t) => {
  const bare = catalog({}, { capabilities: { tools: {} } });
  const offered = async (s: Stage): Promise<Record<string, unknown>> => {
    const { json } = await s.send(
      '{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}',
    );
    const { body, headers } = modernRequest('server/discover');
    const modern = (await s.send(body, headers)).json.result?.capabilities as Record<string, unknown>;
    t.same(Object.keys(modern).sort(), Object.keys(json.result?.capabilities as object).sort());
    return modern;
  };
  t.same(Object.keys(await offered(stage({ files: bare, crm: bare }))), ['tools']);
  const full = catalog({});
  t.match(await offered(stage({ files: bare, crm: full })), {
    prompts: {},
    resources: { subscribe: true },
    completions: {},
    logging: {},
  });
  const extended = catalog(
    {},
    { capabilities: { extensions: { 'vendor/unknown': {}, 'io.modelcontextprotocol/ui': { a: 1 } } } },
  );
  t.same((await offered(stage({ files: extended, crm: bare }))).extensions, { 'io.modelcontextprotocol/ui': { a: 1 } });
});

t.test('messages of a legacy session that are no requests', async (t) => {
  const s = theStage();
  const session = { 'mcp-session-id': await s.initialize() };
  const send = (body: string, headers: Record<string, string | undefined> = session) => s.send(body, headers);
  for (const method of ['initialized', 'cancelled', 'progress', 'roots/list_changed', 'vendor/thing']) {
    const { status, text } = await send(
      `{"jsonrpc":"2.0","method":"notifications/${method}","params":{"requestId":1}}`,
    );
    t.equal(status, 202, method);
    t.equal(text, '');
    t.equal(
      (await send(`{"jsonrpc":"2.0","method":"notifications/${method}"}`, {})).status,
      400,
      'without its session',
    );
  }
  const handle = s.world.handles.wrap('request', 'another-session', ['files', '1']);
  for (const id of ['1', '"1"', '"forged"', JSON.stringify(handle), 'null', '1.5']) {
    for (const outcome of ['"result":{}', '"error":{"code":1,"message":""}']) {
      const { status, json, forwarded } = await send(`{"jsonrpc":"2.0","id":${id},${outcome}}`);
      t.equal(status, 400, id);
      t.equal(json.error?.code, -32600);
      t.equal(json.id, null);
      t.notOk(forwarded);
    }
  }
  t.equal((await send('{"jsonrpc":"2.0","result":{}}')).status, 400);
});

t.test('batches are for sessions of 2025-03-26', async (t) => {
  const s = theStage();
  const batch = '[{"jsonrpc":"2.0","id":1,"method":"ping"}]';
  const of = async (version: string): Promise<string> =>
    (await s.send(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"${version}"}}`)).headers[
      'mcp-session-id'
    ] ?? '';
  for (const version of ['2024-11-05', '2025-06-18', '2025-11-25']) {
    t.match(
      await s.send(batch, { 'mcp-session-id': await of(version) }),
      { status: 400, json: { id: null, error: { code: -32600 } } },
      version,
    );
  }
  t.match((await s.send(batch, { 'mcp-session-id': await of('2025-03-26') })).forwarded?.set, {
    'x-sallyport-route': /relay/,
  });
  t.equal((await s.send(batch, {})).status, 400, 'without a session');
  t.equal((await s.send(batch, { 'mcp-session-id': 'forged' })).status, 404);
  t.equal((await s.send('[', { 'mcp-session-id': await of('2025-03-26') })).json.error?.code, -32700);
});

t.test('versions of a legacy session', async (t) => {
  const s = theStage();
  const session = await s.initialize();
  const list = (version: string | undefined) =>
    s.send('{"jsonrpc":"2.0","id":1,"method":"tools/list"}', {
      'mcp-session-id': session,
      'mcp-protocol-version': version,
    });
  for (const version of [undefined, '2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05'])
    t.equal((await list(version)).status, 200, version ?? 'none');
  for (const version of ['', '1', '2024-10-07', '2027-01-01', 'latest'])
    t.equal((await list(version)).status, 400, `"${version}"`);
  for (const version of ['2024-10-07', '2026-07-28', '2030-01-01', 'x']) {
    const { json } = await s.send(
      `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"${version}"}}`,
    );
    t.equal(json.result?.protocolVersion, '2025-11-25', version);
  }
});

t.test('who may connect: Origin alone, Host alone', async (t) => {
  const s = theStage();
  const { body, headers } = modernRequest('tools/list');
  for (const origin of [
    'https://evil.example',
    'null',
    '',
    'http://127.0.0.1.evil.example',
    'http://localhost:1234',
    'file://',
  ]) {
    t.match(await s.send(body, { ...headers, origin }), { status: 403 }, `Origin ${origin}`);
  }
  for (const authority of [
    'evil.example',
    '127.0.0.1.evil.example',
    'localhost.evil.example:8080',
    '',
    '127.0.0.1:8080@evil',
    '127.0.0.1#x',
  ]) {
    t.match(await s.send(body, { ...headers, ':authority': authority }), { status: 403 }, `Host ${authority}`);
  }
  for (const authority of ['127.0.0.1', 'LOCALHOST:9', '[::1]:8080'])
    t.equal((await s.send(body, { ...headers, ':authority': authority })).status, 200, authority);
  const stranger = await s.send(body, { ...headers, origin: 'https://evil.example', authorization: undefined });
  t.equal(stranger.status, 403, 'before anything is said about keys');
});
