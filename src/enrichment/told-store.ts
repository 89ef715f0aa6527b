import type { Database } from '../storage/database.ts';
import type { Telling } from './told.ts';

/** Tells all processes what sessions were told: a notice for each, in one query. */
export async function broadcastTellings({ pool }: Pick<Database, 'pool'>, tellings: readonly Telling[]): Promise<void> {
  await pool.query("select pg_notify('sallyport_told', payload) from unnest($1::text[]) as payload", [
    tellings.map((telling) => JSON.stringify(telling)),
  ]);
}
