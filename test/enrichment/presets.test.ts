/** `table_context`: which tables a call is about, and what DataHub says of them. */
import fc from 'fast-check';
import t from 'tap';
import type { PresetContext } from '../../src/enrichment/presets/context.ts';
import { PRESETS } from '../../src/enrichment/presets/preset.ts';
import { tablesOfStatement } from '../../src/enrichment/presets/sql-tables.ts';
import type { Json, JsonObject } from '../../src/mcp/exact-json.ts';
import { openDataHub } from '../../src/sources/datahub/client.ts';
import type { SourceClient } from '../../src/sources/source.ts';
import { tableUrn } from '../support/datahub/entities.ts';
import { type DataHubServer, startDataHub, TOKEN } from '../support/datahub/server.ts';

let server: DataHubServer;
let client: SourceClient;
t.before(async () => {
  server = await startDataHub();
  const limits = { maxConcurrent: 10, circuitBreaker: { consecutiveErrors: 5, openForMs: 1000 } };
  client = openDataHub({ type: 'datahub', enabled: true, ...limits, url: server.url, token: TOKEN });
});
t.teardown(async () => {
  await client.close();
  await server.close();
});

/** Of this process, however busy the machine is. */
function secondsSince(began: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(began);
  return (user + system) / 1e6;
}

interface Call {
  readonly args?: Json;
  readonly response?: Json;
  readonly bound?: Readonly<Record<string, readonly Json[]>>;
}

async function tell({ args = {}, response = {}, bound = {} }: Call): Promise<readonly Json[]> {
  const asked = { signal: AbortSignal.timeout(5000), timeoutMs: 5000, maxRows: 100, maxBytes: 65_536 };
  const context: PresetContext = {
    root: { args, response, principal: {}, tool: {} },
    values: new Map(Object.entries(bound)),
    sourceName: 'catalog',
    ask: (rendered) => client.ask(rendered, asked),
  };
  return PRESETS.table_context.preset(context);
}

const tablesIn = (rows: readonly Json[]): JsonObject =>
  ((rows[0] as JsonObject | undefined)?.tables ?? {}) as JsonObject;
const told = async (call: Call): Promise<string[]> => Object.keys(tablesIn(await tell(call)));

t.test('what is told of a table', async (t) => {
  const before = server.asked.length;
  const rows = await tell({ args: { sql: 'SELECT * FROM tpch.tiny.customer c JOIN tpch.tiny.lineitem USING (x)' } });
  t.equal(server.asked.length, before + 1, 'one request for all');
  t.equal(rows.length, 1);
  t.same(tablesIn(rows)['tpch.tiny.customer'], {
    urn: tableUrn('tpch.tiny.customer'),
    description: 'One row for each customer.',
    owners: [
      { name: 'Anna Berg', type: 'Technical Owner', email: 'anna@example.com' },
      { name: 'Data Stewards', type: 'Data Steward' },
    ],
    tags: ['pii', 'legacy'],
    glossaryTerms: [
      { urn: 'urn:li:glossaryTerm:customer', name: 'Customer', description: 'Somebody who has ordered at least once.' },
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
    columns: [
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
    ],
  });
  t.match(tablesIn(rows)['tpch.tiny.lineitem'], { deprecation: { replacement: { name: 'orders' } } });
});

t.test('tables are found wherever tools name them', async (t) => {
  const found = async (call: Call, message: string): Promise<void> => {
    t.same(await told(call), ['tpch.tiny.customer'], message);
  };
  await found({ args: { catalog: 'tpch', schema: 'tiny', table: 'customer' } }, 'members of the arguments');
  await found({ args: { catalog_name: 'TPCH', schemaName: 'Tiny', 'table-name': 'Customer' } }, 'other spellings');
  await found({ args: { table: 'tpch."tiny".customer' } }, 'a dotted name');
  await found({ args: { catalog: 'tpch', query: 'select 1 from tiny.customer' } }, 'the catalog is an argument');
  await found({ args: { query: 'select 1 from customer' }, bound: { catalog: ['tpch'], schema: ['tiny'] } }, 'bound');
  await found(
    { args: { catalog: 'tpch', schema: 'tiny' }, response: { tables: ['customer', 'x'] } },
    'a list of names',
  );
  await found({ response: { tables: [{ schema: 'tiny', catalog: 'tpch', name: 'customer' }] } }, 'a list of objects');
  await found({ response: [{ table_catalog: 'tpch', table_schema: 'tiny', table_name: 'customer' }] }, 'rows');
  await found(
    { args: { catalog: 'tpch', schema: 'tiny' }, response: { rows: [{ Table: 'customer' }] } },
    'SHOW TABLES',
  );
  await found(
    { response: { columns: ['table_cat', 'table_schem', 'table_name'], rows: [['tpch', 'tiny', 'customer']] } },
    'rows as arrays',
  );
  await found(
    { response: { columns: [{ name: 'table_name' }], data: [['tpch.tiny.customer']] } },
    'rows as arrays, columns as objects',
  );
  await found({ response: { schema: 'tiny', catalog: 'tpch', table: { name: 'customer', columns: [] } } }, 'an object');
  await found(
    { args: { statement: 'x' }, response: { sql: 'TABLE tpch.tiny.customer' } },
    'a statement in the response',
  );
});

t.test('another catalog has other schemas', async (t) => {
  const args = { catalog: 'hive', schema: 'tiny' };
  t.same(await told({ args, response: { catalog: 'tpch', table: 'customer' } }), []);
  t.same(await told({ args, response: { catalog: 'tpch', table: 'tiny.customer' } }), ['tpch.tiny.customer']);
});

t.test('bound tables are the only ones', async (t) => {
  const args = { table: 'tpch.tiny.lineitem' };
  t.same(await told({ args, bound: { tables: ['tpch.tiny.customer', 'tpch.tiny.orders'] } }), [
    'tpch.tiny.customer',
    'tpch.tiny.orders',
  ]);
  t.same(await told({ args, bound: { tables: ['orders'], catalog: ['tpch'], schema: ['tiny'] } }), [
    'tpch.tiny.orders',
  ]);
});

t.test('nothing to say: nobody is asked, or nothing is known', async (t) => {
  const before = server.asked.length;
  t.same(await tell({ args: { query: 'SELECT 1', table: 'orders' }, response: { rows: [[1]] } }), []);
  t.same(await tell({ args: null, response: 'text' }), []);
  t.equal(server.asked.length, before);
  t.same(await tell({ args: { table: 'tpch.tiny.nobody' } }), [], 'unknown');
  t.same(await tell({ args: { table: 'tpch.tiny.old_customer' } }), [], 'removed');
  t.same(await tell({ args: { table: 'tpch.tiny.nation' } }), [], 'catalogued, and nothing else');
});

t.test("the URN's other parts may be bound, and odd names are escaped", async (t) => {
  const args = { table: 'tpch.tiny.customer' };
  t.same(await tell({ args, bound: { platform: ['hive'], env: ['DEV'], instance: ['eu'] } }), []);
  t.same(server.asked.at(-1)?.variables.urns, ['urn:li:dataset:(urn:li:dataPlatform:hive,eu.tpch.tiny.customer,DEV)']);
  t.same(await told({ args: { sql: 'SELECT 1 FROM tpch.tiny."Odd, (näme)"' } }), ['tpch.tiny.odd, (näme)']);
});

t.test('at most twenty tables, and bounded work for any response', async (t) => {
  const tables = Array.from({ length: 500 }, (_, i) => `tpch.tiny.t${i}`);
  await tell({ response: { tables } });
  t.same(server.asked.at(-1)?.variables.urns, tables.slice(0, 20).map(tableUrn));
  const rows = Array.from({ length: 300_000 }, (_, i) => ({ table: i, note: [{}] }));
  const began = process.cpuUsage();
  t.same(await tell({ response: { rows } }), []);
  t.ok(secondsSince(began) < 0.5, `${secondsSince(began)} s`);
  const long = `SELECT 1 FROM ${'x, '.repeat(20_000)}tpch.tiny.customer`;
  t.same(await told({ args: { sql: long } }), [], 'too long to be read');
  const sql = `SELECT 1 FROM ${'x, '.repeat(10_000)}tpch.tiny.customer`;
  t.same(await told({ response: [{ sql }, { sql: sql.replace('customer', 'orders') }] }), ['tpch.tiny.customer']);
});

t.test('tables of statements', async (t) => {
  const tables = (sql: string): string[] => tablesOfStatement(sql).map((parts) => parts.join('.'));
  const cases: [sql: string, names: string[]][] = [
    ['SELECT * FROM a.b.c', ['a.b.c']],
    ['select x from a, b.c d, "q""t"."w" AS e(x, y), f', ['a', 'b.c', 'q"t.w', 'f']],
    ['SELECT * FROM a JOIN b ON a.x = b.y LEFT OUTER JOIN c USING (x, y) CROSS JOIN d', ['a', 'b', 'c', 'd']],
    ['WITH x AS (SELECT 1 FROM a), "Y" (i, j) AS (SELECT * FROM x, b) SELECT * FROM y, s.x', ['a', 'b', 's.x']],
    ['WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT * FROM r', []],
    ['SELECT * FROM (SELECT 1 FROM a WHERE x IN (SELECT y FROM b)) t, (c JOIN d ON true)', ['a', 'b', 'c', 'd']],
    ['SELECT extract(year FROM o), trim(BOTH FROM p) FROM a', ['a']],
    ['SELECT 1 FROM a WHERE x IS DISTINCT FROM y AND z IS NOT DISTINCT FROM w', ['a']],
    ['SELECT * FROM UNNEST(ARRAY[1]) u, TABLE(sequence(1, 2)), LATERAL (SELECT * FROM b) l, f(1), c', ['b', 'c']],
    ["SELECT 'FROM x' /* FROM y */ FROM a -- FROM z", ['a']],
    ['SELECT a.table, b."from" FROM a WHERE t.join = 1', ['a']],
    ['SELECT f(a, b), c FROM t GROUP BY a, b ORDER BY c, d', ['t']],
    ['SELECT 1 FROM a UNION SELECT 2 FROM b EXCEPT TABLE c', ['a', 'b', 'c']],
    ['SHOW COLUMNS FROM a.b.c', ['a.b.c']],
    ['SHOW TABLES FROM a.b', []],
    ['SHOW SCHEMAS FROM a', []],
    ['SHOW STATS FOR a.b.c', ['a.b.c']],
    ['SHOW CREATE TABLE a.b.c', ['a.b.c']],
    ['SHOW CREATE VIEW a.b.c', ['a.b.c']],
    ['DESCRIBE a.b.c', ['a.b.c']],
    ['DROP TABLE IF EXISTS a.b.c', ['a.b.c']],
    ['INSERT INTO a SELECT * FROM b', ['a', 'b']],
    ['CREATE TABLE a.b.c AS (SELECT * FROM d)', ['a.b.c', 'd']],
    ['UPDATE a SET x = 1', ['a']],
    ['DELETE FROM a WHERE x IN (1, 2)', ['a']],
    ['MERGE INTO a USING b ON a.i = b.i WHEN MATCHED THEN DELETE', ['a', 'b']],
    ['SELECT 1 FROM a; SELECT 2 FROM b', ['a', 'b']],
    ['SELECT * FROM a FOR VERSION AS OF 3 TABLESAMPLE BERNOULLI (10), b', ['a', 'b']],
    ['SELECT 1 FROM', []],
    ['SELECT 1 FROM a.', ['a']],
    ['FROM FROM , ( ) JOIN', []],
    ["SELECT 1 FROM a WHERE x = 'not closed", []],
    ['', []],
  ];
  for (const [sql, names] of cases) t.same(tables(sql), names, sql);
});

t.test('no text is too odd to be read', async (t) => {
  const word = fc.constantFrom(
    ...'SELECT FROM JOIN WITH AS ( ) , ; . " \' a b "c" TABLE SHOW COLUMNS IN FOR STATS 1 :x'.split(' '),
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.array(word).map((words) => words.join(' ')),
        fc.string(),
      ),
      (text) => {
        return tablesOfStatement(text).every(
          (parts) => parts.length > 0 && parts.every((part) => typeof part === 'string'),
        );
      },
    ),
    { numRuns: 2000 },
  );
  const began = process.cpuUsage();
  tablesOfStatement(`SELECT * FROM ${'('.repeat(50_000)}`);
  tablesOfStatement(`SELECT * FROM ${'a,'.repeat(25_000)}`);
  tablesOfStatement(`WITH ${'a AS ('.repeat(8_000)}`);
  t.ok(secondsSince(began) < 0.5, `${secondsSince(began)} s`);
});

t.test('any response is looked through', async () => {
  await fc.assert(
    fc.asyncProperty(fc.jsonValue(), fc.jsonValue(), async (args, response) => {
      return Array.isArray(await tell({ args: args as Json, response: response as Json }));
    }),
  );
});

t.test('a table of very many columns and rows takes neither time nor room', async (t) => {
  const columns = ['table_schema', 'table_name', ...Array.from({ length: 20_000 }, (_, i) => `c${i}`)];
  const rows: Json[] = Array.from({ length: 20_000 }, () => []);
  rows.unshift(['tiny', 'customer']);
  const began = process.cpuUsage();
  t.same(await told({ args: { catalog: 'tpch' }, response: { columns, rows } }), ['tpch.tiny.customer']);
  t.ok(secondsSince(began) < 5);
});
