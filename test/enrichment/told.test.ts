import t from 'tap';
import { createTold, type Telling } from '../../src/enrichment/told.ts';
import { broadcastTellings } from '../../src/enrichment/told-store.ts';
import { openDatabase } from '../../src/storage/database.ts';
import { listen } from '../../src/storage/listen.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { eventually } from '../support/eventually.ts';
import { startPostgres } from '../support/postgres.ts';

const log = createLogger('test', 'silent');
const NEVER = 1 << 30;

t.test('a session is told once; its name for it is stable', async (t) => {
  const sent: (readonly Telling[])[] = [];
  const told = createTold({ broadcast: async (batch) => void sent.push(batch), log, gatherMs: NEVER });
  const first = told.tell('s1', 'the owner is Ada');
  t.match(first, { name: /^ctx_[a-z2-7]{8}$/, again: false });
  t.same(told.tell('s1', 'the owner is Ada'), { ...first, again: true });
  t.same(told.tell('s2', 'the owner is Ada'), first, 'another session has not been told');
  t.not(told.tell('s1', 'the owner is Bob').name, first.name);
  told.forget('s1');
  t.equal(told.tell('s1', 'the owner is Ada').again, false);
  await told.close();
  t.equal(sent.length, 1, 'all in one go');
  t.same(
    sent[0]?.map(({ session }) => session),
    ['s1', 's2', 's1', 's1'],
    'and nothing that everybody knows',
  );
});

t.test('sessions and what each was told are bounded', async (t) => {
  const told = createTold({ broadcast: async () => {}, log, gatherMs: NEVER });
  for (let n = 0; n < 201; n++) told.tell('s', `context ${n}`);
  t.equal(told.tell('s', 'context 200').again, true);
  t.equal(told.tell('s', 'context 0').again, false, 'the oldest was forgotten');
  for (let n = 0; n < 5000; n++) told.tell(`session ${n}`, 'x');
  t.equal(told.tell('session 4999', 'x').again, true);
  t.equal(told.tell('s', 'context 200').again, false, 'so was the session that was told longest ago');
  await told.close();
});

t.test('a Postgres that is away costs repetition, and nothing else', async (t) => {
  const sent: number[] = [];
  let fail = true;
  const told = createTold({
    broadcast: async (batch) => {
      sent.push(batch.length);
      if (fail) throw new Error('away');
    },
    log,
    gatherMs: 1,
  });
  told.tell('s', 'a');
  await eventually(async () => sent.length === 1);
  fail = false;
  told.tell('s', 'b');
  told.tell('s', 'c');
  await eventually(async () => sent.length === 2);
  t.same(sent, [1, 2]);
  await told.close();
});

t.test('other processes hear of it', async (t) => {
  const postgres = await startPostgres();
  t.teardown(() => postgres.stop());
  const url = await postgres.createDatabase({ migrated: false });
  const database = openDatabase(url);
  t.teardown(() => database.close());
  let batches = 0;
  const start = () => {
    const told = createTold({
      broadcast: async (batch) => {
        batches++;
        await broadcastTellings(database, batch);
      },
      log,
    });
    t.teardown(() => told.close());
    let isReady = false;
    let heard = 0;
    const notices = (_: string, payload: string): void => {
      if (payload === 'poll') {
        isReady = true;
        return;
      }
      heard++;
      told.heard(payload);
    };
    const listener = listen(url, ['sallyport_told'], notices, { pollMs: NEVER });
    t.teardown(() => listener.close());
    return { told, isReady: () => isReady, heard: () => heard };
  };
  const [a, b] = [start(), start()];
  await eventually(a.isReady);
  await eventually(b.isReady);
  for (let n = 0; n < 300; n++) a.told.tell('s', `context ${n % 150} ${n}`);
  a.told.tell('other', 'it’s “quoted”');
  await eventually(() => b.heard() === 301);
  t.equal(b.told.tell('other', 'it’s “quoted”').again, true);
  t.equal(b.told.tell('s', 'context 149 299').again, true);
  t.equal(b.told.tell('s', 'context 149 300').again, false);
  t.ok(batches <= 3, `${batches} queries for 301 tellings`);
});

t.test('telling costs little', (t) => {
  const told = createTold({ broadcast: async () => {}, log, gatherMs: NEVER });
  const text = 'a context of some length. '.repeat(40);
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 20; round++) {
    const startedAt = performance.now();
    for (let n = 0; n < 1000; n++) told.tell('s', text);
    best = Math.min(best, (performance.now() - startedAt) / 1000);
  }
  t.comment(`${(best * 1000).toFixed(2)} µs for ${text.length} bytes`);
  t.ok(best < 0.05);
  void told.close();
  t.end();
});
