import t from 'tap';
import { eventually } from '../support/eventually.ts';
import { openSession, post, sdkClient } from '../support/mcp.ts';
import { startLedger, startRecords, startStage, structured, texts } from './enrichment.ts';

/** Its spaces and its number are the upstream's own. */
const CUSTOMER = '{ "customer_id": 42,  "note":"caf\\u00e9", "serial": 12345678901234567890 }';
const customer = `{"content":[{"type":"text","text":${JSON.stringify(CUSTOMER)}}],"structuredContent":${CUSTOMER}}`;

const ACCOUNT = {
  name: 'account',
  connection: 'crm',
  tool: 'get_*',
  when: { exists: ['$.response.customer_id'] },
  source: {
    use: 'ledger',
    query: 'select tier, owner, big from accounts where id = :id',
    bind: { id: '$.response.customer_id' },
  },
  merge: { path: 'enrichment.account' },
  priority: 10,
};

t.test('a result gains what Postgres knows, in a chain, and nothing of the upstream changes', async (t) => {
  const ledger = await startLedger(t);
  const crm = await startRecords(
    t,
    { get_customer: customer, list_customers: customer },
    {
      schemas: {
        get_customer: {
          type: 'object',
          properties: { customer_id: { type: 'integer' }, note: { type: 'string' }, serial: { type: 'number' } },
          required: ['customer_id'],
          additionalProperties: false,
        },
      },
    },
  );
  const events = await startRecords(t, { get_customer: customer }, { sse: true });
  const { gateway, session, rule, auditOf } = await startStage(
    t,
    { crm, events },
    { ledger: { type: 'postgres', url: ledger.url } },
    { audit: { record: { results: 'full' } } },
  );

  const plain = await session.call('crm__get_customer');
  t.ok(plain.text.includes(CUSTOMER), 'without rules the bytes pass');
  await rule(ACCOUNT);
  await rule({
    name: 'mail',
    connection: '*',
    tool: 'get_customer',
    source: {
      use: 'ledger',
      query: 'select mail from owners where name = :owner',
      bind: { owner: '$.response.enrichment.account.owner' },
    },
    merge: { path: 'enrichment.account.contact' },
  });

  const answer = await session.call('crm__get_customer');
  t.same(structured(answer).enrichment, {
    account: {
      tier: 'tier 0',
      owner: 'owner-42',
      big: Number('9007199254741035'),
      contact: { mail: 'owner-42@example.com' },
    },
  });
  t.match(answer.text, '"big":9007199254741035', 'every digit of a number that no double holds');
  t.ok(
    answer.text.includes('{ "customer_id": 42,  "note":"caf\\u00e9", "serial": 12345678901234567890'),
    'byte for byte',
  );
  t.equal(texts(answer)[0], CUSTOMER, 'the text of the upstream stays');
  t.match(texts(answer).slice(1).join('\n'), /account[\s\S]*owner-42@example\.com/, 'and what was added can be read');

  const row = await auditOf('crm__get_customer', ({ enrichment }) => enrichment?.length === 2);
  t.match(row.enrichment, [
    { rule: 'account', outcome: 'merged', rows: 1, source: 'ledger' },
    { rule: 'mail', outcome: 'merged', rows: 1 },
  ]);
  t.match(JSON.stringify(row.result), /customer_id/);
  t.notMatch(JSON.stringify(row.result), /enrichment/, 'what is recorded is what the upstream said');

  t.test('an event stream is enriched on its last event', async (t) => {
    await rule({ ...ACCOUNT, name: 'streamed', connection: 'events' });
    const streamed = await session.call('events__get_customer');
    t.match(streamed.headers.get('content-type'), /event-stream/);
    t.match(streamed.text, /"data":"working"/, 'what comes before passes');
    t.match(structured(streamed).enrichment, { account: { owner: 'owner-42' } });
  });

  t.test('other tools stay as they are', async (t) => {
    t.ok((await session.call('crm__list_customers')).text.includes(customer.slice(1, -1)));
  });

  t.test('the official client validates what it gets against the widened output schema', async (t) => {
    const client = await sdkClient(t, gateway.mcpUrl, gateway.key);
    const { tools } = await client.listTools();
    const schema = tools.find(({ name }) => name === 'crm__get_customer')?.outputSchema;
    t.ok(schema?.additionalProperties === false && 'enrichment' in (schema.properties ?? {}), 'one more property');
    const result = await client.callTool({ name: 'crm__get_customer', arguments: {} });
    t.match(result.structuredContent, { enrichment: { account: { owner: 'owner-42' } } });
  });

  t.test('a modern client gets it, too', async (t) => {
    const modern = await post(
      gateway.mcpUrl,
      gateway.key,
      JSON.stringify({
        jsonrpc: '2.0',
        id: 1,
        method: 'tools/call',
        params: {
          name: 'crm__get_customer',
          arguments: {},
          _meta: {
            'io.modelcontextprotocol/protocolVersion': '2026-07-28',
            'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
            'io.modelcontextprotocol/clientCapabilities': {},
          },
        },
      }),
      { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': 'crm__get_customer' },
    );
    t.match(modern.json.result, {
      resultType: 'complete',
      structuredContent: { enrichment: { account: { owner: 'owner-42' } } },
    });
  });

  t.test('metrics count what became of the rules', async () => {
    await eventually(async () => {
      const text = await (
        await fetch(`${gateway.adminUrl}/metrics`, { headers: { authorization: `Bearer ${gateway.adminToken}` } })
      ).text();
      return /sallyport_enrichment_total\{[^}]*outcome="merged"[^}]*\} [1-9]/.test(text);
    });
  });
});

t.test('a thousand elements are enriched with one query', async (t) => {
  const ledger = await startLedger(t);
  const elements = Array.from({ length: 1000 }, (_, i) => `{"customer":${i + 1},"sum":${i}.50}`).join(',');
  const orders = `{"content":[],"structuredContent":{"orders":[${elements},{"customer":null},{"customer":99999}]}}`;
  const crm = await startRecords(t, { orders });
  const { session, rule, auditOf } = await startStage(t, { crm }, { ledger: { type: 'postgres', url: ledger.url } });
  await rule({
    name: 'customers',
    connection: 'crm',
    tool: 'orders',
    forEach: '$.response.orders[*]',
    source: {
      use: 'ledger',
      query: 'select id as customer, tier from accounts where id in (:customer)',
      bind: { customer: '$.item.customer' },
    },
    merge: { path: 'account' },
    maxBytes: '1MiB',
  });
  const answer = await session.call('crm__orders');
  const got = structured(answer).orders as {
    customer: number | null;
    sum?: number;
    account?: { customer: number; tier: string };
  }[];
  t.equal(got.length, 1002);
  t.ok(
    got
      .slice(0, 1000)
      .every(
        ({ customer, account }) => account?.customer === customer && account?.tier === `tier ${(customer ?? 0) % 3}`,
      ),
  );
  t.equal(got[1000]?.account, undefined);
  t.equal(got[1001]?.account, undefined);
  t.match(answer.text, '{"customer":7,"sum":6.50', 'numbers as they were written');
  const row = await auditOf('crm__orders', ({ enrichment }) => enrichment !== null);
  t.match(row.enrichment, [{ rule: 'customers', outcome: 'merged', rows: 1000, elements: [1000, 1002] }]);
});

t.test('what goes wrong in a rule is its own: the result is complete, and the agent reads why', async (t) => {
  const ledger = await startLedger(t);
  const crm = await startRecords(t, {
    get_customer: customer,
    get_text: '{"content":[{"type":"text","text":"not JSON at all"}]}',
    get_image: '{"content":[{"type":"image","data":"aGk=","mimeType":"image/png"}]}',
    get_error: `{"isError":true,"content":[{"type":"text","text":${JSON.stringify(CUSTOMER)}}]}`,
    get_odd: '{"content":[{"type":"text","text":"{\\"customer_id\\":[1,2]}"}]}',
    get_nul: '{"content":[{"type":"text","text":"{\\"customer_id\\":\\"a\\\\u0000b\\"}"}]}',
  });
  const { gateway, session, rule, auditOf } = await startStage(
    t,
    { crm },
    {
      ledger: { type: 'postgres', url: ledger.url },
      gone: { type: 'postgres', url: 'postgres://nobody:secret-word@127.0.0.1:1/none' },
    },
  );
  await rule(ACCOUNT);
  for (const name of ['get_text', 'get_image', 'get_error']) {
    const answer = await session.call(`crm__${name}`);
    t.equal(texts(answer).length, 1, `${name} passes as it is`);
    t.equal(structured(answer).enrichment, undefined);
  }
  t.match((await auditOf('crm__get_text')).enrichment, [{ rule: 'account', outcome: 'skipped', reason: /JSON/ }]);
  t.equal((await auditOf('crm__get_error')).enrichment, null);

  t.equal(structured(await session.call('crm__get_odd')).enrichment, undefined, 'an array is no scalar');
  t.match((await auditOf('crm__get_odd')).enrichment, [{ outcome: 'skipped' }]);
  t.equal(structured(await session.call('crm__get_nul')).enrichment, undefined);
  t.match((await auditOf('crm__get_nul')).enrichment, [{ outcome: 'skipped' }]);

  await rule({
    ...ACCOUNT,
    source: { ...ACCOUNT.source, query: 'select pg_sleep(10), :id::int' },
    timeout: '100ms',
    priority: 20,
    name: 'slow',
  });
  await rule({
    ...ACCOUNT,
    source: { ...ACCOUNT.source, use: 'gone' },
    name: 'unreachable',
    errorBudget: { failures: 2, per: '5m' },
  });
  const began = performance.now();
  const answer = await session.call('crm__get_customer');
  t.ok(performance.now() - began < 3000);
  t.match(
    structured(answer),
    { customer_id: 42, enrichment: { account: { owner: 'owner-42' } } },
    'the rule that works works',
  );
  const warning = texts(answer).at(-1) ?? '';
  t.match(warning, /"slow".*100 ms/);
  t.match(warning, /"unreachable"/);
  t.notMatch(answer.text, /secret-word/);
  const row = await auditOf('crm__get_customer', ({ enrichment }) => enrichment?.length === 3);
  t.equal(row.verdict, 'allowed');
  t.match(row.enrichment, [
    { rule: 'slow', outcome: 'failed' },
    { rule: 'account', outcome: 'merged' },
    { rule: 'unreachable', outcome: 'failed' },
  ]);

  t.test('a rule that spends its error budget is switched off, until somebody switches it on', async (t) => {
    await eventually(async () => {
      await session.call('crm__get_customer');
      const newest = await auditOf('crm__get_customer');
      return newest.enrichment?.some(({ rule: name, outcome }) => name === 'unreachable' && outcome === 'off');
    });
    const { json } = await gateway.admin<{ status: { state: string } }>('GET', 'rules/unreachable');
    t.match(json.status, { state: 'off' });
    t.match(gateway.output(), /unreachable/);
    t.equal((await gateway.admin('POST', 'rules/unreachable/enable')).status < 300, true);
    await eventually(async () => {
      await session.call('crm__get_customer');
      const newest = await auditOf('crm__get_customer');
      return newest.enrichment?.some(({ rule: name, outcome }) => name === 'unreachable' && outcome === 'failed');
    });
  });
});

t.test('a rule may call a tool of another connection, as the caller and never beyond', async (t) => {
  const crm = await startRecords(t, { get_customer: customer });
  const people = await startRecords(t, {
    find: '{"content":[{"type":"text","text":"{\\"name\\":\\"Ada\\"}"}]}',
  });
  const { gateway, session, rule, auditOf } = await startStage(t, { crm, people }, {});
  await rule({
    ...ACCOUNT,
    name: 'person',
    source: { tool: 'people__find', bind: { id: '$.response.customer_id' } },
    merge: { path: 'person' },
  });
  t.match(structured(await session.call('crm__get_customer')), { person: { name: 'Ada' } });
  t.same(people.calls().at(-1)?.message.params?.arguments, { id: 42 });
  await gateway.admin('POST', 'personas', { name: 'crm-only', roles: ['crm'], tools: { allow: ['crm__*'] } });
  const { json } = await gateway.admin<{ key: string }>('POST', 'keys', { name: 'narrow', roles: ['crm'] });
  const narrow = await eventually(() => openSession(gateway.mcpUrl, json.key));
  await eventually(async () => (await narrow.tools()).includes('crm__get_customer'));
  const before = people.calls().length;
  const answer = await narrow.call('crm__get_customer');
  t.match(structured(answer), { customer_id: 42, person: undefined });
  t.equal(people.calls().length, before, 'nobody was called');
  t.match((await auditOf('people__find', ({ verdict }) => verdict === 'denied')).reason, /person/);
});

t.test('what a session was told is not told again', async (t) => {
  const ledger = await startLedger(t);
  const crm = await startRecords(t, { get_customer: customer });
  const { gateway, session, rule, auditOf } = await startStage(
    t,
    { crm },
    { ledger: { type: 'postgres', url: ledger.url } },
  );
  await rule({
    ...ACCOUNT,
    repeat: 'reference',
    source: {
      use: 'ledger',
      query: "select tier, owner, repeat('long ', 100) as text from accounts where id = :id",
      bind: ACCOUNT.source.bind,
    },
  });
  const account = (answer: Awaited<ReturnType<typeof session.call>>) =>
    (structured(answer).enrichment as { account: { context: string; owner?: string } }).account;
  const first = account(await session.call('crm__get_customer'));
  t.equal(first.owner, 'owner-42');
  const second = account(await session.call('crm__get_customer'));
  t.equal(second.context, first.context);
  t.equal(second.owner, undefined);
  const row = await auditOf('crm__get_customer', ({ enrichment }) => enrichment?.[0]?.outcome === 'repeated');
  t.ok(Number(row.enrichment?.[0]?.tokensSaved) > 50);
  const other = await openSession(gateway.mcpUrl, gateway.key);
  t.equal(account(await other.call('crm__get_customer')).owner, 'owner-42', 'another session has not been told');
});
