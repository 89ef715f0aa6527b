import t from 'tap';
import type { CatalogResult } from '../../src/catalog/read.ts';
import { storeCatalog, storeFailure } from '../../src/catalog/store.ts';
import { connectionSchema } from '../../src/config/schema.ts';
import { readStatuses } from '../../src/connections/store.ts';
import { catalogsSince } from '../../src/snapshot/feed-store.ts';
import { openDatabase } from '../../src/storage/database.ts';
import { putRow } from '../../src/storage/named-rows.ts';
import { startPostgres } from '../support/postgres.ts';

const postgres = await startPostgres();
t.teardown(() => postgres.stop());

const item = (name: string, more = '') => ({ name, definition: `{ "name":${JSON.stringify(name)}${more}}` });

const RESULT: CatalogResult = {
  era: 'modern',
  transport: 'http',
  legacy: undefined,
  eraCheckedAt: Date.parse('2026-08-01T00:00:00Z'),
  sessionId: undefined,
  protocolVersion: '2026-07-28',
  serverName: 'new',
  serverVersion: '1',
  instructions: 'ask nicely',
  capabilities: { tools: {}, resources: { subscribe: true } },
  ttlMs: 1000,
  lists: {
    tools: [item('b', ',"big":9007199254740993'), item('a'), item('b'), item('nul\0'), item('half\ud800')],
    prompts: [item('a')],
    resources: [item(`file:///${'x'.repeat(1990)}`)],
    templates: [item('memo://{id}')],
  },
  fault: undefined,
  excluded: [],
};

t.test('what is stored is what the data plane reads; what is the same is told to nobody', async (t) => {
  const database = openDatabase(await postgres.createDatabase());
  t.teardown(() => database.close());
  await database.pool.query("insert into tenants (id) values ('default') on conflict do nothing");
  const config = connectionSchema.parse({ url: 'http://127.0.0.1:9/mcp' });
  const wanted = { tenant: 'default', name: 'c', config, owner: 'api' } as const;
  const { row } = await putRow(database.kysely, 'connections', wanted);
  const owner = { id: row.id, tenant: 'default' };
  let seq = 0;
  const changed = async () => {
    const since = await catalogsSince(database, seq);
    seq = since.seq;
    return since.changed[0]?.catalog;
  };

  await storeCatalog(database, owner, RESULT);
  const catalog = await changed();
  t.match(catalog, {
    state: 'ready',
    lastError: undefined,
    era: 'modern',
    hasSessions: false,
    protocolVersion: '2026-07-28',
    instructions: 'ask nicely',
    capabilities: { resources: { subscribe: true } },
    ttlMs: 1000,
  });
  t.same(
    [catalog?.tools, catalog?.prompts, catalog?.resources, catalog?.templates].map((list) =>
      list?.map(({ name }) => name),
    ),
    [['b', 'a'], ['a'], [`file:///${'x'.repeat(1990)}`], ['memo://{id}']],
    'in the order of the upstream, each name once, no name that is none',
  );
  t.equal(catalog?.tools[0]?.definition, '{ "name":"b","big":9007199254740993}');

  await storeCatalog(database, owner, { ...RESULT, eraCheckedAt: Date.now() });
  t.equal(await changed(), undefined, 'the same');

  const { prompts, ...others } = RESULT.lists;
  const partial = { ...RESULT, lists: { ...others, tools: [item('c')], prompts: undefined }, fault: 'answered badly' };
  await storeCatalog(database, owner, partial);
  t.match(await changed(), {
    state: 'ready',
    lastError: 'answered badly',
    tools: [{ name: 'c' }],
    prompts: [{ name: 'a' }],
  });

  await storeFailure(database, owner, 'is away', { era: 'modern', transport: 'sse' });
  t.match(await changed(), {
    state: 'unavailable',
    lastError: 'is away',
    era: 'modern',
    transport: 'sse',
    tools: [{ name: 'c' }],
    ttlMs: 1000,
  });
  await storeFailure(database, owner, 'is still away', { era: 'modern', transport: 'sse' });
  t.equal(await changed(), undefined);

  for (const [what, change] of Object.entries({
    era: { era: 'legacy', protocolVersion: '2026-07-28' },
    transport: { transport: 'sse' },
    capabilities: { capabilities: { tools: {} } },
    instructions: { instructions: undefined },
    ttlMs: { ttlMs: undefined },
  } satisfies Record<string, Partial<CatalogResult>>)) {
    await storeCatalog(database, owner, RESULT);
    await changed();
    await storeCatalog(database, owner, { ...RESULT, ...change });
    t.ok(await changed(), `a change of ${what} alone is told`);
  }
  const [status] = await readStatuses(database.kysely, 'default');
  t.match(status?.counts, { tools: 2, prompts: 1, resources: 1, templates: 1 });
  t.equal(status?.era_checked_at?.toISOString(), '2026-08-01T00:00:00.000Z');
});
