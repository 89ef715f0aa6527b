import { sql } from 'kysely';
import type { Queryable } from './database.ts';

/** What other processes are told; see listen.ts. */
export type Channel =
  | 'sallyport_revision'
  | 'sallyport_keys'
  | 'sallyport_catalog'
  | 'sallyport_session'
  | 'sallyport_legacy';

/** Sends a notification; inside a transaction it leaves when that commits. */
export async function notify(db: Queryable, channel: Channel, payload: string): Promise<void> {
  await sql`select pg_notify(${channel}, ${payload})`.execute(db);
}
