import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import t from 'tap';
import type { CatalogResult } from '../../src/catalog/read.ts';
import { storeCatalog, storeFailure } from '../../src/catalog/store.ts';
import { connectionSchema } from '../../src/config/schema.ts';
import { saveConnection } from '../../src/connections/store.ts';
import { createWriter } from '../../src/control-plane/change.ts';
import { startPublication } from '../../src/control-plane/publication.ts';
import { seedConfiguration } from '../../src/control-plane/seed.ts';
import { activeRevisionId } from '../../src/control-plane/store.ts';
import { checkForEnvoy } from '../../src/control-plane/xds-input.ts';
import { createVault } from '../../src/credentials/vault.ts';
import { socketsIn } from '../../src/runtime/sockets.ts';
import { openDatabase, type Queryable } from '../../src/storage/database.ts';
import { listen } from '../../src/storage/listen.ts';
import { listRows, removeRow } from '../../src/storage/named-rows.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import type { AdsServer } from '../../src/xds/ads.ts';
import type { XdsResources } from '../../src/xds/compile.ts';
import { eventually } from '../support/eventually.ts';
import { startPostgres } from '../support/postgres.ts';
import { SECRET_KEY } from './harness.ts';

const postgres = await startPostgres();
t.teardown(() => postgres.stop());

/** The order of publications is what is tested, so the Envoy is one that answers when the test says so. */
function obedientEnvoy() {
  const published: { clusters: string[]; version: string }[] = [];
  let answers = true;
  const waiting: (() => void)[] = [];
  const ads: AdsServer = {
    publish: (resources: XdsResources) =>
      published.push({ clusters: [...resources.clusters.keys()].sort(), version: resources.version }),
    acked: async () => {
      if (!answers) await new Promise<void>((resolve) => waiting.push(resolve));
      return { nodes: ['envoy'], late: [], rejections: [] };
    },
    state: () => ({ version: published.at(-1)?.version, nodes: [], rejections: [] }),
    close: async () => {},
  };
  return {
    ads,
    published,
    holdAnswers: () => {
      answers = false;
    },
    answer: () => {
      answers = true;
      for (const resolve of waiting.splice(0)) resolve();
    },
  };
}

async function setUp(t: { teardown(close: () => unknown): void }) {
  const url = await postgres.createDatabase();
  const database = openDatabase(url);
  const vault = createVault(SECRET_KEY);
  const directory = mkdtempSync(join(tmpdir(), 'sp-pub-'));
  const place = {
    mcpHost: '127.0.0.1',
    mcpPort: 8080,
    sockets: socketsIn(directory),
    publicRootsPem: { filename: '/roots.pem' },
  };
  const writer = createWriter(database, checkForEnvoy(place));
  await seedConfiguration(writer, { vault, tenant: 'default', document: undefined, demoUrl: undefined });
  const change = { author: 'test', reason: 'test' };
  const envoy = obedientEnvoy();
  const start = (ads = envoy.ads) => {
    const publication = startPublication({ database, vault, ads, place, log: createLogger('test', 'silent') });
    const listener = listen(url, ['sallyport_revision'], () => publication.wake(), { pollMs: 200 });
    return async () => {
      listener.close();
      await publication.close();
    };
  };
  t.teardown(async () => {
    await database.close();
    rmSync(directory, { recursive: true, force: true });
  });
  return {
    database,
    vault,
    writer,
    change,
    envoy,
    start,
    /** One change: these connections are there afterwards and no others. */
    connections: async (...names: string[]): Promise<number> => {
      const config = connectionSchema.parse({ url: 'http://127.0.0.1:1/' });
      const { revision } = await writer.change(change, async (trx) => {
        for (const row of await listRows(trx, 'connections', 'default')) {
          if (!names.includes(row.name)) await removeRow(trx, 'connections', row.id);
        }
        for (const name of names) await saveConnection(trx, vault, { tenant: 'default', name, config, owner: 'api' });
      });
      return revision ?? 0;
    },
    active: () => activeRevisionId(database.kysely),
    report: (revision: number) =>
      database.pool.query(
        `insert into replicas (id, role, revision, seen_at) values ('p0', 'processor', $1, now()) on conflict (id) do update set revision = $1, seen_at = now()`,
        [revision],
      ),
  };
}

t.test('Envoy first, then processors, and what is old goes last', async (t) => {
  const { envoy, start, connections, active, report } = await setUp(t);
  const two = await connections('old');
  const stop = start();
  await eventually(async () => (await active()) === two);
  await report(two);
  await eventually(() => envoy.published.at(-1)?.clusters.join() === 'default/old');

  envoy.holdAnswers();
  const three = await connections('new');
  await eventually(() => envoy.published.at(-1)?.clusters.join().includes('default/new'));
  t.strictSame(envoy.published.at(-1)?.clusters, ['default/new', 'default/old'], 'the old one stays beside the new');
  t.equal(await active(), two, 'not active before Envoy has it');
  envoy.answer();
  await eventually(async () => (await active()) === three);
  t.strictSame(
    envoy.published.at(-1)?.clusters,
    ['default/new', 'default/old'],
    'a processor still works with the old one',
  );
  await report(three);
  await eventually(() => envoy.published.at(-1)?.clusters.join() === 'default/new');
  await stop();
});

t.test(
  'a processor that does not switch holds back neither newer revisions nor, for ever, the end of old ones',
  async (t) => {
    const { envoy, start, connections, active, report } = await setUp(t);
    const two = await connections('a');
    const stop = start();
    await eventually(async () => (await active()) === two);
    await report(two);
    await connections();
    const begun = Date.now();
    const last = await connections('b');
    await eventually(async () => (await active()) === last);
    t.ok(Date.now() - begun < 2_000);
    t.ok(envoy.published.at(-1)?.clusters.includes('default/a'));
    const alive = setInterval(() => report(two), 200);
    await eventually(() => envoy.published.at(-1)?.clusters.join() === 'default/b', 8_000);
    clearInterval(alive);
    await stop();
  },
);

t.test('one that starts where another died finishes its work, the active revision beside the newest', async (t) => {
  const { start, connections, active, report } = await setUp(t);
  const two = await connections('before');
  const stop = start();
  await eventually(async () => (await active()) === two);
  await stop();
  await report(two);
  const last = await connections('after');
  t.equal(await active(), two);

  const later = obedientEnvoy();
  const stopLater = start(later.ads);
  await eventually(async () => (await active()) === last);
  t.strictSame(later.published[0]?.clusters, ['default/after', 'default/before']);
  await report(last);
  await eventually(() => later.published.at(-1)?.clusters.join() === 'default/after');
  await stopLater();
});

t.test('what cannot be compiled any more is a fault that passes; what is served stays', async (t) => {
  const { database, envoy, start, connections, active } = await setUp(t);
  const two = await connections('good');
  const stop = start();
  await eventually(async () => (await active()) === two);
  const count = envoy.published.length;
  await database.pool.query(
    `insert into revisions (document, author, reason) select jsonb_set(document, '{settings,listener}', '{"tls": {"cert": "/no.crt", "key": "/no.key"}}'), 'x', 'x' from revisions order by id desc limit 1`,
  );
  await database.pool.query(`select pg_notify('sallyport_revision', '')`);
  await new Promise((resolve) => setTimeout(resolve, 300));
  t.equal(envoy.published.length, count);
  t.equal(await active(), two);
  const last = await connections('good', 'better');
  await eventually(async () => (await active()) === last);
  await stop();
});

const LEGACY = { era: 'legacy', transport: 'http' } as const;

t.test('a connection is removed while its catalog is stored', async (t) => {
  const { database, writer, vault, change } = await setUp(t);
  const found = (size: number): CatalogResult => ({
    serverName: undefined,
    serverVersion: undefined,
    protocolVersion: '2025-11-25',
    sessionId: undefined,
    capabilities: {},
    instructions: undefined,
    era: 'legacy',
    transport: 'http',
    legacy: undefined,
    eraCheckedAt: undefined,
    ttlMs: undefined,
    lists: {
      tools: Array.from({ length: size }, (_, index) => ({ name: `t${index}`, definition: `{"name":"t${index}"}` })),
      prompts: [],
      resources: [],
      templates: [],
    },
    fault: undefined,
    excluded: [],
  });
  for (let round = 0; round < 15; round += 1) {
    const config = connectionSchema.parse({ url: 'http://127.0.0.1:9/mcp' });
    const { value } = await writer.change(change, (trx) =>
      saveConnection(trx, vault, { tenant: 'default', name: 'racy', config, owner: 'api' }),
    );
    const owner = { id: value.row.id, tenant: 'default' };
    await storeCatalog(database, owner, found(40));
    const refresh = Promise.all([
      storeCatalog(database, owner, found(50 + round)),
      storeFailure(database, owner, 'x', LEGACY),
    ]);
    const removal = writer.change(change, (trx) => removeRow(trx, 'connections', owner.id));
    await Promise.all([refresh, removal]);
    await storeCatalog(database, owner, found(3));
    await storeFailure(database, owner, 'too late', LEGACY);
    const { rows } = await database.pool.query('select 1 from catalog_status union all select 1 from catalog_items');
    t.strictSame(rows, []);
  }
});

t.test('a change that Postgres undoes for a deadlock is made again, and not for ever', async (t) => {
  const { database, writer, change } = await setUp(t);
  const deadlock = (trx: Queryable) =>
    sql`do $$ begin raise exception 'deadlock' using errcode = '40P01'; end $$`.execute(trx);
  let tries = 0;
  const { value } = await writer.change(change, async (trx) => {
    tries += 1;
    if (tries < 3) await deadlock(trx);
    return (await listRows(trx, 'namespaces', 'default')).length;
  });
  t.strictSame({ tries, value }, { tries: 3, value: 1 });
  t.equal(await writer.rehearse(async () => 'kept nothing'), 'kept nothing');
  await t.rejects(writer.change(change, deadlock), { code: '40P01' });
  t.equal((await database.pool.query('select 1')).rowCount, 1);
});
