import { randomUUID } from 'node:crypto';
import t from 'tap';
import type { AuditRow } from '../../src/audit/record.ts';
import {
  auditStats,
  ensureAuditPartitions,
  insertAuditEvents,
  pruneAudit,
  readAuditEvents,
} from '../../src/audit/store.ts';
import { openDatabase } from '../../src/storage/database.ts';
import { startPostgres } from '../support/postgres.ts';

const postgres = await startPostgres();
const database = openDatabase(await postgres.createDatabase());
t.teardown(async () => {
  await database.close();
  await postgres.stop();
});

const row = (changes: Partial<AuditRow> = {}): AuditRow => ({
  id: randomUUID(),
  at: '2026-11-10T10:00:00.000Z',
  tenant_id: 'default',
  namespace: 'default',
  request_id: null,
  trace_id: null,
  session_id: null,
  subject: 'ci',
  auth_method: 'api_key',
  client_name: null,
  persona: 'admin',
  method: 'tools/call',
  connection: 'crm',
  connection_kind: 'mcp',
  tool: 'crm__get',
  upstream_tool: 'get',
  definition_digest: null,
  arguments: '{"id":1,"nested":["ä",null]}',
  arguments_sha256: null,
  result: null,
  result_sha256: null,
  verdict: 'allowed',
  rule: null,
  pattern: '*',
  reason: null,
  findings: null,
  enrichment: null,
  credential_id: null,
  upstream_status: 200,
  is_error: false,
  http_status: 200,
  duration_us: 900,
  upstream_us: 700,
  processor_us: 100,
  bytes_in: 10,
  bytes_out: 20,
  ...changes,
});
const all = () => readAuditEvents(database.kysely, 'default', {}, 1000);
const partitions = async () =>
  (
    await database.pool.query(
      `select inhrelid::regclass::text as name from pg_inherits where inhparent = 'audit_events'::regclass order by 1`,
    )
  ).rows.map((one) => one.name);

t.test('a batch is stored as it is, once, however often it is repeated', async (t) => {
  const batch = Array.from({ length: 500 }, (_, i) =>
    row({ at: new Date(Date.UTC(2026, 10, 10, 0, 0, i)).toISOString(), bytes_in: i }),
  );
  await insertAuditEvents(database, batch);
  await insertAuditEvents(database, batch);
  await insertAuditEvents(database, []);
  const stored = await all();
  t.equal(stored.length, 500);
  t.match(stored[0], {
    bytes_in: 499,
    arguments: { id: 1, nested: ['ä', null] },
    verdict: 'allowed',
    is_error: false,
    findings: null,
  });
});

t.test('what Postgres cannot store costs a row its text, never a batch', async (t) => {
  const poisoned = [
    row({ tool: 'nul\u0000byte', subject: 'poison' }),
    row({ reason: 'lone \ud800 surrogate', subject: 'poison' }),
    row({ arguments: JSON.stringify({ 'a\u0000': 1 }), subject: 'poison' }),
    row({ arguments: '1e999999', subject: 'poison' }),
    row({ subject: 'poison' }),
  ];
  await insertAuditEvents(database, poisoned);
  const stored = await readAuditEvents(database.kysely, 'default', { principal: 'poison' }, 10);
  t.equal(stored.length, 5);
  t.ok(stored.some(({ tool }) => tool === 'nul\ufffdbyte'));
});

t.test('a row without arguments loses its text, too, and one that is refused altogether its details', async (t) => {
  const plain = { arguments: null, subject: 'bare' };
  await insertAuditEvents(database, [
    row({ ...plain, tool: '\ud800' }),
    row({ ...plain, reason: 'nul\u0000byte' }),
    row({ ...plain, duration_us: 2 ** 40, method: 'HTTP GET' }),
    row({ ...plain, reason: 'behind them' }),
  ]);
  const stored = (await all()).filter(({ subject }) => subject === 'bare');
  t.equal(stored.length, 4);
  t.same(
    stored.filter(({ tool }) => tool === '\ufffd').map(({ duration_us }) => duration_us),
    [900],
  );
  t.same(
    stored.filter(({ method }) => method === 'HTTP GET').map(({ verdict, reason }) => [verdict, reason]),
    [['allowed', 'Postgres refused the rest of this row']],
  );
});

t.test('pages do not lose or repeat a row, even where many have the same moment', async (t) => {
  const at = '2026-11-12T00:00:00.000Z';
  await insertAuditEvents(
    database,
    Array.from({ length: 25 }, () => row({ at, persona: 'paged' })),
  );
  const seen = new Set<string>();
  let before: { at: Date; id: string } | undefined;
  for (;;) {
    const page = await readAuditEvents(database.kysely, 'default', { persona: 'paged', before }, 10);
    for (const { id } of page) seen.add(id);
    if (page.length < 10) break;
    before = page.at(-1);
  }
  t.equal(seen.size, 25);
  t.strictSame(await readAuditEvents(database.kysely, 'other', {}, 10), [], 'tenants do not see each other');
});

t.test('counts', async (t) => {
  await insertAuditEvents(database, [
    row({ verdict: 'denied', connection: 'stats', duration_us: 5 }),
    row({ connection: 'stats', duration_us: 7 }),
  ]);
  const stats = await auditStats(database.kysely, 'default', { connection: 'stats' });
  t.strictSame(stats.connection, [{ value: 'stats', count: 2 }]);
  t.strictSame(new Set(stats.verdict?.map(({ value }) => value)), new Set(['allowed', 'denied']));
  t.match(stats.calls, { calls: 2, p50: 5, p99: 7 });
});

t.test('months get their partition, early rows move into it, and old months go as a whole', async (t) => {
  t.strictSame(await partitions(), ['audit_events_default']);
  const total = (await all()).length;
  const now = new Date('2026-11-24T12:00:00Z');
  await Promise.all([ensureAuditPartitions(database, now), ensureAuditPartitions(database, now)]);
  t.strictSame(await partitions(), ['audit_events_2026_11', 'audit_events_2026_12', 'audit_events_default']);
  t.equal((await all()).length, total);
  t.equal((await database.pool.query('select 1 from audit_events_default')).rowCount, 0);
  await insertAuditEvents(database, [row({ at: '2026-12-31T23:59:59.999Z', subject: 'december' })]);
  t.equal((await database.pool.query('select 1 from audit_events_2026_12')).rowCount, 1);
  const ancient = { at: '2020-01-01T00:00:00.000Z', subject: 'ancient' };
  await insertAuditEvents(database, [row(ancient), row(ancient), row(ancient)]);

  await pruneAudit(database, 10 * 86_400_000, new Date('2026-12-20T00:00:00Z'), 1);
  t.strictSame(await partitions(), ['audit_events_2026_12', 'audit_events_default']);
  t.strictSame(
    (await all()).map(({ subject }) => subject),
    ['december'],
  );
  await ensureAuditPartitions(database, new Date('2026-12-20T00:00:00Z'));
  t.strictSame(await partitions(), ['audit_events_2026_12', 'audit_events_2027_01', 'audit_events_default']);
});

t.test('a batch of 500 is cheap', async (t) => {
  const batch = () => Array.from({ length: 500 }, () => row({ subject: 'speed' }));
  await insertAuditEvents(database, batch());
  const rows = batch();
  const before = process.cpuUsage();
  await insertAuditEvents(database, rows);
  const { user, system } = process.cpuUsage(before);
  const micros = (user + system) / 500;
  t.comment(`${micros.toFixed(1)} µs of this process per row`);
  t.ok(micros < 100);
});
