/** One call to a real MCP server, enriched in a chain from a real Trino, a real Postgres and DataHub's schema. */
import t from 'tap';
import { startDataHub, TOKEN } from '../support/datahub/server.ts';
import { eventually } from '../support/eventually.ts';
import { sdkClient } from '../support/mcp.ts';
import { startTrino } from '../support/trino/start.ts';
import { startEverything } from '../support/upstream.ts';
import { startLedger, startStage } from './enrichment.ts';

const trino = await startTrino(t);

t.test('Trino, then Postgres, then DataHub', { skip: trino.missing }, async (t) => {
  if (trino.missing !== false) return;
  const ledger = await startLedger(t);
  const dataHub = await startDataHub();
  t.teardown(() => dataHub.close());
  const everything = await startEverything(t);
  const { gateway, rule, auditOf, session } = await startStage(
    t,
    { everything },
    {
      warehouse: { type: 'trino', url: trino.url, user: 'sallyport', catalog: 'tpch', schema: 'tiny' },
      ledger: { type: 'postgres', url: ledger.url },
      catalog: { type: 'datahub', url: dataHub.url, token: TOKEN },
    },
  );
  for (const source of ['warehouse', 'ledger', 'catalog']) {
    const { json } = await gateway.admin('POST', `sources/${source}/test`);
    t.match(json, { ok: true, server: /^(Trino|PostgreSQL|DataHub) / }, source);
  }
  const before = await session.call('everything__get-structured-content', '{"location":"Chicago"}');
  const shared = { connection: 'everything', tool: 'get-structured-content' };
  await rule({
    ...shared,
    name: 'customer',
    source: {
      use: 'warehouse',
      query:
        'select c.custkey, c.name, n.name as nation from customer c join nation n using (nationkey) where c.custkey = :key',
      bind: { key: '$.response.humidity' },
    },
    merge: { path: 'context.customer' },
    priority: 30,
    timeout: '4s',
    cache: '1m',
  });
  await rule({
    ...shared,
    name: 'account',
    source: {
      use: 'ledger',
      query: 'select tier, owner from accounts where id = :key',
      bind: { key: '$.response.context.customer.custkey' },
    },
    merge: { path: 'context.customer.account' },
    priority: 20,
  });
  await rule({
    ...shared,
    name: 'meaning',
    when: { cel: 'response.context.customer.account.tier.startsWith("tier")' },
    source: {
      use: 'catalog',
      operation: 'entity',
      bind: { urn: 'urn:li:dataset:(urn:li:dataPlatform:trino,tpch.tiny.customer,PROD)' },
    },
    merge: { path: 'context.meaning' },
    priority: 10,
  });
  const client = await sdkClient(t, gateway.mcpUrl, gateway.key);
  await client.listTools();
  // A Trino that was started a moment ago takes its time for the first plan.
  const after = await eventually(async () => {
    const result = await client.callTool({
      name: 'everything__get-structured-content',
      arguments: { location: 'Chicago' },
    });
    return (result.structuredContent as { context?: object }).context !== undefined && result;
  }, 60_000);
  t.comment(`before: ${JSON.stringify(before.json.result)}`);
  t.comment(`after: ${JSON.stringify(after)}`);
  const was = before.json.result?.structuredContent as { humidity: number };
  const now = after.structuredContent as Record<string, unknown>;
  t.match(now, was);
  t.match(now.context, {
    customer: {
      custkey: was.humidity,
      name: /^Customer#\d{9}$/,
      nation: /^[A-Z ]+$/,
      account: { tier: `tier ${was.humidity % 3}`, owner: `owner-${was.humidity}` },
    },
    meaning: { urn: /tpch\.tiny\.customer/, description: /./, owners: [{ name: /./ }] },
  });
  const texts = (after.content as { text: string }[]).map(({ text }) => text);
  t.match(texts.join('\n'), /"customer"[\s\S]*"account"[\s\S]*"meaning"/);
  const row = await auditOf(
    'everything__get-structured-content',
    ({ enrichment }) => enrichment?.[0]?.outcome === 'merged',
  );
  t.match(row.enrichment, [
    { rule: 'customer', outcome: 'merged', rows: 1, source: 'warehouse' },
    { rule: 'account', outcome: 'merged', rows: 1, source: 'ledger' },
    { rule: 'meaning', outcome: 'merged', rows: 1, source: 'catalog' },
  ]);
  t.comment(JSON.stringify(row.enrichment));
});
