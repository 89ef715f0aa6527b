/** The only SQL about sessions: upstream sessions shared by all replicas, and tombstones of ended ones. */
import type { Database } from '../storage/database.ts';
import { type SessionStore, StoreAway } from './stored-session.ts';

/** Of one session: each is repeated to its upstream when that loses the session. */
const MAX_SUBSCRIPTIONS = 500;

export function createSessionStore(database: Database): SessionStore {
  const { pool } = database;
  return guarded({
    async read(key) {
      const { rows } = await pool.query<{ sealed_id: Buffer }>(
        'select sealed_id from upstream_sessions where key = $1 and expires_at > now()',
        [key],
      );
      return rows[0]?.sealed_id;
    },
    async write({ key, tenant, sessionId, connectionId, sealed, expiresAt }) {
      const { rows } = await pool.query<{ sealed_id: Buffer; is_followed: boolean }>(
        `insert into upstream_sessions (key, tenant_id, session_id, connection_id, sealed_id, expires_at)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (key) do update set
           sealed_id = case when upstream_sessions.expires_at > now() then upstream_sessions.sealed_id else excluded.sealed_id end,
           expires_at = greatest(upstream_sessions.expires_at, excluded.expires_at)
         returning sealed_id, exists (
           select 1 from session_streams s join replicas r on r.id = s.relay_id
           where s.session_id = $3 and r.seen_at > now() - interval '10 s'
         ) as is_followed`,
        [key, tenant, sessionId, connectionId, sealed, new Date(expiresAt)],
      );
      // The relay that holds this session's stream now has one more upstream to listen to.
      if (sessionId !== null) {
        await pool.query("select pg_notify('sallyport_upstream', $1)", [JSON.stringify({ sessionId })]);
      }
      return { sealed: rows[0]?.sealed_id ?? sealed, isFollowed: rows[0]?.is_followed === true };
    },
    async wishes(sessionId, connectionId) {
      const { rows } = await pool.query<{ level: string | null; uris: string[] | null }>(
        `select (select level from session_log_levels where session_id = $1) as level,
                (select array_agg(uri) from session_subscriptions where session_id = $1 and connection_id = $2) as uris`,
        [sessionId, connectionId],
      );
      return { logLevel: rows[0]?.level ?? undefined, subscriptions: rows[0]?.uris ?? [] };
    },
    async setLogLevel({ id, expiresAt }, level) {
      await pool.query(
        `with stored as (
           insert into session_log_levels (session_id, level, expires_at) values ($1, $2, $3)
           on conflict (session_id) do update set level = excluded.level
         )
         select pg_notify('sallyport_level', json_build_object('sessionId', $1::text, 'level', $2::text)::text)`,
        [id, level, new Date(expiresAt)],
      );
    },
    async logLevel(sessionId) {
      const { rows } = await pool.query<{ level: string }>(
        'select level from session_log_levels where session_id = $1',
        [sessionId],
      );
      return rows[0]?.level;
    },
    async subscribe({ id, expiresAt }, connectionId, uri) {
      const { rows } = await pool.query<{ is_kept: boolean }>(
        `with stored as (
           insert into session_subscriptions (session_id, connection_id, uri, expires_at)
           select $1, $2, $3, $4
           where (select count(*) from session_subscriptions where session_id = $1) < $5
           on conflict do nothing returning 1
         )
         select pg_notify('sallyport_upstream', json_build_object('sessionId', $1::text)::text),
           exists (select 1 from stored) or exists (
             select 1 from session_subscriptions where session_id = $1 and connection_id = $2 and uri = $3
           ) as is_kept`,
        [id, connectionId, uri, new Date(expiresAt), MAX_SUBSCRIPTIONS],
      );
      return rows[0]?.is_kept === true;
    },
    async unsubscribe(sessionId, connectionId, uri) {
      await pool.query(
        `with gone as (
           delete from session_subscriptions where session_id = $1 and connection_id = $2 and uri = $3
         )
         select pg_notify('sallyport_upstream', json_build_object('sessionId', $1::text)::text)`,
        [sessionId, connectionId, uri],
      );
    },
    async open(sessionId) {
      const { rows } = await pool.query<{ connection_id: string; sealed_id: Buffer }>(
        'select connection_id, sealed_id from upstream_sessions where session_id = $1 and expires_at > now()',
        [sessionId],
      );
      return rows.map((row) => ({ connectionId: row.connection_id, sealed: row.sealed_id }));
    },
    async broadcastCancel(cancel) {
      await pool.query("select pg_notify('sallyport_cancel', $1)", [JSON.stringify(cancel)]);
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
         ), levels as (
           delete from session_log_levels where session_id = $1
         ), subscriptions as (
           delete from session_subscriptions where session_id = $1
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
  });
}

/** Whatever goes wrong is told as one thing: the caller can only try again. */
function guarded(store: SessionStore): SessionStore {
  const guard =
    (work: (...args: never[]) => Promise<unknown>) =>
    (...args: never[]): Promise<unknown> =>
      work(...args).catch((cause: Error) => {
        throw new StoreAway(cause.message, { cause });
      });
  return Object.fromEntries(
    Object.entries(store).map(([name, work]) => [name, guard(work)]),
  ) as unknown as SessionStore;
}
