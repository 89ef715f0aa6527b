/** The only SQL about sessions: upstream sessions shared by all replicas, and tombstones of ended ones. */
import type { Database } from '../storage/database.ts';
import type { SessionStore } from './stored-session.ts';

export function createSessionStore(database: Database): SessionStore {
  const { pool } = database;
  return {
    async read(key) {
      const { rows } = await pool.query<{ sealed_id: Buffer }>(
        'select sealed_id from upstream_sessions where key = $1 and expires_at > now()',
        [key],
      );
      return rows[0]?.sealed_id;
    },
    async write({ key, tenant, sessionId, connectionId, sealed, expiresAt }) {
      const { rows } = await pool.query<{ sealed_id: Buffer }>(
        `insert into upstream_sessions (key, tenant_id, session_id, connection_id, sealed_id, expires_at)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (key) do update set
           sealed_id = case when upstream_sessions.expires_at > now() then upstream_sessions.sealed_id else excluded.sealed_id end,
           expires_at = greatest(upstream_sessions.expires_at, excluded.expires_at)
         returning sealed_id`,
        [key, tenant, sessionId, connectionId, sealed, new Date(expiresAt)],
      );
      return rows[0]?.sealed_id ?? sealed;
    },
    async remove(key, sealed) {
      await pool.query('delete from upstream_sessions where key = $1 and sealed_id = $2', [key, sealed]);
    },
    async end({ id, tenant, expiresAt }) {
      const { rows } = await pool.query<{ connection_id: string | null; sealed_id: Buffer }>(
        `with tomb as (
           insert into session_tombstones (session_id, tenant_id, expires_at) values ($1, $2, $3)
           on conflict (session_id) do nothing
         ), told as (
           select pg_notify('sallyport_session', json_build_object('id', $1::text, 'expiresAt', $4::bigint)::text)
         ), gone as (
           delete from upstream_sessions where session_id = $1 returning connection_id, sealed_id
         )
         select gone.* from told left join gone on true`,
        [id, tenant, new Date(expiresAt), expiresAt],
      );
      return rows.flatMap((row) =>
        row.connection_id === null ? [] : [{ connectionId: row.connection_id, sealed: row.sealed_id }],
      );
    },
  };
}
