/** Rules' operations, asked of a real GraphQL engine. */
import t from 'tap';
import type { Json, JsonObject } from '../../../src/mcp/exact-json.ts';
import { openDataHub } from '../../../src/sources/datahub/client.ts';
import { compileDataHub } from '../../../src/sources/datahub/template.ts';
import type { Bound, SourceClient } from '../../../src/sources/source.ts';
import { tableUrn } from '../../support/datahub/entities.ts';
import { type DataHubServer, startDataHub, TOKEN } from '../../support/datahub/server.ts';

const CONFIG = {
  type: 'datahub',
  enabled: true,
  maxConcurrent: 10,
  circuitBreaker: { consecutiveErrors: 5, openForMs: 1000 },
} as const;

let server: DataHubServer;
let client: SourceClient;
t.before(async () => {
  server = await startDataHub();
  client = openDataHub({ ...CONFIG, url: server.url, token: TOKEN });
});
t.teardown(async () => {
  await client.close();
  await server.close();
});

const CUSTOMER = tableUrn('tpch.tiny.customer');
const NOBODY = tableUrn('tpch.tiny.nobody');

type Operation = Parameters<typeof compileDataHub>[0]['operation'];

async function ask(operation: Operation, values: Readonly<Record<string, Bound>>, limits: object = {}) {
  const bind = Object.fromEntries(Object.keys(values).map((name) => [name, `$.args.${name}`]));
  const compiled = compileDataHub({ operation, bind });
  if ('faults' in compiled) throw new Error(JSON.stringify(compiled.faults));
  const rendered = compiled.template.render(new Map(Object.entries(values)));
  const asked = { signal: AbortSignal.timeout(5000), timeoutMs: 5000, maxRows: 100, maxBytes: 65_536, ...limits };
  return client.ask(rendered, asked);
}

const column = (rows: readonly Json[], name: string): Json[] => rows.map((row) => (row as JsonObject)[name] ?? null);

t.test('an entity is a flat row in the words that people use', async (t) => {
  const { rows, isTruncated } = await ask('entity', { urn: CUSTOMER });
  t.notOk(isTruncated);
  t.same(rows, [
    {
      urn: CUSTOMER,
      name: 'customer',
      type: 'DATASET',
      platform: 'Trino',
      description: 'One row for each customer.',
      subTypes: ['Table'],
      owners: [
        { name: 'Anna Berg', type: 'Technical Owner', email: 'anna@example.com' },
        { name: 'Data Stewards', type: 'Data Steward' },
      ],
      tags: ['pii', 'legacy'],
      glossaryTerms: [
        {
          urn: 'urn:li:glossaryTerm:customer',
          name: 'Customer',
          description: 'Somebody who has ordered at least once.',
        },
      ],
      domain: 'Sales',
      quality: {
        status: 'FAIL',
        checks: [
          { type: 'INCIDENTS', status: 'PASS' },
          { type: 'ASSERTIONS', status: 'FAIL', message: '1 of 3 assertions is failing' },
        ],
      },
      usage: { queriesLast30Days: 42, usersLast30Days: 3 },
      profile: { rowCount: 1500, columnCount: 8, at: '2025-11-24T16:00:00.000Z' },
    },
  ]);
});

t.test('columns are as edited, where they are asked for', async (t) => {
  const { rows } = await ask('entity', { urn: CUSTOMER, columns: true });
  t.same((rows[0] as JsonObject).columns, [
    {
      name: 'custkey',
      type: 'bigint',
      isKey: true,
      nullable: false,
      glossaryTerms: [
        { urn: 'urn:li:glossaryTerm:customer-key', name: 'Customer Key', description: 'Names one customer.' },
      ],
    },
    { name: 'name', type: 'varchar(25)', description: 'Full name, as on the contract.', tags: ['pii'] },
    { name: 'phone', type: 'varchar(15)', tags: ['pii'] },
    { name: 'acctbal', type: 'double', description: 'Balance, in EUR.' },
    { name: 'comment', type: 'varchar(117)' },
  ]);
});

t.test('many entities are one request; what is unknown, removed or no URN has no row', async (t) => {
  const before = server.asked.length;
  const urns = [
    tableUrn('tpch.tiny.orders'),
    NOBODY,
    'nonsense',
    CUSTOMER,
    CUSTOMER,
    tableUrn('tpch.tiny.old_customer'),
  ];
  const { rows } = await ask('entity', { urn: [...urns, null, ''] });
  t.same(column(rows, 'urn'), [tableUrn('tpch.tiny.orders'), CUSTOMER]);
  t.equal(server.asked.length, before + 1);
  t.same(server.asked.at(-1)?.variables.urns, [urns[0], NOBODY, CUSTOMER, urns[5]]);
});

t.test('nothing but empty values is not asked at all', async (t) => {
  const before = server.asked.length;
  t.same(await ask('entity', { urn: [null, ''] }), { rows: [], isTruncated: false });
  t.equal(server.asked.length, before);
});

t.test('what is deprecated says why, until when, and what to use instead', async (t) => {
  const { rows } = await ask('entity', { urn: [tableUrn('tpch.tiny.lineitem'), tableUrn('tpch.tiny.nation')] });
  t.same(column(rows, 'deprecation'), [
    {
      deprecated: true,
      note: 'Prices are wrong before 1993.',
      replacement: { urn: tableUrn('tpch.tiny.orders'), name: 'orders' },
      decommissionTime: '2026-12-31T00:00:00.000Z',
    },
    null,
  ]);
});

t.test('other kinds of entities', async (t) => {
  const { rows } = await ask('entity', { urn: ['urn:li:dashboard:(superset,12)', 'urn:li:corpGroup:stewards'] });
  t.match(rows[0], { name: 'Customers at a glance', platform: 'Superset', usage: { views: 900, viewsLast30Days: 12 } });
  t.same(rows[1], { urn: 'urn:li:corpGroup:stewards', name: 'Data Stewards', type: 'CORP_GROUP' });
});

t.test('URNs that could be, and are not', async (t) => {
  t.same((await ask('entity', { urn: ['urn:li:domain:no', 'urn:li:glossaryTerm:no', NOBODY] })).rows, []);
});

t.test('search', async (t) => {
  t.same(column((await ask('search', { query: 'customer' })).rows, 'type'), [
    'DATASET',
    'DASHBOARD',
    'DATA_JOB',
    'GLOSSARY_TERM',
    'GLOSSARY_TERM',
  ]);
  t.same(column((await ask('search', { query: 'customer', types: ['glossary term'], count: 1 })).rows, 'name'), [
    'Customer',
  ]);
  const { rows } = await ask('search', { query: 'customer', types: 'DATASET', platform: 'trino' });
  t.same(column(rows, 'urn'), [CUSTOMER]);
  t.same((await ask('search', { query: 'customer', platform: 'superset', types: 'DATASET' })).rows, []);
});

t.test('a glossary term by URN, or by its very name', async (t) => {
  const byUrn = await ask('glossary_term', {
    urn: ['urn:li:glossaryTerm:customer', 'urn:li:glossaryTerm:no', CUSTOMER],
  });
  t.same(byUrn.rows, [
    {
      urn: 'urn:li:glossaryTerm:customer',
      name: 'Customer',
      type: 'GLOSSARY_TERM',
      description: 'Somebody who has ordered at least once.',
      owners: [{ name: 'Data Stewards', type: 'Data Steward' }],
      domain: 'Sales',
      parents: ['Finance'],
    },
  ]);
  t.same((await ask('glossary_term', { name: ' customer' })).rows, byUrn.rows, '"Customer Key" is another term');
  t.same((await ask('glossary_term', { name: 'churn' })).rows, []);
});

t.test('lineage, one step up or down', async (t) => {
  t.same((await ask('lineage', { urn: CUSTOMER, direction: 'upstream' })).rows, [
    {
      urn: 'urn:li:dataJob:(urn:li:dataFlow:(airflow,nightly,prod),load_customers)',
      name: 'load_customers',
      type: 'DATA_JOB',
      platform: 'Airflow',
      direction: 'UPSTREAM',
      degree: 1,
    },
  ]);
  const down = await ask('lineage', { urn: CUSTOMER, direction: 'DOWNSTREAM' });
  t.same(column(down.rows, 'name'), ['Customers at a glance', 'orders']);
  t.equal((await ask('lineage', { urn: CUSTOMER, direction: 'DOWNSTREAM', count: 1 })).rows.length, 1);
  t.same((await ask('lineage', { urn: NOBODY, direction: 'DOWNSTREAM' })).rows, []);
  t.same((await ask('lineage', { urn: 'urn:li:tag:pii', direction: 'DOWNSTREAM' })).rows, [], 'what has no lineage');
});

t.test('rows beyond the limits are cut, and that is told', async (t) => {
  const urn = [CUSTOMER, tableUrn('tpch.tiny.orders'), tableUrn('tpch.tiny.nation')];
  const few = await ask('entity', { urn }, { maxRows: 2 });
  t.equal(few.rows.length, 2);
  t.ok(few.isTruncated);
  const small = await ask('entity', { urn }, { maxBytes: 1024 });
  t.same(column(small.rows, 'name'), ['customer']);
  t.ok(small.isTruncated);
  t.notOk((await ask('entity', { urn }, { maxRows: 3 })).isTruncated);
});

t.test('one connection serves question after question', async (t) => {
  const before = server.connections();
  for (let i = 0; i < 5; i++) await ask('entity', { urn: CUSTOMER });
  t.equal(server.connections(), before);
});

t.test('values are never part of the document', async (t) => {
  const hostile = '"}) { me { corpUser { urn } } } # ';
  await ask('search', { query: hostile });
  const { query, variables } = server.asked.at(-1) ?? {};
  t.notOk(query?.includes(hostile));
  t.match(variables, { input: { query: hostile } });
  const odd = tableUrn('tpch.tiny.odd%2C %28näme%29');
  t.same(column((await ask('entity', { urn: odd })).rows, 'description'), ['Oddly named.']);
});

t.test('the source says who answers, and as whom', async (t) => {
  t.same(await client.test(AbortSignal.timeout(5000)), { ok: true, server: 'DataHub v1.5.0', notes: ['asks as anna'] });
});

t.test('the URL may be that of GraphQL itself, or have a slash too many', async (t) => {
  for (const url of [`${server.url}/api/graphql`, `${server.url}/api/graphql/`, `${server.url}/`]) {
    const other = openDataHub({ ...CONFIG, url, token: TOKEN });
    t.match(await other.test(AbortSignal.timeout(5000)), { ok: true }, url);
    await other.close();
  }
});
