import { randomUUID } from 'node:crypto';
import t from 'tap';
import { createBudgets, type Trip, type TripStore } from '../../src/enrichment/budgets.ts';
import { createTripStore } from '../../src/enrichment/budgets-store.ts';
import type { CompiledRule } from '../../src/enrichment/rule.ts';
import { openDatabase } from '../../src/storage/database.ts';
import { listen } from '../../src/storage/listen.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createMeters } from '../../src/telemetry/meters.ts';
import { eventually } from '../support/eventually.ts';
import { startPostgres } from '../support/postgres.ts';

const silent = createLogger('test', 'silent');
const POLL_NEVER = 1 << 30;

function rule(changes: { id?: string; name?: string; version?: number; failures?: number; perMs?: number } = {}) {
  const { id = 'r1', name = 'owner', version = 1, failures = 2, perMs = 1000 } = changes;
  return {
    id,
    name,
    version,
    tenant: 'default',
    config: { connection: 'crm', errorBudget: { failures, perMs } },
  } as unknown as CompiledRule;
}

/** Postgres' part, where it does not matter. */
class Store implements TripStore {
  stored: Trip[] = [];
  isAway = false;
  reads = 0;
  async trips() {
    if (this.isAway) throw new Error('away');
    this.reads++;
    return this.stored;
  }
  async add(trip: Trip) {
    if (this.isAway) throw new Error('away');
    this.stored = [...this.stored, trip];
  }
}

const settled = async (): Promise<void> => {
  for (let n = 0; n < 5; n++) await new Promise((resolve) => setImmediate(resolve));
};

t.test('so many failures within so long, and not one more', async (t) => {
  let now = 0;
  const budgets = createBudgets({ store: new Store(), log: silent, now: () => now, pollMs: POLL_NEVER });
  const one = rule();
  for (const at of [0, 500, 1000, 1500]) {
    now = at;
    budgets.failed(one, 'no');
    t.notOk(budgets.isOff(one), `at ${at} ms: two within a second, for the window slides`);
  }
  now = 1999;
  budgets.failed(one, 'no');
  t.ok(budgets.isOff(one));
  t.notOk(budgets.isOff(rule({ id: 'r2' })), 'no other rule');
  t.notOk(budgets.isOff(rule({ version: 2 })), 'a changed rule begins anew');
  budgets.failed(rule({ version: 2 }), 'no');
  budgets.failed(rule({ version: 2 }), 'no');
  budgets.failed(rule({ version: 3 }), 'no');
  budgets.failed(rule({ version: 2 }), 'no');
  budgets.failed(rule({ version: 3 }), 'no');
  t.notOk(budgets.isOff(rule({ version: 3 })), 'calls that began before count for nothing');
  t.notOk(budgets.isOff(rule({ version: 2 })));
  await budgets.close();
});

t.test('the alert says which rule, why, and how it comes back; the metric shows it', async (t) => {
  const lines: [Record<string, unknown>, string][] = [];
  const log = { ...silent, error: (...line: [Record<string, unknown>, string]) => void lines.push(line) } as never;
  const meters = createMeters();
  const budgets = createBudgets({ store: new Store(), log, meters, pollMs: POLL_NEVER });
  const one = rule({ failures: 0 });
  budgets.failed(one, 'the source warehouse is down');
  budgets.failed(one, 'the source warehouse is down');
  t.equal(lines.length, 1, 'once');
  t.match(lines[0]?.[0], { rule: 'owner', tenant: 'default', reason: 'the source warehouse is down' });
  t.match(lines[0]?.[1], /failed more than 0 times within 1 s .* sallyport rule enable owner$/);
  t.match(await meters.text(), 'sallyport_enrichment_rule_off{rule="owner",connection="crm"} 1');
  await budgets.close();
});

t.test('that Postgres is away is said once, however often it is tried', async (t) => {
  const store = new Store();
  const said: unknown[] = [];
  const log = { ...silent, warn: (line: unknown) => void said.push(line) } as never;
  const budgets = createBudgets({ store, log, pollMs: POLL_NEVER });
  t.teardown(() => budgets.close());
  for (const isAway of [true, true, false, true, true]) {
    store.isAway = isAway;
    await budgets.refresh();
  }
  t.equal(said.length, 2);
});

t.test('Postgres away: it is off here at once, and everywhere once Postgres is back', async (t) => {
  const store = new Store();
  const budgets = createBudgets({ store, log: silent, pollMs: POLL_NEVER });
  store.isAway = true;
  const one = rule({ failures: 0 });
  budgets.failed(one, 'no');
  await settled();
  t.ok(budgets.isOff(one));
  store.isAway = false;
  await budgets.refresh();
  t.ok(budgets.isOff(one));
  t.match(store.stored, [{ ruleId: 'r1', version: 1 }]);
  store.stored = [];
  await budgets.refresh();
  t.notOk(budgets.isOff(one), 'switched on again');
  await budgets.close();
});

t.test('what trips while others are read is not forgotten', async (t) => {
  const store = new Store();
  let answer = (): void => {};
  const { trips } = store;
  store.trips = async () => {
    const known = await trips.call(store);
    if (store.reads === 1) {
      await new Promise<void>((resolve) => {
        answer = resolve;
      });
    }
    return known;
  };
  const budgets = createBudgets({ store, log: silent, pollMs: POLL_NEVER });
  const reading = budgets.refresh();
  await settled();
  const one = rule({ failures: 0 });
  budgets.failed(one, 'no');
  answer();
  await reading;
  t.ok(budgets.isOff(one));
  t.equal(store.stored.length, 1);
  await budgets.close();
});

t.test('between processes, by a real Postgres', async (t) => {
  const postgres = await startPostgres();
  t.teardown(() => postgres.stop());
  const url = await postgres.createDatabase();
  const database = openDatabase(url);
  t.teardown(() => database.close());
  const id = randomUUID();
  await database.pool.query(
    `insert into rules (id, tenant_id, name, config, version) values ($1, 'default', 'owner', '{"connection":"crm"}', 3)`,
    [id],
  );
  const processOf = async (pollMs: number) => {
    const meters = createMeters();
    const budgets = createBudgets({ store: createTripStore(database), log: silent, meters, pollMs });
    t.teardown(() => budgets.close());
    await budgets.refresh();
    return { budgets, meters };
  };
  const [a, b, lonely] = await Promise.all([processOf(POLL_NEVER), processOf(POLL_NEVER), processOf(50)]);
  for (const { budgets } of [a, b]) {
    const listener = listen(url, ['sallyport_rule'], (_, payload) => payload !== 'poll' && budgets.learn(), {
      pollMs: POLL_NEVER,
    });
    t.teardown(() => listener.close());
  }
  const isListened = async (): Promise<boolean> => {
    const { rows } = await database.pool.query(
      "select 1 from pg_stat_activity where application_name = 'sallyport listen' and query like 'listen%'",
    );
    return rows.length === 2;
  };
  await eventually(isListened);

  const one = rule({ id, version: 3, failures: 0 });
  a.budgets.failed(one, 'down\0');
  await eventually(async () => b.budgets.isOff(one) && lonely.budgets.isOff(one));
  t.match(await b.meters.text(), 'sallyport_enrichment_rule_off{rule="owner",connection="crm"} 1');
  const late = await processOf(POLL_NEVER);
  t.ok(late.budgets.isOff(one), 'a process that starts later knows');
  const { rows } = await database.pool.query('select rule_id, version, reason from rule_trips');
  t.same(rows, [{ rule_id: id, version: 3, reason: 'down' }]);

  await database.pool.query('delete from rule_trips');
  await database.pool.query("select pg_notify('sallyport_rule', $1)", [id]);
  await eventually(async () => [a, b, lonely].every(({ budgets }) => !budgets.isOff(one)));
  t.match(await b.meters.text(), 'sallyport_enrichment_rule_off{rule="owner",connection="crm"} 0');

  await createTripStore(database).add({ ...TRIP, ruleId: id, version: 3 }, 'again');
  await database.pool.query('update rules set version = 4');
  await createTripStore(database).add({ ...TRIP, ruleId: id, version: 4 }, 'anew');
  t.same((await database.pool.query('select version from rule_trips')).rows, [{ version: 4 }]);
  await createTripStore(database).add({ ...TRIP, ruleId: randomUUID(), version: 1 }, 'its rule has gone');
  t.same((await database.pool.query('select version from rule_trips')).rows, [{ version: 4 }]);
});

const TRIP: Trip = { ruleId: '', version: 0, tenant: 'default', rule: 'owner', connection: 'crm' };
