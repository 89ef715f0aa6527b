import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { startPostgres } from '../support/postgres.ts';
import { controlPlane, SECRET_KEY } from './harness.ts';

const postgres = await startPostgres();
const databaseUrl = await postgres.createDatabase({ migrated: false });
const plane = await controlPlane(databaseUrl, { env: { CRM_AUTH: 'Bearer from-the-environment' } });
t.teardown(async () => {
  await plane.stop();
  await postgres.stop();
});
const { call } = plane;
const stored = async () => {
  const { rows } = await plane.database.pool.query(
    'select to_jsonb(s) as row from sources s union all select to_jsonb(c) from credentials c union all select to_jsonb(r) from revisions r',
  );
  return JSON.stringify(rows);
};

const CRM = { type: 'http', url: 'https://crm.example.com/api', headers: { authorization: 'Bearer s3cret-value' } };
const OWNER = {
  connection: 'crm',
  tool: 'get_*',
  when: { exists: ['$.response.id'] },
  source: { use: 'crmapi', request: 'GET /accounts/:id', bind: { id: '$.response.id' } },
  merge: { path: 'enrichment.account' },
};

t.test('sources: secrets are sealed, read back as [REDACTED], and kept by it', async (t) => {
  const made = await call('POST', '/sources', { name: 'crmapi', ...CRM });
  t.equal(made.status, 201, JSON.stringify(made.body));
  t.match(made.body, {
    type: 'http',
    headers: { authorization: '[REDACTED]' },
    maxConcurrent: 8,
    circuitBreaker: { consecutiveErrors: 5, openFor: '10s' },
    enabled: true,
    version: 1,
  });
  t.notMatch(await stored(), /s3cret/);
  const credentials = async () => (await plane.database.pool.query('select * from credentials')).rows;
  const [before] = await credentials();
  t.equal(before.connection_id, null);
  const kept = await call('PUT', '/sources/crmapi', { ...made.body, maxConcurrent: 3 });
  t.match(kept.body, { maxConcurrent: 3, version: 2 });
  t.strictSame((await credentials())[0].id, before.id, 'the secret was not touched');

  await call('PATCH', '/sources/crmapi', { headers: { authorization: { env: 'CRM_AUTH' } } });
  t.match((await call('GET', '/config/export')).body.sources, {
    crmapi: { type: 'http', maxConcurrent: 3, headers: { authorization: { env: 'CRM_AUTH' } } },
  });
  t.not((await credentials())[0].id, before.id);
  const missing = await call('PUT', '/sources/other', { ...CRM, headers: { authorization: '[REDACTED]' } });
  t.match(missing, { status: 400, body: { errors: [{ path: 'headers.authorization', message: /none is stored/ }] } });
});

t.test('sources: what is wrong with one is told with its path', async (t) => {
  const errors = async (body: object) => {
    const { body: problem } = await call('POST', '/sources', { name: 'x', ...body });
    return (problem.errors ?? []).map(({ path, message }: { path: string; message: string }) => `${path}: ${message}`);
  };
  t.match(await errors({ url: 'https://x' }), [/type: is required/]);
  t.match(await errors({ type: 'mysql' }), [/type: must be one of trino, postgres, datahub, http/]);
  t.match(await errors({ type: 'trino', url: 'http://trino:8080', user: 'a', password: 'b' }), [/^password: .*https/]);
  t.match(await errors({ type: 'trino', url: 'http://127.0.0.1:8080', user: 'a', password: 'b', token: 'c' }), [
    /^token: has no place beside "password"/,
  ]);
  t.match(await errors({ type: 'trino', url: 'https://trino', user: 'a', usr: 'b' }), [/unknown key "usr".*"user"/]);
  t.match(await errors({ type: 'postgres', url: 'mysql://u:pw-0123456@h/db' }), [
    /^url: must be a URL such as postgres:/,
  ]);
  t.notMatch(JSON.stringify(await errors({ type: 'postgres', url: 'mysql://u:pw-0123456@h/db' })), /pw-0123456/);
  t.match(await errors({ type: 'postgres', url: { env: 'CRM_AUTH' } }), [/^url: must be a URL such as postgres:/]);
  t.match(await errors({ type: 'datahub', url: 'ftp://x' }), [/^url: must begin with http/]);
  t.match(await errors({ type: 'http', url: 'https://x', headers: { Host: 'y' } }), [/Host/]);
  t.match(await errors({ type: 'http', url: 'https://x', circuitBreaker: { openFor: '1ms' } }), [
    /openFor: must be between/,
  ]);
});

t.test('rules: defaults, and what is wrong is told with its place', async (t) => {
  const made = await call('POST', '/rules', { name: 'owner-context', ...OWNER });
  t.equal(made.status, 201, JSON.stringify(made.body));
  t.match(made.body, {
    enabled: true,
    merge: { path: 'enrichment.account', onConflict: 'keep', as: 'auto', text: 'append' },
    repeat: 'none',
    priority: 0,
    timeout: '2s',
    maxRows: 100,
    maxBytes: 65_536,
    cache: '0s',
    errorBudget: { failures: 20, per: '5m' },
    status: { state: 'on' },
    runs: 1,
    version: 1,
  });
  const errors = async (body: object) => {
    const { body: problem } = await call('POST', '/rules', { name: 'x', ...OWNER, ...body });
    return (problem.errors ?? []).map(({ path, message }: { path: string; message: string }) => `${path}: ${message}`);
  };
  const source = (more: object) => ({ source: { ...OWNER.source, ...more } });
  t.match(await errors({ timeout: '5s' }), [/^timeout: must be between 10ms and 4500ms/]);
  t.match(await errors({ merge: {} }), [/^merge: needs a "path"/]);
  t.match(await errors({ merge: { path: 'a.__proto__' } }), [/^merge.path: .*"__proto__"/]);
  t.match(await errors({ merge: { path: 'a.b.c.d.e.f.g.h.i' } }), [/^merge.path: .*at most 8/]);
  t.match(await errors({ when: {} }), [/^when: needs one of exists/]);
  t.match(await errors({ tol: 'x' }), [/unknown key "tol".*"tool"/]);
  t.match(await errors(source({ query: 'select 1' })), [/^source.request: has no place beside "query"/]);
  t.match(await errors({ source: { use: 'crmapi', bind: {} } }), [/^source: needs one of query, request/]);
  t.match(await errors({ source: { request: 'GET /x' } }), [/^source.use: is required/]);
  t.match(await errors({ cache: '1m', source: { tool: 'crm__get_owner', bind: {} } }), [
    /^cache: has no place beside "tool": /,
  ]);
  t.match(await errors(source({ bind: { 'a-b': 1 } })), [/^source.bind/]);
  t.match(await errors(source({ bind: { id: 9007199254740993n.toString(), '1x': 1 } })), [/1x/]);
  // What only the compiler knows.
  t.match(await errors(source({ use: 'nope' })), [/^rules.x.source.use: there is no source "nope"/]);
  t.match(await errors({ source: { use: 'crmapi', query: 'select 1' } }), [
    /^rules.x.source.query: .*type http.*"request"/,
  ]);
  t.match(await errors(source({ bind: { id: '$.nowhere.id' } })), [/^rules.x.source.bind.id: /]);
  t.match(await errors(source({ bind: {} })), [/^rules.x.source.bind: ":id" has no binding/]);
  t.match(await errors({ source: { use: 'crmapi', preset: 'table_context' } }), [/^rules.x.source.use: .*datahub/]);
  t.strictSame(
    await errors({ merge: undefined, source: { use: 'crmapi', preset: 'nope' } }).then((all) => all.length),
    1,
  );
  t.equal((await call('GET', '/rules/x')).status, 404, 'nothing of it is stored');
});

t.test('rules are listed in the order in which they run, page by page', async (t) => {
  for (const [name, priority] of [
    ['late', -1],
    ['b', 5],
    ['a', 5],
  ] as const) {
    await call('POST', '/rules', { name, ...OWNER, priority, when: 'response.id != null' });
  }
  const { items } = (await call('GET', '/rules')).body;
  const order = items.map(({ name, runs }: { name: string; runs: number }) => `${runs} ${name}`);
  t.strictSame(order, ['1 a', '2 b', '3 owner-context', '4 late']);
  t.strictSame(items[0].when, { cel: 'response.id != null' });
  const first = (await call('GET', '/rules?limit=3')).body;
  const second = (await call('GET', `/rules?limit=3&cursor=${first.nextCursor}`)).body;
  t.strictSame([first.items.length, second.items.length, second.items[0].name], [3, 1, 'late']);
  t.equal(second.nextCursor, undefined);
  for (const name of ['late', 'b', 'a']) await call('DELETE', `/rules/${name}`);
});

t.test('every version of a rule is kept, and comes back', async (t) => {
  const versions = async () => (await call('GET', '/rules/owner-context/versions')).body.items;
  await call('PATCH', '/rules/owner-context', { priority: 7 });
  await call('POST', '/config/apply', {
    enrichment: [{ name: 'owner-context', ...OWNER, priority: 8, description: 'applied' }],
  });
  t.match(await versions(), [
    { version: 3, author: 'admin api', reason: 'apply', config: { priority: 8 } },
    { version: 2, reason: 'patch rule owner-context', config: { priority: 7 } },
    { version: 1, reason: 'add rule owner-context', config: { priority: 0 } },
  ]);
  await call('PATCH', '/rules/owner-context', { priority: 8 });
  t.equal((await versions()).length, 3, 'what changes nothing is no version');
  const revision = (await call('GET', '/config/revisions?limit=1')).body.items[0].id;

  const back = await call('POST', '/rules/owner-context/rollback', { version: 1 });
  t.match(back, { status: 200, body: { version: 4, priority: 0 } });
  t.match((await versions())[0], { version: 4, reason: 'roll rule owner-context back to version 1' });
  t.match(await call('POST', '/rules/owner-context/rollback', { version: 99 }), {
    status: 404,
    body: { detail: /no version 99: its newest is 4/ },
  });
  await call('DELETE', '/rules/owner-context');
  t.equal((await versions()).length, 4, 'kept of a rule that is gone');
  t.match(await call('POST', '/rules/owner-context/rollback', { version: 2 }), {
    status: 200,
    body: { version: 5, priority: 7 },
  });
  t.match(await call('POST', '/config/rollback', { revision }), { status: 200 });
  t.match((await versions())[0], { version: 6, config: { priority: 8 }, reason: `roll back to revision ${revision}` });
  t.equal((await call('GET', '/rules/never/versions')).status, 404);

  const page = (await call('GET', '/rules/owner-context/versions?limit=2')).body;
  const next = (await call('GET', `/rules/owner-context/versions?limit=2&cursor=${page.nextCursor}`)).body;
  t.strictSame(
    [...page.items, ...next.items].map(({ version }: { version: number }) => version),
    [6, 5, 4, 3],
  );
});

t.test('a rule that spent its error budget says so, and is switched on again', async (t) => {
  const trip = async () => {
    const { rows } = await plane.database.pool.query(`select id, version from rules where name = 'owner-context'`);
    await plane.database.pool.query('insert into rule_trips (rule_id, version, reason) values ($1, $2, $3)', [
      rows[0].id,
      rows[0].version,
      'the source crmapi did not answer',
    ]);
  };
  await trip();
  const { body } = await call('GET', '/rules/owner-context');
  t.match(body.status, { state: 'off', offReason: 'the source crmapi did not answer', offSince: /^\d{4}-/ });
  const { checks } = (await call('GET', '/doctor')).body;
  t.match(
    checks.find(({ name }: { name: string }) => name === 'rule owner-context'),
    { ok: false, detail: /crmapi did not answer/, remedy: /sallyport rule enable owner-context/ },
  );
  const on = await call('POST', '/rules/owner-context/enable');
  t.match(on.body, { status: { state: 'on' }, version: body.version + 1 });
  t.equal((await call('POST', '/rules/owner-context/enable')).body.version, body.version + 1, 'on already');

  await call('PATCH', '/rules/owner-context', { enabled: false });
  t.match((await call('GET', '/rules/owner-context')).body.status, { state: 'disabled' });
  t.match((await call('POST', '/rules/owner-context/enable')).body, { enabled: true, status: { state: 'on' } });
  await trip();
  await call('PATCH', '/rules/owner-context', { maxRows: 5 });
  t.match((await call('GET', '/rules/owner-context')).body.status, { state: 'on' }, 'a changed rule begins anew');
  t.equal((await call('POST', '/rules/never/enable')).status, 404);
});

t.test('a source that rules use stays', async (t) => {
  t.match(await call('DELETE', '/sources/crmapi'), {
    status: 409,
    body: { detail: /used by the rules "owner-context"/ },
  });
  t.match(await call('PUT', '/sources/crmapi', { type: 'datahub', url: 'https://x' }), {
    status: 422,
    body: { errors: [{ path: 'rules.owner-context.source.request' }] },
  });
  t.match(await call('POST', '/config/apply', { sources: {} }), {
    status: 422,
    body: { errors: [{ path: 'rules.owner-context.source.use' }] },
  });
  t.match(await call('PUT', '/rules/owner-context', { ...OWNER, name: 'another' }), { status: 400 });
});

t.test('a document says what changes, and secrets stay out of it', async (t) => {
  const exported = (await call('GET', '/config/export')).body;
  t.match(exported.enrichment, [{ name: 'owner-context', connection: 'crm', source: { use: 'crmapi' } }]);
  t.notOk('timeout' in exported.enrichment[0], 'defaults are left out');
  t.strictSame((await call('POST', '/config/diff', exported)).body.changes, [], 'an export changes nothing');
  const yaml = (await call('GET', '/config/export?format=yaml')).body;
  t.strictSame(
    (await call('POST', '/config/apply?dryRun=true', yaml, { 'content-type': 'application/yaml' })).body.changes,
    [],
  );
  const { changes } = (
    await call('POST', '/config/diff', {
      sources: {
        crmapi: { ...exported.sources.crmapi, headers: { authorization: 'new-secret-0123' }, maxConcurrent: 9 },
      },
      enrichment: [
        { ...exported.enrichment[0], priority: 1 },
        { ...exported.enrichment[0], name: 'second' },
      ],
    })
  ).body;
  t.match(changes, [
    {
      kind: 'changed',
      section: 'sources',
      name: 'crmapi',
      fields: [
        { path: 'maxConcurrent', before: 3, after: 9 },
        { path: 'headers.authorization', before: 'value from env CRM_AUTH', after: 'new hidden value' },
      ],
    },
    { kind: 'changed', section: 'rules', name: 'owner-context', fields: [{ path: 'priority', before: 8, after: 1 }] },
    { kind: 'added', section: 'rules', name: 'second' },
  ]);
});

t.test('the published description has both', async (t) => {
  const { paths, components } = (await call('GET', '/openapi.json')).body;
  for (const path of [
    '/sources',
    '/sources/{name}',
    '/sources/{name}/test',
    '/sources/test',
    '/rules',
    '/rules/{name}',
    '/rules/{name}/versions',
    '/rules/{name}/rollback',
    '/rules/{name}/enable',
    '/rules/dry-run',
  ]) {
    t.ok(paths[`/api/v1${path}`], path);
  }
  t.equal(components.schemas.SourceBody.oneOf?.length ?? components.schemas.SourceBody.anyOf?.length, 4);
  t.ok(components.schemas.Rule.properties.runs);
});

t.test('another key seals the secrets of sources again, and a lost one is told', async (t) => {
  const next = '22'.repeat(32);
  await plane.restart({ secretKey: `${next},${SECRET_KEY}` });
  const { rows } = await plane.database.pool.query('select distinct key_id from credentials');
  t.equal(rows.length, 1);
  await plane.restart({ secretKey: '33'.repeat(32) });
  const { checks } = (await call('GET', '/doctor')).body;
  t.match(
    checks.find(({ name }: { name: string }) => name === 'secret key'),
    { ok: false, detail: /secrets of source crmapi do not open/ },
  );
  await plane.restart({ secretKey: next });
});

t.test("what a file says is the file's; it is told with the file's places", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'sp-rules-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const config = join(directory, 'sallyport.yaml');
  writeFileSync(
    config,
    `
sources:
  crmapi: { type: http, url: "https://crm.example.com/api" }
enrichment:
  - name: owner-context
    connection: crm
    tool: "get_*"
    source: { use: crmapi, request: "GET /accounts/:id", bind: { id: "$.response.id" } }
    merge: { path: enrichment.account }
`,
  );
  await plane.restart({ files: { config }, secretKey: '22'.repeat(32) });
  t.match((await call('GET', '/rules/owner-context')).body, { owner: 'file' });
  for (const [method, path, body] of [
    ['PATCH', '/rules/owner-context', { priority: 1 }],
    ['DELETE', '/rules/owner-context', undefined],
    ['POST', '/rules/owner-context/rollback', { version: 1 }],
    ['PATCH', '/sources/crmapi', { maxConcurrent: 1 }],
    ['POST', '/config/apply', { enrichment: [{ name: 'owner-context', ...OWNER, priority: 3 }] }],
  ] as const) {
    t.match(
      await call(method, path, body),
      { status: 409, body: { title: 'Owned by a configuration file' } },
      `${method} ${path}`,
    );
  }
  t.match((await call('GET', '/rules/owner-context/versions')).body.items[0], {
    author: 'control plane',
    reason: 'start with configuration files',
  });
  await plane.database.pool.query(
    `insert into rule_trips (rule_id, version, reason) select id, version, 'away' from rules where name = 'owner-context'`,
  );
  t.match((await call('POST', '/rules/owner-context/enable')).body, { status: { state: 'on' }, owner: 'file' });
});
