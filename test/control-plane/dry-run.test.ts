import { createHash, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { startPostgres } from '../support/postgres.ts';
import { controlPlane } from './harness.ts';

const SECRET = 'sup3r"secret\\value';
const postgres = await startPostgres();
const databaseUrl = await postgres.createDatabase({ migrated: false });
const plane = await controlPlane(databaseUrl);
/** What the source was asked, and what it says. */
const asked: string[] = [];
const accounts = createServer((request, response) => {
  asked.push(`${request.method} ${request.url} ${request.headers.authorization}`);
  if (request.url === '/api/slow') return;
  response.setHeader('content-type', 'application/json').end('{"tier":"gold","owner":9007199254740993}');
});
await new Promise<void>((resolve) => accounts.listen(0, '127.0.0.1', resolve));
const url = `http://127.0.0.1:${(accounts.address() as AddressInfo).port}/api`;
t.teardown(async () => {
  accounts.closeAllConnections();
  accounts.close();
  await plane.stop();
  await postgres.stop();
});
const { call } = plane;

const OWNER = {
  name: 'owner-context',
  connection: 'crm',
  tool: 'get_*',
  when: { exists: ['$.response.id'] },
  source: { use: 'crmapi', request: 'GET /accounts/:id', bind: { id: '$.response.id' } },
  merge: { path: 'enrichment.account' },
};

await call('POST', '/sources', {
  name: 'crmapi',
  type: 'http',
  url,
  headers: { authorization: 'Bearer source-token-1' },
});
await call('POST', '/connections', {
  name: 'crm',
  url: 'http://127.0.0.1:9/mcp',
  auth: { type: 'api_key', header: 'x-k', value: SECRET },
});
await call('POST', '/keys', { name: 'ci', roles: ['analyst'] });

const everything = async () => {
  const tables = ['rules', 'rule_versions', 'rule_trips', 'revisions', 'sources', 'audit_events'];
  const { rows } = await plane.database.pool.query(
    tables.map((table) => `select '${table}' as name, count(*)::int as rows from ${table}`).join(' union all '),
  );
  return rows;
};

t.test('a draft on a sample: before, after, what differs, and the trace', async (t) => {
  const before = await everything();
  asked.length = 0;
  const body = `{ "rule": ${JSON.stringify(OWNER)}, "args": {"id": 1}, "response": {"id": 12345678901234567890, "name": "Acme"} }`;
  const answer = await call('POST', '/rules/dry-run', body, { 'content-type': 'application/json' });
  t.equal(answer.status, 200, JSON.stringify(answer.body));
  t.strictSame(asked, ['GET /api/accounts/12345678901234567890 Bearer source-token-1'], 'no digit is lost');
  t.match(answer.body, {
    before: { structuredContent: { name: 'Acme' } },
    after: { structuredContent: { enrichment: { account: { tier: 'gold' } } } },
    trace: [{ rule: 'owner-context', version: 0, outcome: 'merged', source: 'crmapi', rows: 1, ms: Number }],
    warnings: [],
  });
  t.match(answer.body.trace[0].query, /GET .*\/accounts\/12345678901234567890/);
  t.notMatch(JSON.stringify(answer.body), /source-token/);
  const diff = answer.body.diff as string;
  t.match(diff, /^--- before\n\+\+\+ after\n@@/);
  t.match(diff, /^\+ +"tier": "gold"/m);
  t.match(diff, /^\+ +"owner": 9007199254740993/m, 'and none of the answer either');
  t.match(diff, /^ +"id": 12345678901234567890/m);
  t.strictSame(await everything(), before, 'nothing is stored');
});

t.test('what a rule does not fit, and what fails, is told in the trace', async (t) => {
  const trace = async (rule: object, response: unknown, more: object = {}) =>
    (await call('POST', '/rules/dry-run', { rule: { ...OWNER, ...rule }, response, ...more })).body;
  t.match(await trace({}, { name: 'no id' }), {
    diff: '',
    trace: [{ outcome: 'skipped', reason: /\$\.response\.id/ }],
  });
  t.match(await trace({}, { content: [{ type: 'text', text: 'no' }], isError: true }), {
    diff: '',
    trace: [{ outcome: 'skipped', reason: /isError/ }],
  });
  const writes = { source: { ...OWNER.source, request: 'POST /accounts/:id' } };
  asked.length = 0;
  t.match(await trace(writes, { id: 1 }), { trace: [{ outcome: 'skipped', reason: /may write/, query: /POST/ }] });
  t.strictSame(asked, [], 'a request that may write is not sent');
  const slow = { timeout: '50ms', source: { use: 'crmapi', request: 'GET /slow', bind: {} }, when: undefined };
  t.match(await trace(slow, { id: 1 }), {
    trace: [{ outcome: 'failed', reason: /within 50 ms/ }],
    warnings: [/"owner-context" added nothing/],
  });
  const tool = { source: { tool: 'crm__update', bind: {} } };
  t.match(await trace(tool, { id: 1 }), { trace: [{ outcome: /skipped|failed/, reason: /no such tool/ }] });
  t.match(await trace({ source: { use: 'nope', request: 'GET /x', bind: {} } }, {}), {
    status: 400,
    errors: [{ path: 'rule.source.use', message: /no source "nope"/ }],
  });
  await call('PATCH', '/sources/crmapi', { enabled: false });
  t.match(await trace({}, { id: 1 }), {
    trace: [{ outcome: 'failed', reason: /crmapi cannot be used: it is switched off/ }],
  });
  await call('PATCH', '/sources/crmapi', { enabled: true });
  t.match(await trace({ tol: 1 }, {}), { status: 400, errors: [{ path: 'rule.tol' }] });
  t.match(await trace({}, undefined), { status: 400, errors: [{ path: 'response' }] });
  t.match(await trace({}, { id: 1 }, { withOthers: true }), { status: 400, errors: [{ path: 'tool' }] });
  t.match(await trace({}, { id: 1 }, { tool: 'crm__get_x' }), { status: 404 });
  t.match(await trace({}, { id: 1 }, { principl: 'x' }), { status: 400, errors: [{ path: 'principl' }] });
});

t.test('as whom it is tried, rules can see', async (t) => {
  await call('POST', '/personas', { name: 'analyst', roles: ['analyst'], tools: { allow: ['crm__*'] } });
  const seen = async (principal: unknown) => {
    const rule = {
      ...OWNER,
      when: undefined,
      source: {
        use: 'crmapi',
        request: 'GET /:who/:persona/:method',
        bind: { who: '$.principal.subject', persona: '$.principal.persona', method: '$.principal.method' },
      },
    };
    return call('POST', '/rules/dry-run', { rule, response: { id: 1 }, ...(principal !== undefined && { principal }) });
  };
  t.match((await seen('ci')).body.trace[0].query, /\/ci\/analyst\/api_key/, 'as the data plane says it');
  t.match((await seen({ subject: 'ann', roles: ['analyst'] })).body.trace[0].query, /\/ann\/analyst/);
  t.match((await seen(undefined)).body.trace[0].query, /\/admin\/sallyport/);
  t.match(
    await seen({ subject: 'ann', groups: ['staff'] }),
    { status: 400, body: { errors: [{ path: 'principal' }] } },
    'nobody has groups, so none can be tried',
  );
  t.match(await seen('nobody'), { status: 404, body: { detail: /key named "nobody"/ } });
});

/** A row of the audit as a processor would have written it. */
async function record(row: Record<string, unknown>): Promise<string> {
  const whole: Record<string, unknown> = {
    id: randomUUID(),
    at: new Date(),
    tenant_id: 'default',
    namespace: 'default',
    subject: 'ci',
    auth_method: 'key',
    method: 'tools/call',
    connection: 'crm',
    tool: 'crm__get_account',
    upstream_tool: 'get_account',
    verdict: 'allowed',
    processor_us: 1,
    duration_us: 1,
    bytes_in: 1,
    ...row,
  };
  const names = Object.keys(whole);
  await plane.database.pool.query(
    `insert into audit_events (${names.join(', ')}) values (${names.map((_, i) => `$${i + 1}`).join(', ')})`,
    Object.values(whole),
  );
  return whole.id as string;
}

t.test('a stored rule on a recorded call, from which the secrets of the tenant are gone', async (t) => {
  await call('POST', '/rules', OWNER);
  await call('POST', '/rules', { ...OWNER, name: 'first', priority: 5, merge: { path: 'first' } });
  await call('POST', '/rules', { ...OWNER, name: 'elsewhere', tool: 'list_*' });
  const result = {
    content: [{ type: 'text', text: JSON.stringify({ id: 7, echo: `x ${SECRET} y` }) }],
    structuredContent: { id: 7, [SECRET]: [`Bearer source-token-1`, SECRET], deep: JSON.stringify([SECRET]) },
  };
  const auditId = await record({
    arguments: JSON.stringify({ key: SECRET }),
    result: JSON.stringify(result).replace('"id":7', '"id":12345678901234567890'),
  });
  const before = await everything();
  const answer = await call('POST', '/rules/dry-run', { rule: 'owner-context', auditId });
  t.equal(answer.status, 200, JSON.stringify(answer.body));
  t.notMatch(JSON.stringify(answer.body), /sup3r|source-token/);
  t.match(answer.body.before.structuredContent, { '[REDACTED]': ['[REDACTED]', '[REDACTED]'] });
  t.match(JSON.parse(answer.body.before.content[0].text), { echo: 'x [REDACTED] y' });
  t.match(answer.body.trace, [{ rule: 'owner-context', version: 1, outcome: 'merged', query: /12345678901234567890/ }]);

  const others = (await call('POST', '/rules/dry-run', { rule: 'owner-context', auditId, withOthers: true })).body;
  t.match(
    others.trace.map(({ rule }: { rule: string }) => rule),
    ['first', 'owner-context'],
    'in the order in which they run, those that fit',
  );
  t.match(others.after.structuredContent, { first: { tier: 'gold' }, enrichment: { account: { tier: 'gold' } } });
  const unfit = (await call('POST', '/rules/dry-run', { rule: 'elsewhere', auditId })).body;
  t.match(unfit.trace, [{ outcome: 'skipped', reason: /"list_\*" of "crm", and this is "get_account"/ }]);
  await call('PATCH', '/rules/owner-context', { enabled: false });
  const disabled = (await call('POST', '/rules/dry-run', { rule: 'owner-context', auditId })).body;
  t.match(disabled, { trace: [{ outcome: 'merged' }], warnings: [/disabled/] });
  await call('PATCH', '/rules/owner-context', { enabled: true });
  const after = await everything();
  t.strictSame(
    after.filter(({ name }) => name !== 'revisions' && name !== 'rule_versions'),
    before.filter(({ name }) => name !== 'revisions' && name !== 'rule_versions'),
  );
});

t.test('what was not recorded cannot be tried; the refusal says what to do', async (t) => {
  const tried = async (row: Record<string, unknown>) =>
    call('POST', '/rules/dry-run', { rule: 'owner-context', auditId: await record(row) });
  const digest = createHash('sha256').update('x').digest('hex');
  t.match(await tried({ result_sha256: digest }), {
    status: 409,
    body: { detail: /only its digest. Set audit.record.results to redacted or full/ },
  });
  t.match(await tried({ method: 'tools/list', tool: null }), {
    status: 409,
    body: { detail: /not the call of a tool/ },
  });
  t.match(await tried({ result: '{"truncated":"300000 bytes"}' }), { status: 409, body: { detail: /too large/ } });
  t.match(await tried({ result: '{"code":-32603,"message":"x"}' }), {
    status: 409,
    body: { detail: /ended with an error/ },
  });
  t.match(await tried({ result: '{"structuredContent":{"id":"[REDACTED]"}}' }), {
    status: 200,
    body: { warnings: [/arguments were not recorded/, /masked or cut/] },
  });
  for (const auditId of [randomUUID(), 'x']) {
    t.equal((await call('POST', '/rules/dry-run', { rule: 'owner-context', auditId })).status, 404);
  }
  t.equal((await call('POST', '/rules/dry-run', { rule: 'never', response: {} })).status, 404);
  t.match(await call('POST', '/rules/dry-run', { rule: 'owner-context', auditId: 'x', response: {} }), {
    status: 400,
    body: { errors: [{ path: 'response' }] },
  });
});

t.test('sources are tested, stored or not', async (t) => {
  const test = async (path: string, body?: object) => (await call('POST', path, body)).body;
  asked.length = 0;
  t.match(await test('/sources/crmapi/test'), { ok: true, durationMs: Number });
  t.match(asked.at(-1), /Bearer source-token-1$/, 'with its secrets');
  const { body: stored } = await call('GET', '/sources/crmapi');
  t.match(await test('/sources/test', stored), { ok: true }, '[REDACTED] stands for the stored secret');
  t.match(asked.at(-1), /Bearer source-token-1$/);
  t.match(await test('/sources/test', { ...stored, name: 'other' }), {
    status: 400,
    errors: [{ path: 'headers.authorization' }],
  });
  t.match(await test('/sources/test', { type: 'http', url: 'http://127.0.0.1:9' }), { ok: false, error: String });
  t.match(await test('/sources/test', { type: 'http' }), { status: 400, errors: [{ path: 'url' }] });
  t.equal((await call('POST', '/sources/never/test')).status, 404);
  const secretUrl = new URL(databaseUrl);
  t.match(await test('/sources/test', { type: 'postgres', url: secretUrl.href }), { ok: true, server: /PostgreSQL/ });
});
