import t from 'tap';
import { eventually } from '../support/eventually.ts';
import { startLedger, startRecords, startStage, structured } from './enrichment.ts';

/** Longer than anything else here takes. */
const SLOW = {
  name: 'slow',
  connection: 'crm',
  tool: '*',
  timeout: '4s',
  source: { use: 'ledger', query: 'select :id::int as asked, pg_sleep(3)::text', bind: { id: '$.response.id' } },
  merge: { path: 'slow' },
};
const RESULT = '{"content":[],"structuredContent":{"id":42}}';
/** Bytes that the flood would have, and that may be on their way when it is held up. */
const FLOOD = 256 << 20;
const ON_ITS_WAY = 64 << 20;

t.test('while a rule waits, who leaves ends it, who cancels gets what there is, and a flood is held up', async (t) => {
  const ledger = await startLedger(t);
  const flood = { written: 0, at: 0 };
  const crm = await startRecords(
    t,
    { get: RESULT, flood: RESULT },
    {
      onCall({ message }, response) {
        const body = `{"jsonrpc":"2.0","id":${JSON.stringify(message.id)},"result":${RESULT}}`;
        if (message.params?.name === 'get') {
          response.writeHead(200, { 'content-type': 'application/json' }).end(body);
          return true;
        }
        response.writeHead(200, { 'content-type': 'text/event-stream' }).write(`data: ${body}\n\n`);
        const junk = Buffer.from(`: ${'x'.repeat(64_000)}\n\n`);
        const more = (): void => {
          let goesOn = true;
          while (goesOn && flood.written < FLOOD && !response.destroyed) {
            goesOn = response.write(junk);
            flood.written += junk.length;
            flood.at = performance.now();
          }
          if (flood.written >= FLOOD) response.end();
        };
        response.on('drain', more);
        more();
        return true;
      },
    },
  );
  const { gateway, session, rule, auditOf } = await startStage(
    t,
    { crm },
    { ledger: { type: 'postgres', url: ledger.url } },
  );
  await rule(SLOW);
  const isAsked = async (): Promise<boolean> => {
    const { rows } = await ledger.run(
      "select 1 from pg_stat_activity where state = 'active' and query like '%pg_sleep%' and pid <> pg_backend_pid()",
    );
    return rows.length > 0;
  };

  const cancelled = session.call('crm__get', '{}', '"taken back"');
  await eventually(isAsked);
  await session.send('{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"taken back"}}');
  t.same(structured(await cancelled), { id: 42 }, 'the result as it came, at once');
  t.match((await auditOf('crm__get')).enrichment, [{ outcome: 'skipped', reason: /nobody waits/ }]);
  await eventually(async () => !(await isAsked()));

  const leaving = new AbortController();
  const left = fetch(gateway.mcpUrl, {
    method: 'POST',
    signal: leaving.signal,
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      authorization: `Bearer ${gateway.key}`,
      'mcp-session-id': session.id,
    },
    body: '{"jsonrpc":"2.0","id":"left","method":"tools/call","params":{"name":"crm__get","arguments":{}}}',
  });
  await eventually(isAsked);
  leaving.abort();
  await t.rejects(left);
  await eventually(async () => !(await isAsked()));
  t.equal((await auditOf('crm__get', ({ verdict }) => verdict === 'failed')).enrichment, null);
  t.notMatch(gateway.output(), /exchange failed/, 'neither is a fault');

  let isOver = false;
  const flooded = session.call('crm__flood').finally(() => {
    isOver = true;
  });
  await eventually(() => flood.written > 0 && performance.now() - flood.at > 500);
  t.notOk(isOver, 'the rule still waits');
  t.ok(flood.written < ON_ITS_WAY, `${flood.written >> 20} MiB were taken`);
  t.match(structured(await flooded), { slow: { asked: 42 } });
});
