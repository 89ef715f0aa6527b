import type { Database } from '../storage/database.ts';
import type { TripStore } from './budgets.ts';

/** Rules that are off, in Postgres. A change is told to every process (NOTIFY `sallyport_rule`, payload: the rule's id). */
export function createTripStore({ pool }: Pick<Database, 'pool'>): TripStore {
  return {
    async trips() {
      // Version numbers of a rule only grow, so what an earlier one did is over.
      const { rows } = await pool.query<{
        rule_id: string;
        version: number;
        tenant_id: string;
        name: string;
        connection: string | null;
      }>(
        `select trip.rule_id, trip.version, rules.tenant_id, rules.name, rules.config ->> 'connection' as connection
         from rule_trips trip join rules on rules.id = trip.rule_id and rules.version = trip.version`,
      );
      return rows.map(({ rule_id, version, tenant_id, name, connection }) => ({
        ruleId: rule_id,
        version,
        tenant: tenant_id,
        rule: name,
        connection: connection ?? '',
      }));
    },
    async add({ ruleId, version }, reason) {
      // The rule may have gone meanwhile.
      await pool.query(
        `with gone as (delete from rule_trips where rule_id = $1 and version < $2),
         tripped as (
           insert into rule_trips (rule_id, version, reason) select id, $2, $3 from rules where id = $1
           on conflict do nothing
         )
         select pg_notify('sallyport_rule', $1::text)`,
        [ruleId, version, reason.replaceAll('\0', '').slice(0, 1000)],
      );
    },
  };
}
