import t from 'tap';
import type { RuleConfig } from '../../src/config/document.ts';
import { DEFAULT_SETTINGS } from '../../src/config/schema.ts';
import { compileSnapshot, EMPTY_CATALOG } from '../../src/snapshot/compile.ts';
import type { RevisionDocument } from '../../src/snapshot/revision.ts';
import type { Catalog, CatalogItem } from '../../src/snapshot/snapshot.ts';
import { viewOf } from '../../src/snapshot/view.ts';
import { MAX_WIRE_NAME, wireNames } from '../../src/snapshot/wire-names.ts';
import { connectionConfig } from '../support/connection.ts';

const tool = (name: string, extra = ''): CatalogItem => ({
  name,
  definition: `{ "vendor":9007199254740993, "name" : ${JSON.stringify(name)},"inputSchema":{"type":"object"}${extra}}`,
  digest: name,
});

const catalog = (tools: CatalogItem[]): Catalog => ({
  ...EMPTY_CATALOG,
  state: 'ready',
  protocolVersion: '2025-11-25',
  tools,
});

function snapshot(
  toolsA: CatalogItem[],
  toolsB: CatalogItem[],
  prefix: 'always' | 'collision' | 'never',
  deny: string[] = [],
) {
  return compileSnapshot({
    revision: 7,
    document: {
      settings: { ...DEFAULT_SETTINGS, publicUrl: 'https://Mcp.Example.com/x' },
      tenants: [
        {
          id: 'default',
          connections: [
            { id: '1', name: 'b', config: connectionConfig('http://127.0.0.1:1/mcp?v=1'), credentialId: null },
            { id: '2', name: 'a', config: connectionConfig('https://u.example/mcp'), credentialId: null },
            {
              id: '3',
              name: 'off',
              config: { ...connectionConfig('http://127.0.0.1:3/'), enabled: false },
              credentialId: null,
            },
          ],
          namespaces: [{ name: 'default', connections: ['*'], prefix, presentation: 'flat' }],
          personas: [
            {
              name: 'all',
              roles: ['r'],
              subjects: [],
              priority: 0,
              tools: { allow: ['*'], deny },
              connections: { allow: ['*'], deny: [] },
            },
          ],
        },
      ],
    },
    catalogs: new Map([
      ['1', catalog(toolsB)],
      ['2', catalog(toolsA)],
    ]),
    injections: new Map([['1', { fault: undefined, credentialId: 'c', headers: [], query: 'key=s%26' }]]),
  });
}

function namespaceOf(world: ReturnType<typeof snapshot>) {
  const tenant = world.tenants.get('default');
  const namespace = tenant?.namespaces.get('default');
  if (tenant === undefined || namespace === undefined) throw new Error('no namespace');
  return { tenant, namespace };
}

t.test('connections, their paths and their order', async (t) => {
  const { tenant, namespace } = namespaceOf(snapshot([tool('x')], [tool('x'), tool('y')], 'always'));
  t.same([...namespace.tools.keys()], ['a__x', 'b__x', 'b__y'], 'by connection name, then as the upstream lists them');
  t.equal(tenant.connections.get('b')?.path, '/mcp?v=1&key=s%26');
  t.equal(tenant.connections.has('off'), false, 'a disabled connection does not exist for the data plane');
});

t.test('prefixing', async (t) => {
  const names = (prefix: 'always' | 'collision' | 'never') => [
    ...namespaceOf(snapshot([tool('x')], [tool('x'), tool('y')], prefix)).namespace.tools.keys(),
  ];
  t.same(names('collision'), ['a__x', 'b__x', 'y']);
  const never = names('never');
  t.equal(never[0], 'x');
  t.match(never[1], /^x_[0-9a-f]{8}$/, 'the second of the same name gets a short form');
  t.same(names('never'), never, 'the same one each time');
});

t.test('every tool gets a name that clients accept, whatever the upstream calls it', async (t) => {
  const odd = [
    'a'.repeat(100),
    `${'a'.repeat(99)}b`,
    'with space',
    'with/slash',
    'ümlaut',
    'sallyport_call_tool',
    'ok.name-1',
  ];
  const named = wireNames(
    odd.map((name) => ({ connection: 'conn', item: name, value: name })),
    'never',
  );
  t.equal(named.size, odd.length);
  for (const [name] of named) t.match(name, new RegExp(`^(?!sallyport_)[A-Za-z0-9_.-]{1,${MAX_WIRE_NAME}}$`));
  t.equal(named.get('ok.name-1')?.item, 'ok.name-1');
});

t.test('no server can take a name that reads as another one', async (t) => {
  const named = wireNames(
    [
      { connection: 'collide', item: 'victim__read', value: 1 },
      { connection: 'victim', item: 'read', value: 2 },
    ],
    'collision',
  );
  t.notOk(named.has('victim__read'), 'a bare name with the prefix of another connection gets a short form');
  t.match([...named.keys()], [/^victim__read_[0-9a-f]{8}$/, 'read']);
});

t.test('a view is the upstream bytes with the name replaced, filtered by persona, in pages', async (t) => {
  const { tenant, namespace } = namespaceOf(
    snapshot([tool('x', ',"_meta":{"name":"inner"}')], [tool('y')], 'always', ['b__*']),
  );
  const view = viewOf(namespace, tenant.personas[0], 'tools');
  t.equal(view.pages.length, 1);
  t.equal(
    view.pages[0]?.toString(),
    '"tools":[{ "vendor":9007199254740993, "name" : "a__x","inputSchema":{"type":"object"},"_meta":{"name":"inner"}}]',
  );
  t.equal(viewOf(namespace, tenant.personas[0], 'tools'), view, 'built once');
  t.equal(viewOf(namespace, undefined, 'tools').pages[0]?.toString(), '"tools":[]', 'no persona sees nothing');
  const many = namespaceOf(
    snapshot(
      Array.from({ length: 2500 }, (_, i) => tool(`t${i}`)),
      [],
      'always',
    ),
  );
  const pages = viewOf(many.namespace, many.tenant.personas[0], 'tools').pages;
  t.equal(pages.length, 3);
  t.equal(
    pages.reduce((sum, page) => sum + (JSON.parse(`{${page}}`) as { tools: unknown[] }).tools.length, 0),
    2500,
  );
});

t.test('hosts and origins come from the public URL', async (t) => {
  const { settings } = snapshot([], [], 'always');
  t.ok(settings.allowedHosts.has('mcp.example.com'));
  t.ok(settings.allowedOrigins.has('https://mcp.example.com'));
});

t.test('definitions are widened when somebody looks, and once for the same rules', (t) => {
  let reads = 0;
  const item: CatalogItem = {
    ...tool('get'),
    get definition() {
      reads++;
      return '{"name":"get","outputSchema":{"type":"object","additionalProperties":false}}';
    },
  };
  const rule: RuleConfig = {
    enabled: true,
    connection: 'a',
    tool: '*',
    source: { tool: 'a__other', bind: {} },
    merge: { path: 'more', onConflict: 'keep', as: 'auto', text: 'append' },
    repeat: 'none',
    priority: 0,
    timeoutMs: 1000,
    maxRows: 100,
    maxBytes: 65_536,
    cacheMs: 0,
    errorBudget: { failures: 20, perMs: 300_000 },
  };
  const document: RevisionDocument = {
    settings: DEFAULT_SETTINGS,
    tenants: [
      {
        id: 'default',
        connections: [{ id: '2', name: 'a', config: connectionConfig('https://u.example/mcp'), credentialId: null }],
        namespaces: [{ name: 'default', connections: ['*'], prefix: 'always', presentation: 'flat' }],
        personas: [],
        rules: [{ id: 'r', name: 'r', version: 1, config: rule }],
      },
    ],
  };
  const compiled = () => {
    const catalogs = new Map([['2', catalog([item])]]);
    const { tenants } = compileSnapshot({ revision: 1, document, catalogs, injections: new Map() });
    return tenants.get('default')?.namespaces.get('default')?.tools.get('a__get');
  };
  const first = compiled();
  t.equal(reads, 0, 'a snapshot is compiled at every change: nothing is read for it');
  t.match(first?.definition, /"more"/);
  const read = reads;
  t.equal(compiled()?.definition, first?.definition);
  t.equal(reads, read, 'the next snapshot has it already');
  t.end();
});
