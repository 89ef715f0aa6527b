import { randomBytes } from 'node:crypto';
import t from 'tap';
import { answerAtEdge } from '../../src/answers/lifecycle.ts';
import { listByKey } from '../../src/answers/lists.ts';
import { DEFAULT_SETTINGS } from '../../src/config/schema.ts';
import { createVault } from '../../src/credentials/vault.ts';
import type { World } from '../../src/data-plane/world.ts';
import type { Answer, Exchange, Refusal } from '../../src/exchange/exchange.ts';
import { NO_CAPABILITIES } from '../../src/mcp/capabilities.ts';
import { parseEnvelope } from '../../src/mcp/envelope.ts';
import type { Era } from '../../src/mcp/revision.ts';
import { createSessionIds } from '../../src/sessions/session-id.ts';
import { compileSnapshot, EMPTY_CATALOG } from '../../src/snapshot/compile.ts';
import type { Catalog, CatalogItem } from '../../src/snapshot/snapshot.ts';
import { connectionConfig } from '../support/connection.ts';

const vault = createVault(randomBytes(32).toString('hex'));
const world = { vault, version: '9.9.9', relay: true, sessionIds: createSessionIds(vault, Date.now) } as World;

const item = (name: string, definition: string): CatalogItem => ({ name, definition, digest: definition });
const ready = (more: Partial<Catalog>): Catalog => ({
  ...EMPTY_CATALOG,
  state: 'ready',
  protocolVersion: '2025-11-25',
  capabilities: { tools: {} },
  ...more,
});

const NOTES = ready({
  era: 'modern',
  protocolVersion: '2026-07-28',
  ttlMs: 7000,
  instructions: 'ask nicely',
  capabilities: {
    tools: {},
    prompts: {},
    resources: { subscribe: true },
    completions: {},
    extensions: { 'io.modelcontextprotocol/ui': { mimeTypes: ['x'] }, 'io.modelcontextprotocol/tasks': {}, 'a/b': {} },
  },
  tools: [
    item(
      'show',
      '{"_meta" : {"ui":{"resourceUri":"ui://v/a.html","n":1e400},"ui/resourceUri": "ui://v/a.html","x":"ui://v"}, "name":"show","big":9007199254740993}',
    ),
    item('odd', '{"name":"odd","_meta":{"ui":{"resourceUri":"ui://1"},"ui":{"resourceUri":"ui://2"}}}'),
  ],
  prompts: [item('greet', '{"name":"greet", "arguments":[{"name":"greet"}]}')],
  resources: [
    item('file:///a', '{ "uri":"file:///a","name":"file:///a"}'),
    item('file:///secret', '{"uri":"file:///secret"}'),
    item('https://x.example/a', '{"uri":"https://x.example/a"}'),
  ],
  templates: [item('memo://{id}', '{"uriTemplate":"memo://{id}","_meta":{"ui":"none"}}')],
});
const CRM = ready({
  capabilities: { tools: {}, logging: {}, tasks: { list: {}, cancel: {}, requests: { tools: { call: {} } } } },
});

const config = connectionConfig('http://127.0.0.1:1/mcp');

function snapshotOf(catalogs: Record<string, Catalog>) {
  const lists = { allow: ['*'], deny: ['notes__file:///secret'] };
  return compileSnapshot({
    revision: 1,
    document: {
      settings: DEFAULT_SETTINGS,
      tenants: [
        {
          id: 'default',
          connections: Object.keys(catalogs).map((name) => ({ id: name, name, config, credentialId: null })),
          namespaces: [
            { name: 'default', connections: ['*'], prefix: 'always', presentation: 'flat' },
            { name: 'notes', connections: ['notes'], prefix: 'never', presentation: 'flat' },
          ],
          personas: [
            {
              name: 'p',
              roles: ['r'],
              subjects: [],
              priority: 0,
              tools: lists,
              connections: { allow: ['*'], deny: [] },
            },
          ],
        },
      ],
    },
    catalogs: new Map(Object.entries(catalogs)),
    injections: new Map(),
  });
}

const snapshot = snapshotOf({ notes: NOTES, crm: CRM });

function ask(method: string, params: object = {}, era: Era = 'legacy', namespace = 'default', from = snapshot) {
  const tenant = from.tenants.get('default');
  const body = Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: 7, method, params }));
  const exchange = {
    head: { method: 'POST', path: '/mcp', authority: '', header: () => undefined, names: [], endOfStream: false },
    requestId: 'r',
    at: Date.now(),
    snapshot: from,
    tenant,
    namespace: tenant?.namespaces.get(namespace),
    persona: tenant?.personas[0],
    principal: { tenant: 'default', subject: 's', roles: ['r'], method: 'api_key', binding: 'api_key:s' },
    envelope: parseEnvelope(body),
    client: { era, protocolVersion: '', capabilities: NO_CAPABILITIES, clientName: '', logLevel: undefined },
  } as Exchange;
  const result = answerAtEdge.run(exchange, world) as Answer | Refusal | undefined;
  const answer = result?.kind === 'answer' ? result : undefined;
  const text = answer === undefined ? '' : Buffer.concat(answer.body).toString();
  return {
    exchange,
    answer,
    problem: result?.kind === 'refuse' ? result.problem : undefined,
    text,
    result: (text === '' ? undefined : JSON.parse(text).result) as Record<string, unknown> & { nextCursor?: string },
  };
}

t.test('each list in the client’s words, everything else byte for byte', async (t) => {
  const body = (list: string) => `{"jsonrpc":"2.0","id":7,"result":{${list}}}`;
  t.equal(
    ask('tools/list').text,
    body(
      '"tools":[{"_meta" : {"ui":{"resourceUri":"ui://notes/v/a.html","n":1e400},"ui/resourceUri": "ui://notes/v/a.html","x":"ui://v"}, "name":"notes__show","big":9007199254740993},' +
        '{"name":"notes__odd","_meta":{"ui":{"resourceUri":"ui://1"},"ui":{"resourceUri":"ui://2"}}}]',
    ),
  );
  t.equal(ask('prompts/list').text, body('"prompts":[{"name":"notes__greet", "arguments":[{"name":"greet"}]}]'));
  t.equal(
    ask('resources/list').text,
    body('"resources":[{ "uri":"notes+file:///a","name":"file:///a"},{"uri":"https://x.example/a"}]'),
    'what the persona may not read is not there',
  );
  t.equal(
    ask('resources/templates/list').text,
    body('"resourceTemplates":[{"uriTemplate":"notes+memo://{id}","_meta":{"ui":"none"}}]'),
  );
  t.equal(
    ask('prompts/list', {}, 'legacy', 'notes').text,
    body(`"prompts":[${NOTES.prompts[0]?.definition}]`),
    'where nothing is renamed, nothing is touched',
  );
  t.equal(
    ask('tools/list', {}, 'legacy', 'notes').text,
    body(`"tools":[${NOTES.tools.map((one) => one.definition).join(',')}]`),
  );
});

t.test('a modern list says how long it holds, and for whom', async (t) => {
  for (const method of ['tools/list', 'prompts/list', 'resources/list', 'resources/templates/list']) {
    t.match(ask(method, {}, 'modern').result, {
      resultType: 'complete',
      ttlMs: 7000,
      cacheScope: 'private',
      _meta: { 'io.modelcontextprotocol/serverInfo': { name: 'sallyport', version: '9.9.9' } },
    });
  }
  t.equal(
    ask('tools/list', {}, 'modern', 'notes', snapshotOf({ notes: EMPTY_CATALOG })).result.ttlMs,
    1000,
    'not read yet',
  );
});

t.test('a cursor goes on with its own list and no other', async (t) => {
  const many = (kind: string, key: string) =>
    Array.from({ length: 2100 }, (_, i) => item(`${kind}:${i}`, `{"${key}":"${kind}:${i}"}`));
  const big = { ...NOTES, prompts: many('p', 'name'), resources: many('r', 'uri') };
  const world2 = snapshotOf({ notes: big, crm: CRM });
  const page = (method: string, cursor?: string, namespace = 'default', from = world2) =>
    ask(method, cursor === undefined ? {} : { cursor }, 'legacy', namespace, from);
  const uris: string[] = [];
  let cursor: string | undefined;
  do {
    const { result } = page('resources/list', cursor);
    uris.push(...(result.resources as { uri: string }[]).map(({ uri }) => uri));
    cursor = result.nextCursor;
  } while (cursor !== undefined);
  t.same(
    uris,
    Array.from({ length: 2100 }, (_, i) => `notes+r:${i}`),
    'all, in order',
  );

  const mine = page('resources/list').result.nextCursor as string;
  t.ok(page('resources/list', mine).answer);
  for (const [what, other] of [
    ['another list', page('prompts/list', mine)],
    ['another namespace', page('resources/list', mine, 'notes')],
    [
      'a list that has changed',
      page('resources/list', mine, 'default', snapshotOf({ notes: { ...big, resources: many('s', 'uri') } })),
    ],
    ['a cursor of nobody’s', page('resources/list', `${mine.slice(0, -2)}AA`)],
    ['an empty cursor', page('resources/list', '')],
  ] as const) {
    t.match(other.problem, { rpcCode: -32602 }, what);
  }
  const { answer } = page('resources/list', mine);
  const again = listByKey(answer?.edge ?? '', world2, world);
  t.equal(
    Buffer.concat([...(again ?? [])])
      .toString()
      .replace(/"nextCursor":"[^"]+"/, ''),
    Buffer.concat([...(answer?.body ?? [])])
      .toString()
      .replace(/"nextCursor":"[^"]+"/, ''),
  );
  t.equal(listByKey(answer?.edge ?? '', snapshot, world), undefined, 'a page that is not there any more');
});

t.test('what the gateway offers is what its members have and it passes on', async (t) => {
  const { result, exchange } = ask('initialize', { protocolVersion: '2025-06-18', capabilities: { roots: {} } });
  t.same(result.capabilities, {
    tools: { listChanged: true },
    prompts: { listChanged: true },
    resources: { subscribe: true, listChanged: true },
    completions: {},
    logging: {},
    tasks: { requests: { tools: { call: {} } }, cancel: {} },
    extensions: { 'io.modelcontextprotocol/ui': { mimeTypes: ['x'] } },
  });
  t.equal(result.instructions, undefined, 'several servers have no common instructions');
  t.equal(exchange.session?.capabilities, '{"roots":{}}');
  t.equal(ask('initialize', { protocolVersion: '2025-06-18' }, 'legacy', 'notes').result.instructions, 'ask nicely');

  const modern = ask('server/discover', {}, 'modern', 'notes').result;
  t.match(modern, {
    resultType: 'complete',
    supportedVersions: ['2026-07-28'],
    ttlMs: 7000,
    cacheScope: 'private',
    instructions: 'ask nicely',
  });
  t.same(modern.capabilities, {
    tools: { listChanged: true },
    prompts: { listChanged: true },
    resources: { subscribe: true, listChanged: true },
    completions: {},
    extensions: { 'io.modelcontextprotocol/ui': { mimeTypes: ['x'] }, 'io.modelcontextprotocol/tasks': {} },
  });
  const unread = snapshotOf({ crm: CRM, later: EMPTY_CATALOG });
  t.same(ask('server/discover', {}, 'modern', 'default', unread).result.capabilities, {
    tools: { listChanged: true },
    prompts: { listChanged: true },
    resources: { listChanged: true },
    logging: {},
  });
});

t.test('a session remembers what its client can do, within bounds', async (t) => {
  const kept = (capabilities: unknown) =>
    ask('initialize', { protocolVersion: '2025-06-18', capabilities }).exchange.session;
  t.equal(kept(undefined)?.capabilities, '{}');
  t.equal(kept('all')?.capabilities, '{}');
  const junk = 'ü'.repeat(1000);
  t.equal(
    kept({
      sampling: { tools: {}, junk },
      elicitation: { url: {}, form: 'no' },
      roots: { listChanged: true },
      experimental: { junk },
    })?.capabilities,
    '{"elicitation":{"url":{}},"sampling":{"tools":{}},"roots":{"listChanged":true}}',
  );
  const { answer } = ask('initialize', {
    protocolVersion: '2025-06-18',
    capabilities: { experimental: { x: '"'.repeat(700) } },
  });
  const header = answer?.headers.find(([name]) => name === 'mcp-session-id')?.[1] ?? '';
  t.ok(world.sessionIds.open(header), 'and its id is never longer than it may be');
  t.ok(header.length < 4096);
});

t.test('what is answered here, what goes on, and what nobody knows', async (t) => {
  const kindOf = (method: string, era: Era) => {
    const { answer, problem } = ask(method, { protocolVersion: 'x' }, era);
    return answer ? 'answered' : problem ? `${problem.status} ${problem.rpcCode}` : 'passed';
  };
  const UNKNOWN = { legacy: '200 -32601', modern: '404 -32601' };
  for (const [method, legacy, modern] of [
    ['initialize', 'answered', UNKNOWN.modern],
    ['ping', 'answered', UNKNOWN.modern],
    ['server/discover', UNKNOWN.legacy, 'answered'],
    ['tools/call', 'passed', 'passed'],
    ['prompts/get', 'passed', 'passed'],
    ['resources/read', 'passed', 'passed'],
    ['resources/subscribe', 'passed', UNKNOWN.modern],
    ['logging/setLevel', 'passed', UNKNOWN.modern],
    ['subscriptions/listen', UNKNOWN.legacy, 'passed'],
    ['completion/complete', 'passed', 'passed'],
    ['tasks/get', 'passed', 'passed'],
    ['tasks/list', UNKNOWN.legacy, UNKNOWN.modern],
    ['constructor', UNKNOWN.legacy, UNKNOWN.modern],
  ] as const) {
    t.equal(kindOf(method, 'legacy'), legacy, `${method}, legacy`);
    t.equal(kindOf(method, 'modern'), modern, `${method}, modern`);
  }
});
