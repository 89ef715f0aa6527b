import t from 'tap';
import type { CatalogResult } from '../../src/catalog/read.ts';
import { examine, type Watch, watchConnection } from '../../src/catalog/watch.ts';
import { createEgress } from '../../src/egress/egress.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { startFixture } from '../conformance/fixture/fixture.ts';
import { eventually } from '../support/eventually.ts';
import { reply, rpcError, startUpstream, type Upstream } from './upstream.ts';

const egress = createEgress('direct');
t.teardown(() => egress.close());
const patience = () => AbortSignal.timeout(10_000);

const ALL = {
  tools: { listChanged: true },
  prompts: { listChanged: true },
  resources: { listChanged: true, subscribe: true },
};
const PAGES = {
  'tools/list': [
    '"tools":[{"name":"a", "big":9007199254740993,"inputSchema":{"type":"object"}},17,{"name":""},{"title":"nameless"}]',
    '"tools":[{"name":"b","name":"twice"},{"name":"c","inputSchema":{"type":"object"}}]',
    '"tools":[{"name":"d","inputSchema":{"type":"object"}}]',
  ],
  'prompts/list': ['"prompts":[{"name":"p"}]'],
  'resources/list': ['"resources":[{"uri":"file:///x","name":"x"},{"name":"no uri"}]'],
  'resources/templates/list': ['"resourceTemplates":[{"uriTemplate":"memo://{id}","name":"memo"}]'],
};

const names = (result: CatalogResult) =>
  Object.fromEntries(Object.entries(result.lists).map(([kind, list]) => [kind, list?.map(({ name }) => name)]));

for (const era of ['legacy', 'modern'] as const) {
  t.test(`every page of every list, byte for byte: ${era}`, async (t) => {
    const upstream = await startUpstream(t, { era, capabilities: ALL, pages: PAGES });
    const result = await examine(upstream.connection, egress, patience());
    t.same(names(result), {
      tools: ['a', 'c', 'd'],
      prompts: ['p'],
      resources: ['file:///x'],
      templates: ['memo://{id}'],
    });
    t.equal(
      result.lists.tools?.[0]?.definition,
      '{"name":"a", "big":9007199254740993,"inputSchema":{"type":"object"}}',
    );
    t.same(
      upstream.asked.filter(({ method }) => method === 'tools/list').map(({ params }) => params.cursor),
      [undefined, '', '0'],
      'an empty string is a cursor',
    );
    t.equal(result.ttlMs, era === 'modern' ? 3_600_000 : undefined);
    t.equal(result.era, era);
  });

  t.test(`lists without an end, and lists that are too much: ${era}`, async (t) => {
    const upstream = await startUpstream(t, { era });
    let answer: (cursor: unknown) => string = () => '"tools":[],"nextCursor":"again"';
    upstream.habit = ({ method, id, params }, response) =>
      method === 'tools/list' &&
      reply(response, 200, `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":{${answer(params.cursor)}}}`);
    await t.rejects(examine(upstream.connection, egress, patience()), /repeats a tools\/list cursor/);
    answer = (cursor) => `"tools":[],"nextCursor":"${Number(cursor ?? 0) + 1}"`;
    await t.rejects(examine(upstream.connection, egress, patience()), /more than 200 pages/);
    answer = () => `"tools":[${Array.from({ length: 10_001 }, (_, i) => `{"name":"t${i}"}`).join(',')}]`;
    await t.rejects(examine(upstream.connection, egress, patience()), /more than 10000 tools/);
    answer = () => '"tools":{}';
    await t.rejects(examine(upstream.connection, egress, patience()), /without a list/);
    answer = () => '"tools":[],"tools":[]';
    await t.rejects(examine(upstream.connection, egress, patience()), /cannot be read/);
  });

  t.test(`one broken list leaves the others: ${era}`, async (t) => {
    const upstream = await startUpstream(t, { era, capabilities: ALL, pages: PAGES });
    upstream.habit = ({ method, id }, response) =>
      method === 'prompts/list' && reply(response, 200, rpcError(id, -32603));
    const { found, watching } = watch(t, upstream);
    const result = await eventually(() => found[0]);
    t.same(names(result), {
      tools: ['a', 'c', 'd'],
      prompts: undefined,
      resources: ['file:///x'],
      templates: ['memo://{id}'],
    });
    t.match(result.fault, /^answered prompts\/list with an error/);
    upstream.habit = ({ method, id }, response) =>
      method === 'prompts/list' && reply(response, 400, rpcError(id, -32603));
    for (let looks = 0; looks < 3; looks++) await watching.refresh();
    t.ok(
      upstream.methods().filter((method) => method === 'initialize').length <= 2,
      'not for ever the session’s fault',
    );
  });

  t.test(`changes told are looked for: ${era}`, async (t) => {
    const upstream = await startUpstream(t, { era, capabilities: ALL, pages: { ...PAGES } });
    const { found } = watch(t, upstream);
    for (const [i, kind] of ['tools', 'prompts', 'resources'].entries()) {
      await eventually(() => found.length === i + 1 && upstream.streams.size === 1);
      upstream.pages['prompts/list'] = [`"prompts":[{"name":"p${i}"}]`];
      for (let times = 0; times < 20; times++) upstream.tell(`notifications/${kind}/list_changed`);
      const result = await eventually(() => found[i + 1]);
      t.same(names(result).prompts, [`p${i}`], kind);
    }
    t.equal(upstream.asked.filter(({ method }) => method === 'tools/list').length, 4 * 3, 'many words are one look');
    const opened = upstream.asked.filter(({ verb, method }) => verb === 'GET' || method === 'subscriptions/listen');
    t.equal(opened.length, 1, 'one stream');
    if (era === 'modern') {
      t.match(opened[0]?.params.notifications, {
        toolsListChanged: true,
        promptsListChanged: true,
        resourcesListChanged: true,
      });
      t.match(opened[0]?.headers, { 'mcp-method': 'subscriptions/listen', 'mcp-protocol-version': '2026-07-28' });
    }
  });

  t.test(`a stream that is lost is opened again, after a look: ${era}`, async (t) => {
    const upstream = await startUpstream(t, { era, capabilities: ALL, pages: { ...PAGES } });
    const { found } = watch(t, upstream);
    await eventually(() => found.length === 1 && upstream.streams.size === 1);
    for (const stream of upstream.streams) stream.destroy();
    upstream.pages['prompts/list'] = ['"prompts":[{"name":"missed"}]'];
    await eventually(() => upstream.streams.size === 1 && found.length === 2);
    t.same(names(found[1] as CatalogResult).prompts, ['missed']);
  });
}

t.test('a server that becomes another one', async (t) => {
  const upstream = await startUpstream(t, { era: 'legacy' });
  const { found, watching } = watch(t, upstream);
  await eventually(() => upstream.streams.size === 1);
  t.match(found[0], { era: 'legacy', sessionId: 's1' });
  upstream.era = 'modern';
  await watching.refresh();
  t.match(found[1], { era: 'modern', sessionId: undefined, serverName: 'new' });
  await eventually(() => upstream.methods().includes('subscriptions/listen'));
  upstream.era = 'legacy';
  await watching.refresh();
  t.match(found[2], { era: 'legacy', sessionId: 's2' });
});

t.test('lists are asked for in the name of clients that can do anything, whose questions nobody answers', async (t) => {
  const upstream = await startUpstream(t, { era: 'legacy' });
  watch(t, upstream);
  await eventually(() => upstream.streams.size === 1);
  t.match(upstream.asked.find(({ method }) => method === 'initialize')?.params, {
    capabilities: { roots: {}, sampling: {}, elicitation: { form: {}, url: {} } },
    clientInfo: { name: 'sallyport' },
  });
  for (const [id, method] of ['ping', 'roots/list', 'sampling/createMessage'].entries()) upstream.tell(method, id);
  const answers = await eventually(() => {
    const seen = upstream.asked.filter(({ verb, method }) => verb === 'POST' && method === '');
    return seen.length === 3 && seen;
  });
  t.match(answers, [
    { id: 0, result: {}, headers: { 'mcp-session-id': 's1' } },
    { id: 1, error: { code: -32601 } },
    { id: 2, error: { code: -32601 } },
  ]);
});

t.test('a refusal keeps the era that is known', async (t) => {
  const upstream = await startUpstream(t);
  const { failed, watching } = watch(t, upstream);
  await watching.refresh();
  upstream.habit = (_, response) => reply(response, 503, '');
  await t.rejects(watching.refresh(), /HTTP 503/);
  t.same(failed, ['modern: answered server/discover with HTTP 503 and no JSON-RPC response']);
});

t.test('a server without streams is not asked twice, one without capabilities for nothing', async (t) => {
  for (const upstream of [
    await startUpstream(t, {
      era: 'legacy',
      habit: ({ verb }, response) => verb === 'GET' && reply(response, 405, ''),
    }),
    await startUpstream(t, { capabilities: {} }),
    await startUpstream(t, {
      habit: ({ method, id }, response) =>
        method === 'subscriptions/listen' && reply(response, 404, rpcError(id, -32601)),
    }),
  ]) {
    const { watching, found } = watch(t, upstream);
    await watching.refresh();
    await eventually(() => upstream.methods().some((method) => method === 'GET' || /listen|discover/.test(method)));
    await watching.refresh();
    await watching.refresh();
    t.ok(upstream.methods().filter((method) => method === 'GET' || method === 'subscriptions/listen').length <= 1);
    if (Object.keys(upstream.capabilities).length === 0) {
      t.same(names(found[0] as CatalogResult), { tools: [], prompts: [], resources: [], templates: [] });
      t.notOk(
        upstream.methods().some((method) => method.endsWith('/list')),
        'what a server does not claim is not asked',
      );
    }
  }
});

t.test('tools with faulty header annotations are not offered, if the server is a modern one', async (t) => {
  const faulty =
    '{"name":"bad","inputSchema":{"type":"object","properties":{"n":{"type":"number","x-mcp-header":"N"}}}}';
  const fine =
    '{"name":"good","inputSchema":{"type":"object","properties":{"s":{"type":"string","x-mcp-header":"S"}}}}';
  const pages = { 'tools/list': [`"tools":[${faulty},${fine}]`] };
  const modern = await startUpstream(t, { pages });
  const lines: { tool?: string }[] = [];
  const { watching, found } = watch(t, modern, lines);
  await watching.refresh();
  await watching.refresh();
  t.same(names(found[0] as CatalogResult).tools, ['good']);
  t.same(
    lines.filter(({ tool }) => tool !== undefined).map(({ tool }) => tool),
    ['bad: x-mcp-header at n: its type is "number", not string, integer or boolean'],
    'said once',
  );
  const legacy = await startUpstream(t, { era: 'legacy', pages });
  t.same(names(await examine(legacy.connection, egress, patience())).tools, ['bad', 'good']);
});

t.test('the official SDK’s servers', async (t) => {
  for (const [era, expected] of [
    ['legacy', { era: 'legacy', protocolVersion: '2025-11-25', ttlMs: undefined }],
    ['modern', { era: 'modern', protocolVersion: '2026-07-28', sessionId: undefined }],
    ['dual', { era: 'modern', protocolVersion: '2026-07-28', serverName: 'sallyport-conformance-fixture' }],
  ] as const) {
    const fixture = await startFixture({ era });
    t.teardown(() => fixture.close());
    const upstream = await startUpstream(t);
    const result = await examine({ ...upstream.connection, url: new URL(fixture.url) }, egress, patience());
    t.match({ ...result }, { ...expected, fault: undefined, excluded: [] }, era);
    t.ok(names(result).tools?.includes('test_simple_text') && names(result).prompts?.includes('test_simple_prompt'));
    t.ok(names(result).resources?.includes('test://static-text'));
    t.ok(names(result).templates?.includes('test://template/{id}/data'));
  }
});

t.test('a short time to live is a reason to look again, except where every change is told', async (t) => {
  const silent = await startUpstream(t, { ttlMs: 0, capabilities: { tools: {} } });
  const telling = await startUpstream(t, { ttlMs: 0, capabilities: ALL, pages: PAGES });
  const { found } = watch(t, silent);
  const { found: told } = watch(t, telling);
  await eventually(() => found.length === 1);
  const began = Date.now();
  await eventually(() => found.length === 2, 8000);
  t.ok(Date.now() - began > 4500, 'but not at once');
  await eventually(() => found.length === 3, 8000);
  // The second look was set before the server had promised.
  t.ok(told.length <= 2, String(told.length));
});

function watch(t: Parameters<typeof startUpstream>[0], upstream: Upstream, lines: object[] = []) {
  const found: CatalogResult[] = [];
  const failed: string[] = [];
  const log = createLogger('test', 'silent');
  log.warn = ((line: object) => void lines.push(line)) as typeof log.warn;
  const watching: Watch = watchConnection(
    upstream.connection,
    egress,
    {
      found: async (_, result) => void found.push(result),
      failed: async (_, message, { era }) => void failed.push(`${era}: ${message}`),
    },
    log,
  );
  t.teardown(() => watching.stop());
  return { watching, found, failed };
}
