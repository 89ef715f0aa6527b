/** `query_context`: on a real Trino, and where one does not answer as it should. */
import fc from 'fast-check';
import t from 'tap';
import type { PresetContext } from '../../src/enrichment/presets/context.ts';
import { isName, quoteIdentifier } from '../../src/enrichment/presets/identifier.ts';
import { queryContext } from '../../src/enrichment/presets/query-context.ts';
import type { Json, JsonObject } from '../../src/mcp/exact-json.ts';
import { type Rendered, type SourceAnswer, SourceError } from '../../src/sources/source.ts';
import { tokenize } from '../../src/sources/sql/tokens.ts';
import { openTrino } from '../../src/sources/trino/client.ts';
import { tableUrn } from '../support/datahub/entities.ts';
import { startTrino } from '../support/trino/start.ts';

type Ask = PresetContext['ask'];

async function tell(
  response: Json,
  ask: Ask,
  bound: Readonly<Record<string, readonly Json[]>> = {},
  ...limits: readonly number[]
): Promise<readonly Json[]> {
  const context: PresetContext = {
    root: { args: {}, response, principal: {}, tool: {} },
    values: new Map(Object.entries(bound)),
    sourceName: 'warehouse',
    ask,
  };
  return queryContext(context, ...limits);
}

const rows = (...of: Json[]): SourceAnswer => ({ rows: of, isTruncated: false });

const trino = await startTrino(t);

t.test('on a real Trino', { skip: trino.missing }, async (t) => {
  if (trino.missing !== false) return;
  const limits = { maxConcurrent: 10, circuitBreaker: { consecutiveErrors: 5, openForMs: 1000 } };
  const client = openTrino({ type: 'trino', enabled: true, ...limits, url: trino.url, user: 'tests', session: {} });
  t.teardown(() => client.close());
  const asked: string[] = [];
  const limitsOfRule = { timeoutMs: 60_000, maxRows: 100, maxBytes: 65_536 };
  const ask: Ask = (rendered) => {
    asked.push(rendered.shown);
    return client.ask(rendered, { ...limitsOfRule, signal: AbortSignal.timeout(60_000) });
  };
  const gone = tableUrn('tpch.tiny.nobody');
  const elsewhere = tableUrn("no'where.a.b");
  const response = {
    searchResults: [{ entity: { urn: tableUrn('tpch.tiny.customer') } }, { entity: { urn: gone } }],
    related: [tableUrn('tpch.sf1.orders'), elsewhere, 'urn:li:dataset:(urn:li:dataPlatform:hive,a.b.c,PROD)'],
  };
  // However busy the machine is.
  const [row] = (await tell(response, ask, {}, 60_000)) as [JsonObject];
  t.same(row[tableUrn('tpch.tiny.customer')], {
    queryable: true,
    source: 'warehouse',
    table: 'tpch.tiny.customer',
    sampleQuery:
      'SELECT "custkey", "name", "address", "nationkey", "phone", "acctbal", "mktsegment", "comment" FROM "tpch"."tiny"."customer" LIMIT 10',
    rowCount: 1500,
  });
  t.match(row[tableUrn('tpch.sf1.orders')], { queryable: true, rowCount: 1_500_000 });
  t.same(row[gone], {
    queryable: false,
    source: 'warehouse',
    table: 'tpch.tiny.nobody',
    reason: 'Trino has no such table, or its user may not see it',
  });
  t.match(row[elsewhere], { queryable: false, reason: /no'where/ });
  t.equal(Object.keys(row).length, 4);
  t.equal(asked.length, 4, 'one statement for each catalog, and the statistics of two tables');
  t.equal(asked.filter((statement) => statement.includes('information_schema')).length, 2);

  const sample = (row[tableUrn('tpch.tiny.customer')] as JsonObject).sampleQuery as string;
  t.equal((await ask({ shown: sample, key: sample, statement: sample } as Rendered)).rows.length, 10, 'samples run');
});

t.test('no dataset of Trino: nobody is asked', async (t) => {
  const never: Ask = async () => {
    t.fail('asked');
    return rows();
  };
  t.same(await tell({ a: ['urn:li:dataset:(urn:li:dataPlatform:hive,a.b.c,PROD)', 'urn:li:tag:a'] }, never), []);
  t.same(await tell('urn:li:dataset:(urn:li:dataPlatform:trino,a,PROD)', never), [], 'no catalog and no schema');
  t.same(await tell(null, never), []);
});

t.test('names as DataHub has them', async (t) => {
  const statements: string[] = [];
  const ask: Ask = async ({ shown }) => {
    statements.push(shown);
    return rows();
  };
  const urn = (platform: string, name: string): string =>
    `urn:li:dataset:(urn:li:dataPlatform:${platform},${name},PROD)`;
  const one = async (text: string, bound: Readonly<Record<string, readonly Json[]>>): Promise<Json> => {
    const [row] = (await tell([text], ask, bound)) as (JsonObject | undefined)[];
    return (row?.[text] as JsonObject | undefined)?.table ?? null;
  };
  t.equal(await one(urn('trino', 'EU.Tpch.Tiny.Nation'), { instance: ['EU'] }), 'tpch.tiny.nation');
  t.equal(await one(urn('trino', 'us.tpch.tiny.nation'), { instance: ['eu'] }), null, 'of another instance');
  t.equal(await one(urn('hive', 'sales.orders'), { platform: ['hive'], catalog: ['lake'] }), 'lake.sales.orders');
  t.equal(await one(urn('trino', 'a.b.c.d%2C %28e%29'), {}), 'a.b.c.d, (e)', 'dots and escapes in the name of a table');
  const hostile = urn('trino', `a".b'; DROP TABLE x --.c`);
  t.equal(await one(hostile, {}), `a".b'; drop table x --.c`);
  const kinds = tokenize(statements.at(-1) as string, 'trino').map(({ kind, text }) => `${kind} ${text}`);
  t.notOk(kinds.includes('word DROP') || kinds.includes('symbol ;'), 'stays within its quotes');
});

t.test("a catalog's trouble is told of its tables; Trino's trouble is the rule's", async (t) => {
  const broken =
    (kind: SourceError['kind']): Ask =>
    async ({ shown }) => {
      if (shown.includes('"bad"')) throw new SourceError(kind, "line 3:6: Catalog 'bad' not found");
      if (shown.startsWith('SHOW')) throw new SourceError('refused', 'no statistics for you');
      return rows({ table_schema: 's', table_name: 't', columns: ['a"b', null, 'c'] }, 17, { table_schema: 1 });
    };
  const response = [tableUrn('bad.s.t'), tableUrn('good.s.t')];
  const [row] = (await tell(response, broken('refused'))) as [JsonObject];
  t.same(row[tableUrn('bad.s.t')], {
    queryable: false,
    source: 'warehouse',
    table: 'bad.s.t',
    reason: "line 3:6: Catalog 'bad' not found",
  });
  t.same(row[tableUrn('good.s.t')], {
    queryable: true,
    source: 'warehouse',
    table: 'good.s.t',
    sampleQuery: 'SELECT "a""b", "c" FROM "good"."s"."t" LIMIT 10',
  });
  await t.rejects(tell(response, broken('unavailable')), { kind: 'unavailable', message: /not found/ });
  await t.rejects(tell(response, broken('timeout')), { kind: 'timeout', message: /not found/ });
});

t.test('statistics that do not come are not waited for', async (t) => {
  let isAsked = false;
  const ask: Ask = async ({ shown }) => {
    if (!shown.startsWith('SHOW')) return rows({ table_schema: 's', table_name: 't', columns: [] });
    isAsked = true;
    return new Promise(() => {});
  };
  const [row] = (await tell([tableUrn('c.s.t')], ask)) as [JsonObject];
  t.ok(isAsked);
  t.same(row[tableUrn('c.s.t')], {
    queryable: true,
    source: 'warehouse',
    table: 'c.s.t',
    sampleQuery: 'SELECT * FROM "c"."s"."t" LIMIT 10',
  });
});

t.test('what an answer was too long for is not said to be missing', async (t) => {
  const ask: Ask = async ({ shown }) => {
    if (shown.startsWith('SHOW')) return rows();
    return { rows: [{ table_schema: 's', table_name: 'a', columns: [] }], isTruncated: true };
  };
  const [row] = (await tell([tableUrn('c.s.a'), tableUrn('c.s.b')], ask)) as [JsonObject];
  t.same(Object.keys(row), [tableUrn('c.s.a')]);
});

t.test('at most twenty datasets', async (t) => {
  const ask: Ask = async () => rows();
  const response = Array.from({ length: 100 }, (_, i) => tableUrn(`c.s.t${i}`));
  t.equal(Object.keys((await tell(response, ask))[0] as JsonObject).length, 20);
});

t.test('any name in quotes is that one name to Trino', async () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', minLength: 1 }), (name) => {
      fc.pre(isName(name));
      const text = `SELECT 1 FROM ${quoteIdentifier(name)}.x`;
      const tokens = tokenize(text, 'trino');
      const [, , , token, dot] = tokens;
      return (
        tokens.length === 6 &&
        token?.kind === 'name' &&
        dot?.text === '.' &&
        text.slice(token.start + 1, token.end - 1).replaceAll('""', '"') === name
      );
    }),
  );
});
