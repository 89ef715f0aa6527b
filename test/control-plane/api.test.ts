import { createHash, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { z } from 'zod';
import { mergeMetrics } from '../../src/control-plane/metrics.ts';
import { mergePatch } from '../../src/control-plane/named-resource.ts';
import { startPostgres } from '../support/postgres.ts';
import { ADMIN_TOKEN, type Answer, controlPlane } from './harness.ts';

const postgres = await startPostgres();
const plane = await controlPlane(await postgres.createDatabase({ migrated: false }), {
  env: { CRM_TOKEN: 'from-env', DATABASE_URL: 'x' },
});
t.teardown(async () => {
  await plane.stop();
  await postgres.stop();
});
const { call } = plane;
const isProblem = (t: Test, answer: Answer, status: number) => {
  t.equal(answer.status, status);
  t.equal(answer.headers.get('content-type'), 'application/problem+json');
  t.match(answer.body, { type: 'about:blank', title: String, status, detail: String });
};
const revisions = async () => (await call('GET', '/config/revisions?limit=1000')).body.items.length;
const stored = async () => {
  const { rows } = await plane.database.pool.query('select * from connections; select * from credentials');
  return JSON.stringify(rows);
};

t.test('without the admin token, or with another, nothing opens', async (t) => {
  for (const authorization of ['', 'Bearer wrong', `Basic ${ADMIN_TOKEN}`, `Bearer ${ADMIN_TOKEN} x`]) {
    const answer = await call('GET', '/connections', undefined, { authorization });
    isProblem(t, answer, 401);
    t.match(answer.headers.get('www-authenticate'), /^Bearer/);
  }
  isProblem(t, await call('GET', '/nothing/here'), 404);
  for (const open of ['/openapi.json', '/config.schema.json']) {
    t.equal((await call('GET', open, undefined, { authorization: '' })).status, 200);
  }
});

t.test('a new gateway has its default namespace, no connection, a first key and one active revision', async (t) => {
  t.match((await call('GET', '/namespaces')).body.items, [{ name: 'default', connections: ['*'], prefix: 'always' }]);
  t.strictSame((await call('GET', '/connections')).body, { items: [] });
  t.match((await call('GET', '/keys')).body.items, [{ name: 'first', roles: ['admin'] }]);
  t.match(plane.messages, [{ type: 'ready', adminUrl: plane.adminUrl, firstKey: /^sp_/ }]);
  t.equal(await revisions(), 1);
});

t.test('secrets read back as [REDACTED], and writing that keeps them', async (t) => {
  const crm = { name: 'crm', url: 'https://crm.example.com/mcp', auth: { type: 'bearer', token: 's3cret-value' } };
  const made = await call('POST', '/connections', crm);
  t.equal(made.status, 201);
  t.equal(made.headers.get('location'), '/api/v1/connections/crm');
  t.strictSame(made.body.auth, { type: 'bearer', token: '[REDACTED]' });
  t.match(made.body, {
    timeout: '30s',
    refresh: '1m',
    session: 'auto',
    version: 1,
    owner: 'api',
    status: { state: 'pending' },
  });
  t.notMatch(await stored(), /s3cret-value/);

  const credential = async () =>
    (await plane.database.pool.query('select id, ciphertext, key_id from credentials')).rows;
  const before = await credential();
  const read = await call('GET', '/connections/crm');
  const kept = await call('PUT', '/connections/crm', { ...read.body, timeout: '5s' });
  t.match(kept.body, { timeout: '5s', version: 2 });
  t.strictSame(await credential(), before, 'the secret was not touched');

  await call('PATCH', '/connections/crm', { auth: { token: 'another' } });
  const [after] = await credential();
  t.not(after.id, before[0].id, 'another secret is another credential');
  t.equal((await call('GET', '/connections/crm')).body.version, 3);

  isProblem(
    t,
    await call('PUT', '/connections/new', { url: 'http://x/', auth: { type: 'bearer', token: '[REDACTED]' } }),
    400,
  );
  t.equal((await call('GET', '/connections/new')).status, 404);

  await call('PATCH', '/connections/crm', { auth: { token: { env: 'CRM_TOKEN' } } });
  t.match((await call('GET', '/config/export')).body.connections.crm.auth, { token: { env: 'CRM_TOKEN' } });
  const ours = await call('PATCH', '/connections/crm', { auth: { token: { env: 'DATABASE_URL' } } });
  isProblem(t, ours, 400);
  t.match(ours.body.errors, [{ path: 'auth.token', message: /DATABASE_URL is not set/ }]);

  await call('PATCH', '/connections/crm', { auth: { type: 'none', token: null } });
  t.strictSame(await credential(), [], 'no auth, no credential');
});

t.test('what a body says wrong is told with its path; nothing is stored', async (t) => {
  const before = await revisions();
  const answer = await call('POST', '/connections', { name: 'a__b', url: 'ftp://x', timeuot: '3s' });
  isProblem(t, answer, 400);
  t.strictSame(answer.body.errors.map((error: { path: string }) => error.path).sort(), ['name', 'timeuot', 'url']);
  t.match(answer.body.detail, /timeout/, 'the nearest key is named');
  isProblem(t, await call('POST', '/connections', '{"name": ', { 'content-type': 'application/json' }), 400);
  isProblem(t, await call('POST', '/connections', 'name: x', { 'content-type': 'text/plain' }), 415);
  isProblem(t, await call('POST', '/connections', [1]), 400);
  isProblem(
    t,
    await call('POST', '/connections', '"x"'.padEnd(5 * 1024 * 1024), { 'content-type': 'application/json' }),
    413,
  );
  isProblem(t, await call('GET', '/connections?lmit=3'), 400);
  isProblem(t, await call('GET', '/connections?cursor=nonsense'), 400);
  isProblem(t, await call('GET', '/connections?limit=0'), 400);
  isProblem(t, await call('PUT', '/connections/crm', { name: 'other', url: 'http://x/' }), 400);
  isProblem(t, await call('PUT', '/connections/a__b', { url: 'http://x/' }), 400);
  isProblem(t, await call('PUT', '/connections/crm', 3), 400);
  t.equal(await revisions(), before);
});

t.test('text that is none, and places that no list has, are faults of the request', async (t) => {
  const lone = '\\ud800';
  for (const kind of ['connections', 'namespaces', 'personas', 'keys']) {
    isProblem(t, await call('GET', `/${kind}/a%00b`), 400);
    isProblem(t, await call('DELETE', `/${kind}/a%00b`), 400);
  }
  isProblem(t, await call('POST', '/connections/a%00b/test'), 400);
  for (const filter of ['tool', 'principal', 'session', 'method', 'connection', 'namespace', 'persona']) {
    for (const path of ['events', 'stats']) {
      const answer = await call('GET', `/audit/${path}?${filter}=%00`);
      isProblem(t, answer, 400);
      t.match(answer.body.errors, [{ path: filter, message: /U\+0000/ }]);
    }
  }
  for (const bad of ['\\u0000', lone]) {
    const bodies: [string, string, string][] = [
      ['/personas', `{"name":"p","subjects":["a${bad}"]}`, 'subjects[0]'],
      ['/personas', `{"name":"p","roles":["r"],"description":"a${bad}"}`, 'description'],
      ['/connections', `{"name":"c","url":"http://a","description":"${bad}b"}`, 'description'],
      [
        '/connections',
        `{"name":"c","url":"http://a","auth":{"type":"basic","username":"${bad}","password":"x"}}`,
        'auth.username',
      ],
      ['/namespaces', `{"name":"n","connections":[],"description":"${bad}"}`, 'description'],
    ];
    for (const [path, body, place] of bodies) {
      const answer = await call('POST', path, body, { 'content-type': 'application/json' });
      isProblem(t, answer, 400);
      t.equal(answer.body.errors?.[0]?.path, place, body);
    }
  }
  isProblem(t, await call('GET', `/keys/${'-'.repeat(36)}`), 404);
  isProblem(t, await call('DELETE', `/keys/${'-'.repeat(36)}`), 404);
  const far = (at: number) => Buffer.from(JSON.stringify([at, randomUUID()])).toString('base64url');
  for (const at of [-8.64e15, Number.MAX_SAFE_INTEGER])
    for (const list of ['keys', 'audit/events']) isProblem(t, await call('GET', `/${list}?cursor=${far(at)}`), 400);
  t.equal((await call('GET', `/keys/${randomUUID()}`)).status, 404);
});

t.test('a revision that cannot be served is refused as a whole', async (t) => {
  const before = await revisions();
  const answer = await call('PUT', '/namespaces/docs', { connections: ['crm', 'nowhere'] });
  isProblem(t, answer, 422);
  t.match(answer.body.errors, [{ path: 'namespaces.docs.connections[1]', message: /no connection named "nowhere"/ }]);
  t.equal((await call('GET', '/namespaces/docs')).status, 404);
  t.equal(await revisions(), before);

  t.equal((await call('PUT', '/namespaces/docs', { connections: ['crm'] })).status, 201);
  isProblem(t, await call('DELETE', '/connections/crm'), 422);
  t.equal((await call('DELETE', '/namespaces/docs')).status, 204);
});

t.test('ETags: a write that read an older version is refused', async (t) => {
  const { headers, body } = await call('GET', '/connections/crm');
  const etag = headers.get('etag') as string;
  t.equal(etag, `"${body.version}"`);
  t.equal((await call('PATCH', '/connections/crm', { timeout: '7s' }, { 'if-match': etag })).status, 200);
  isProblem(t, await call('PATCH', '/connections/crm', { timeout: '8s' }, { 'if-match': etag }), 412);
  isProblem(t, await call('DELETE', '/connections/crm', undefined, { 'if-match': etag }), 412);
  isProblem(t, await call('PUT', '/connections/crm', { url: 'http://x/' }, { 'if-none-match': '*' }), 409);
  isProblem(t, await call('PUT', '/connections/none', { url: 'http://x/' }, { 'if-match': '*' }), 404);
  isProblem(t, await call('POST', '/connections', { name: 'crm', url: 'http://x/' }), 409);
  t.equal((await call('GET', '/connections/crm')).body.timeout, '7s');
});

t.test('a write that changes nothing makes no revision and no version', async (t) => {
  const { body } = await call('GET', '/connections/crm');
  const before = await revisions();
  t.equal((await call('PUT', '/connections/crm', body)).body.version, body.version);
  t.equal(await revisions(), before);
});

t.test('lists come in pages', async (t) => {
  for (const name of ['B-upper', 'a.lower', 'z9', 'k-1']) {
    t.equal((await call('PUT', `/personas/${name}`, { roles: [name], tools: { allow: ['*'] } })).status, 201);
  }
  const names: string[] = [];
  let cursor = '';
  do {
    const { body } = await call('GET', `/personas?limit=2${cursor}`);
    t.ok(body.items.length <= 2);
    names.push(...body.items.map((item: { name: string }) => item.name));
    cursor = body.nextCursor === undefined ? '' : `&cursor=${body.nextCursor}`;
  } while (cursor !== '');
  t.strictSame(names, ['B-upper', 'a.lower', 'admin', 'k-1', 'z9']);
  for (const name of names.filter((one) => one !== 'admin'))
    t.equal((await call('DELETE', `/personas/${name}`)).status, 204);
});

t.test('keys are shown once, stored hashed, and revoked for good', async (t) => {
  const made = await call('POST', '/keys', { name: 'ci', roles: ['analyst'], expires: '2099-01-01' });
  t.equal(made.status, 201);
  t.equal(made.headers.get('cache-control'), 'no-store');
  t.match(made.body, { name: 'ci', key: /^sp_[\w-]{32}$/, roles: ['analyst'], expiresAt: '2099-01-01T00:00:00.000Z' });
  const { rows } = await plane.database.pool.query('select * from api_keys where name = $1', ['ci']);
  t.strictSame(rows[0].hash, createHash('sha256').update(made.body.key).digest());
  t.notMatch(JSON.stringify(rows), new RegExp(made.body.key));
  t.notMatch(JSON.stringify((await call('GET', '/keys')).body), new RegExp(made.body.key));
  isProblem(t, await call('POST', '/keys', { name: 'ci', roles: ['x'] }), 409);
  isProblem(t, await call('POST', '/keys', { name: 'old', roles: ['x'], expires: '2001-01-01' }), 400);
  isProblem(t, await call('POST', '/keys', { name: 'none', roles: [] }), 400);

  t.equal((await call('DELETE', '/keys/ci')).status, 204);
  isProblem(t, await call('DELETE', '/keys/ci'), 404);
  t.match((await call('GET', `/keys/${made.body.id}`)).body, { revokedAt: String });
  t.notOk((await call('GET', '/keys')).body.items.some((key: { name: string }) => key.name === 'ci'));
  t.ok((await call('GET', '/keys?revoked=true')).body.items.some((key: { name: string }) => key.name === 'ci'));
  const seq = await plane.database.pool.query('select seq from api_keys where name = $1', ['ci']);
  t.ok(seq.rows[0].seq > rows[0].seq, 'processes that read on by seq learn of it');
  t.equal((await call('POST', '/keys', { name: 'ci', roles: ['analyst'] })).status, 201, 'the name is free again');
});

t.test('personas explain themselves', async (t) => {
  await plane.database.pool.query(
    `insert into catalog_status (connection_id, tenant_id, state) select id, tenant_id, 'ready' from connections`,
  );
  await plane.database.pool.query(
    `insert into catalog_items (kind, connection_id, position, name, definition, digest)
     select 'tools', id, 0, 'get_account', '{"name":"get_account","description":"Reads an account","inputSchema":{"type":"object"}}', 'd1' from connections where name = 'crm'
     union all select 'tools', id, 1, 'delete_account', '{"name":"delete_account","inputSchema":{"type":"object"}}', 'd2' from connections where name = 'crm'
     union all select 'prompts', id, 0, 'greet', '{"name":"greet","title":"Hello"}', 'd3' from connections where name = 'crm'
     union all select 'resources', id, 0, 'file:///a', '{"uri":"file:///a","name":"a"}', 'd4' from connections where name = 'crm'
     union all select 'templates', id, 0, 'memo://{id}', '{"uriTemplate":"memo://{id}","name":"m"}', 'd5' from connections where name = 'crm'`,
  );
  const ask = (principal: string, tool: string, more = '') =>
    call('GET', `/personas/explain?principal=${principal}&tool=${tool}${more}`);
  t.match((await ask('first', 'crm__get_account')).body, { allowed: true, persona: 'admin', pattern: '*' });
  await call('POST', '/personas', {
    name: 'analyst',
    roles: ['analyst'],
    tools: { allow: ['crm__*'], deny: ['*__delete_*'] },
  });
  t.match((await ask('ci', 'crm__get_account')).body, {
    allowed: true,
    persona: 'analyst',
    rule: 'persona analyst: tools allow',
    pattern: 'crm__*',
    connection: 'crm',
    upstreamTool: 'get_account',
  });
  t.match((await ask('ci', 'crm__delete_account')).body, {
    allowed: false,
    list: 'tools',
    pattern: '*__delete_*',
    reason: /denies the tool/,
  });
  t.match((await ask('first', 'crm__get_account')).body, { allowed: true, persona: 'admin' }, 'as before');
  t.match((await ask('someone', 'crm__get_account', '&roles=unheard-of')).body, {
    allowed: false,
    persona: null,
    reason: /No persona fits "someone", which has the roles unheard-of/,
  });
  t.match((await ask('someone', 'crm__get_account', '&roles=analyst,x')).body, { allowed: true });
  t.match((await call('POST', '/personas/explain', { principal: 'ci', tool: 'nope' })).body, {
    allowed: false,
    exists: false,
  });
  isProblem(t, await call('POST', '/personas/explain', { principal: 'ci', tool: 'x', namespace: 'nope' }), 404);

  t.match(
    (await call('GET', '/tools')).body.items.map((tool: { name: string }) => tool.name),
    ['crm__get_account', 'crm__delete_account'],
  );
  t.match((await call('GET', '/tools?persona=analyst')).body.items, [
    { name: 'crm__get_account', upstreamName: 'get_account', digest: 'd1' },
  ]);
  t.match((await call('GET', '/tools/search?q=reads%20account')).body.items, [{ name: 'crm__get_account' }]);
  t.match((await call('GET', '/tools/crm__get_account')).body, {
    connection: 'crm',
    description: 'Reads an account',
    inputSchema: {},
  });
  isProblem(t, await call('GET', '/tools/crm__none'), 404);
  const of = { connection: 'crm', digest: /^d/ };
  t.match((await call('GET', '/prompts')).body.items, [
    { name: 'crm__greet', upstreamName: 'greet', title: 'Hello', ...of },
  ]);
  t.match((await call('GET', '/resources?persona=analyst')).body.items, [
    { uri: 'crm+file:///a', upstreamUri: 'file:///a', name: 'a', ...of },
  ]);
  t.match((await call('GET', '/resources/templates')).body.items, [
    { uriTemplate: 'crm+memo://{id}', upstreamUriTemplate: 'memo://{id}', ...of },
  ]);
  t.match((await call('GET', '/connections/crm/status')).body, { tools: 2, prompts: 1, resources: 1, templates: 1 });
  const { body } = await call('GET', '/tools?limit=1');
  t.equal((await call('GET', `/tools?limit=1&cursor=${body.nextCursor}`)).body.items[0].name, 'crm__delete_account');
  isProblem(t, await call('POST', '/tools/call', { name: 'crm__get_account' }), 502);
});

t.test('a configuration goes out and comes back without a change; a dry run keeps nothing', async (t) => {
  await call('PATCH', '/connections/crm', { auth: { type: 'basic', username: 'u', password: 'hidden-password' } });
  const exported = (await call('GET', '/config/export')).body;
  t.notMatch(JSON.stringify(exported), /hidden-password/);
  const before = await revisions();
  t.strictSame((await call('POST', '/config/apply', exported)).body, { dryRun: false, changes: [], revision: null });
  const yaml = await call('GET', '/config/export?format=yaml');
  t.equal(yaml.headers.get('content-type'), 'application/yaml');
  t.strictSame(
    (await call('POST', '/config/apply', yaml.body, { 'content-type': 'application/yaml' })).body.changes,
    [],
  );
  t.equal(await revisions(), before);

  const next = {
    connections: { ...exported.connections, extra: { url: 'http://127.0.0.1:1/mcp' } },
    identity: {
      apiKeys: [
        { name: 'declared', key: { value: 'a-declared-key-of-length', ref: { env: 'DECLARED' } }, roles: ['analyst'] },
      ],
    },
  };
  const expected = [
    { kind: 'added', section: 'connections', name: 'extra', fields: [] },
    { kind: 'added', section: 'apiKeys', name: 'declared', fields: [] },
  ];
  t.strictSame((await call('POST', '/config/diff', next)).body.changes, expected);
  t.strictSame((await call('POST', '/config/apply?dryRun=true', next)).body, {
    dryRun: true,
    changes: expected,
    revision: null,
  });
  t.equal((await call('GET', '/connections/extra')).status, 404);
  const applied = (await call('POST', '/config/apply', next)).body;
  t.match(applied, { changes: expected, revision: Number });
  t.match((await call('GET', '/config/export')).body.identity.apiKeys, [
    { name: 'declared', key: { env: 'DECLARED' } },
  ]);
  t.strictSame((await call('POST', '/config/diff', next)).body.changes, [], 'what was applied is no difference');
  t.match((await call('GET', '/keys')).body.items.map((key: { name: string }) => key.name).sort(), [
    'ci',
    'declared',
    'first',
  ]);

  t.match(
    (await call('POST', '/config/apply', { connections: exported.connections, identity: { apiKeys: [] } })).body
      .changes,
    [
      { kind: 'removed', section: 'connections', name: 'extra' },
      { kind: 'removed', section: 'apiKeys', name: 'declared' },
    ],
  );
  t.match((await call('GET', '/keys')).body.items.map((key: { name: string }) => key.name).sort(), ['ci', 'first']);
  isProblem(t, await call('POST', '/config/apply', { namespaces: { x: { connections: ['nope'] } } }), 422);
  isProblem(t, await call('POST', '/config/apply?dryRun=true', { namespaces: { x: { connections: ['nope'] } } }), 422);
  const broken = await call('POST', '/config/apply', 'connections:\n  x: { ulr: y }\n', {
    'content-type': 'application/yaml',
  });
  isProblem(t, broken, 400);
  t.match(broken.body.detail, /body:2:\d+: connections\.x/);

  const back = await call('POST', '/config/rollback', { revision: applied.revision });
  t.match(back.body, { changes: [{ kind: 'added', section: 'connections', name: 'extra' }], revision: Number });
  t.match((await call('GET', `/config/revisions/${back.body.revision}`)).body, {
    reason: /roll back to revision/,
    document: { tenants: [{}] },
  });
  isProblem(t, await call('POST', '/config/rollback', { revision: 99999 }), 404);
  await call('DELETE', '/connections/extra');
});

t.test('rolling back cannot bring back a secret that is gone, and says so', async (t) => {
  await call('PUT', '/connections/gone', {
    url: 'http://127.0.0.1:1/',
    auth: { type: 'bearer', token: 'gone-secret' },
  });
  const [newest] = (await call('GET', '/config/revisions?limit=1')).body.items;
  await call('DELETE', '/connections/gone');
  const answer = await call('POST', '/config/rollback', { revision: newest.id });
  isProblem(t, answer, 400);
  t.match(answer.body.errors, [{ path: 'connections.gone.auth.token', message: /none is stored/ }]);
  t.equal((await call('GET', '/connections/gone')).status, 404);
});

t.test('writers that come at once are served one after another', async (t) => {
  const before = await revisions();
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, i) => call('PUT', `/connections/many-${i}`, { url: `http://127.0.0.1:1/${i}` })),
  );
  t.ok(answers.every(({ status }) => status === 201));
  t.equal(await revisions(), before + 20);
  const same = await Promise.all(
    Array.from({ length: 5 }, () => call('POST', '/connections', { name: 'race', url: 'http://127.0.0.1:1/' })),
  );
  t.strictSame(same.map(({ status }) => status).sort(), [201, 409, 409, 409, 409]);
  const { rows } = await plane.database.pool.query('select document from revisions order by id desc limit 1');
  t.equal(rows[0].document.tenants[0].connections.length, 22, 'the last revision has them all');
});

t.test('the doctor names what is wrong and what to do', async (t) => {
  const { body } = await call('GET', '/doctor');
  t.equal(body.ok, false);
  const check = (name: string) => body.checks.find((one: { name: string }) => one.name === name);
  for (const name of ['database', 'schema', 'clock', 'secret key', 'configuration files'])
    t.match(check(name), { ok: true });
  t.match(check('envoy'), { ok: false, remedy: /Start Envoy/ });
  t.match(check('processors'), { ok: false, remedy: /sallyport processor/ });
  t.match(check('connection race'), { ok: false, remedy: /connection test race/ });
  await plane.database.pool.query(`update credentials set key_id = 'deadbeef'`);
  const lost = (await call('GET', '/doctor')).body.checks.find((one: { name: string }) => one.name === 'secret key');
  t.match(lost, { ok: false, detail: /crm/, remedy: /new,old/ });
});

t.test('health, readiness, metrics of all processes, and a description of it all', async (t) => {
  const get = (path: string) => fetch(`${plane.adminUrl}${path}`);
  t.match(await (await get('/healthz')).json(), { status: 'ok' });
  const ready = await get('/readyz');
  t.equal(ready.status, 200);
  t.match(await ready.json(), { status: 'ready', database: 'ok', revision: Number, envoys: 0, processors: 0 });
  t.match(await (await get('/')).text(), /admin API/);

  const worker = createServer((_request, response) =>
    response.end('# TYPE calls_total counter\ncalls_total{method="x"} 3\nup 1\n'),
  );
  await new Promise<void>((resolve) => worker.listen(join(plane.runtimeDir, 'edge-4.sock'), resolve));
  const text = await (await get('/metrics')).text();
  t.match(text, /^calls_total\{worker="4",method="x"\} 3$/m);
  t.match(text, /^sallyport_revision(\{.*\})? \d+$/m);
  worker.close();
  t.match(await (await get('/metrics')).text(), /sallyport_revision/, 'a dead worker is left out');

  const { body } = await call('GET', '/openapi.json');
  t.equal(body.openapi, '3.1.0');
  const references = [...JSON.stringify(body).matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)].map(
    ([, name]) => name as string,
  );
  t.ok(references.every((name) => name in body.components.schemas));
  for (const [path, methods] of Object.entries(
    body.paths as Record<string, Record<string, { parameters?: { name: string }[] }>>,
  )) {
    const wanted = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
    for (const operation of Object.values(methods)) {
      t.strictSame(
        wanted.filter((name) => !operation.parameters?.some((parameter) => parameter.name === name)),
        [],
        path,
      );
    }
  }
  t.match((await call('GET', '/config.schema.json')).body, { title: 'Sallyport configuration', properties: {} });
  t.match((await call('GET', '/xds')).body, {
    revision: { newest: Number, active: Number },
    nodes: [],
    resources: { clusters: Array },
  });
});

t.test('answers and bodies are what the description says', async (t) => {
  const { components, paths } = (await call('GET', '/openapi.json')).body;
  const schemaOf = (method: string, path: string, status?: number) => {
    const operation = paths[`/api/v1${path}`][method];
    const { content } = status === undefined ? operation.requestBody : operation.responses[status];
    const text = JSON.stringify({
      ...Object.values(content as Record<string, { schema: object }>)[0]?.schema,
      $defs: components.schemas,
    });
    return z.fromJSONSchema(JSON.parse(text.replaceAll('#/components/schemas/', '#/$defs/')));
  };
  const isValid = (schema: z.ZodType, value: unknown, name: string) =>
    t.strictSame(schema.safeParse(value).error?.issues ?? [], [], name);
  const crm = { name: 'described', url: 'http://127.0.0.1:1/', auth: { type: 'api_key', header: 'x-key', value: 'k' } };
  isValid(schemaOf('post', '/connections'), crm, 'the body');
  t.not(schemaOf('post', '/connections').safeParse({ ...crm, ulr: 1 }).error, undefined);
  isValid(schemaOf('post', '/connections', 201), (await call('POST', '/connections', crm)).body, 'the answer');
  for (const path of [
    '/connections',
    '/namespaces',
    '/personas',
    '/keys',
    '/tools',
    '/audit/events',
    '/audit/stats',
    '/config/revisions',
    '/doctor',
    '/config/export',
  ]) {
    isValid(schemaOf('get', path, 200), (await call('GET', path)).body, path);
  }
  isValid(schemaOf('get', '/connections/{name}', 404), (await call('GET', '/connections/none')).body, 'a refusal');
  await call('DELETE', '/connections/described');
});

t.test('merging: each family once, every sample told apart', async (t) => {
  const texts = new Map([
    ['', '# HELP a What\n# TYPE a counter\na 1\n'],
    [
      '0',
      '# HELP a What\n# TYPE a counter\na{x="1"} 2\n# TYPE h histogram\nh_bucket{le="1"} 1\nh_sum 2\nh_count{} 1\n',
    ],
    ['1', '# HELP a What\n# TYPE a counter\na 3 1700000000\n'],
  ]);
  t.equal(
    mergeMetrics(texts),
    [
      '# HELP a What\n# TYPE a counter\na 1\na{worker="0",x="1"} 2\na{worker="1"} 3 1700000000\n',
      '# TYPE h histogram\nh_bucket{worker="0",le="1"} 1\nh_sum{worker="0"} 2\nh_count{worker="0"} 1\n',
    ].join('\n'),
  );
});

t.test('merge patches', async (t) => {
  t.strictSame(mergePatch({ a: 1, b: { c: 2, d: 3 } }, { b: { c: null, e: [1] }, f: {} }), {
    a: 1,
    b: { d: 3, e: [1] },
    f: {},
  });
  t.strictSame(Object.keys(mergePatch({}, JSON.parse('{"__proto__": {"x": 1}}')) as object), ['__proto__']);
});

t.test('while Postgres restarts the API says so, and recovers', async (t) => {
  await postgres.restart();
  const answers = [];
  for (let i = 0; i < 50; i++) {
    const answer = await call('GET', '/connections?limit=1');
    answers.push(answer.status);
    if (answer.status === 200) break;
    isProblem(t, answer, 503);
  }
  t.equal(answers.at(-1), 200);
});
