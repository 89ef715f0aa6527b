/**
 * Error budgets: a rule that fails more often than it may is switched off, for that version of it, in every process, until
 * somebody changes it or switches it on again. What is off is in Postgres; here is what this process knows of it.
 */
import { LRUCache } from 'lru-cache';
import type { Logger } from '../telemetry/log.ts';
import type { Meters } from '../telemetry/meters.ts';
import type { CompiledRule } from './rule.ts';
import type { Budgets } from './world.ts';

/** A version of a rule that is off. */
export interface Trip {
  readonly ruleId: string;
  readonly version: number;
  /** Where it is, for the metrics. */
  readonly tenant: string;
  readonly rule: string;
  readonly connection: string;
}

export interface TripStore {
  /** Of rules as they are now. */
  trips(): Promise<readonly Trip[]>;
  /** Stores it and tells all processes. */
  add(trip: Trip, reason: string): Promise<void>;
}

export interface BudgetsOptions {
  readonly store: TripStore;
  readonly log: Logger;
  readonly meters?: Pick<Meters, 'gauge'>;
  /** Milliseconds that only grow. */
  readonly now?: () => number;
  /** How often what is off is read again, in case a notice was lost. Milliseconds. */
  readonly pollMs?: number;
}

export interface KnownBudgets extends Budgets {
  /** Somebody switched a rule off or on (NOTIFY `sallyport_rule`): reads what is off. */
  learn(): void;
  /** Settles once what is off was read; what could not be read is read again by and by. Call it before the first call. */
  refresh(): Promise<void>;
  close(): Promise<void>;
}

const POLL_MS = 5000;
/** Rules with failures, in one process. */
const MAX_WINDOWS = 10_000;

/** When a version failed, oldest first; times of `now`. */
interface Window {
  readonly version: number;
  readonly failures: number[];
}

export function createBudgets(options: BudgetsOptions): KnownBudgets {
  const { store, log, now = () => performance.now() } = options;
  const windows = new LRUCache<string, Window>({ max: MAX_WINDOWS });
  let off = new Map<string, Trip>();
  /** Tripped here and not stored yet. */
  const unstored = new Map<string, { readonly trip: Trip; readonly reason: string }>();
  let reading: Promise<void> | undefined;
  let again = false;
  let isAway = false;

  async function read(): Promise<void> {
    do {
      again = false;
      try {
        for (const [key, { trip, reason }] of unstored) {
          await store.add(trip, reason);
          unstored.delete(key);
        }
        const known = await store.trips();
        isAway = false;
        // What was tripped while it was read is not in what was read.
        if (again) continue;
        replace(new Map(known.map((trip) => [keyOf(trip.ruleId, trip.version), trip])));
      } catch (error) {
        // Tried again every few seconds, and said once.
        if (!isAway)
          log.warn({ error: (error as Error).message }, 'which rules are switched off could not be read or stored');
        isAway = true;
        return;
      }
    } while (again);
  }

  function replace(known: Map<string, Trip>): void {
    for (const [key, { trip }] of unstored) known.set(key, trip);
    // Switched on again: it begins anew, here as well.
    for (const [key, { ruleId }] of off) if (!known.has(key)) windows.delete(ruleId);
    off = known;
  }

  const refresh = (): Promise<void> => {
    again = true;
    reading ??= read().finally(() => {
      reading = undefined;
    });
    return reading;
  };

  function trip(rule: CompiledRule, reason: string): void {
    const { id, version, tenant, name, config } = rule;
    const { failures, perMs } = config.errorBudget;
    const tripped = { ruleId: id, version, tenant, rule: name, connection: config.connection };
    const key = keyOf(id, version);
    off.set(key, tripped);
    unstored.set(key, { trip: tripped, reason });
    windows.delete(id);
    log.error(
      { rule: name, version, tenant, connection: config.connection, reason },
      `the enrichment rule ${name} failed more than ${failures} times within ${perMs / 1000} s and is switched off; correct what is wrong, then: sallyport rule enable ${name}`,
    );
    void refresh();
  }

  options.meters?.gauge('sallyport_enrichment_rule_off', 'Rules whose error budget is spent', () =>
    [...off.values()].map(({ tenant, rule, connection }) => ({
      value: 1,
      labels: { rule: tenant === 'default' ? rule : `${tenant}/${rule}`, connection },
    })),
  );
  const poll = setInterval(() => void refresh(), options.pollMs ?? POLL_MS);
  poll.unref();

  return {
    isOff: ({ id, version }) => off.size > 0 && off.has(keyOf(id, version)),
    failed(rule, reason) {
      const { id, version, config } = rule;
      if (off.has(keyOf(id, version))) return;
      let window = windows.get(id);
      if (window === undefined || window.version < version) {
        window = { version, failures: [] };
        windows.set(id, window);
      }
      // A call that began before the rule was changed.
      if (window.version > version) return;
      const at = now();
      const since = at - config.errorBudget.perMs;
      while ((window.failures[0] ?? at) <= since) window.failures.shift();
      window.failures.push(at);
      if (window.failures.length > config.errorBudget.failures) trip(rule, reason);
    },
    learn: () => void refresh(),
    refresh,
    async close() {
      clearInterval(poll);
      await reading;
    },
  };
}

const keyOf = (ruleId: string, version: number): string => `${ruleId} ${version}`;
