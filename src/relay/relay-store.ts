/** The relay's SQL: where other relays are, and what sessions have open or have subscribed to. */
import type { Database } from '../storage/database.ts';

export interface RelayStore {
  /** `unix:PATH` or `HOST:PORT` of a relay that is alive. */
  addressOf(relayId: string): Promise<string | undefined>;
  /** Another relay that is alive and has streams of that session. */
  holderOf(sessionId: string, relayId: string): Promise<string | undefined>;
  /** What a downstream session has subscribed to, by connection; the upstreams' own URIs. */
  subscriptions(sessionId: string): Promise<ReadonlyMap<string, readonly string[]>>;
  /** A session has a stream at this relay, or none any more. */
  streamOpened(session: { readonly id: string; readonly expiresAt: number }, relayId: string): Promise<void>;
  streamClosed(sessionId: string, relayId: string): Promise<void>;
  /** The relay stops. */
  allStreamsClosed(relayId: string): Promise<void>;
  /** Tells whoever opened an upstream session that somebody listens to it now, or that it has no stream to listen to. */
  followed(sessionId: string, connectionId: string): Promise<void>;
  /** Those of the sessions for which something was opened upstream within the last `seconds`. */
  changed(sessionIds: readonly string[], seconds: number): Promise<readonly string[]>;
}

/** A relay that was silent for so long counts as gone. */
const ALIVE_S = 10;

export function createRelayStore({ pool }: Database): RelayStore {
  return {
    async addressOf(relayId) {
      const { rows } = await pool.query<{ address: string | null }>(
        `select address from replicas where id = $1 and role = 'relay' and seen_at > now() - make_interval(secs => $2)`,
        [relayId, ALIVE_S],
      );
      return rows[0]?.address ?? undefined;
    },
    async holderOf(sessionId, relayId) {
      const { rows } = await pool.query<{ relay_id: string }>(
        `select s.relay_id from session_streams s join replicas r on r.id = s.relay_id
         where s.session_id = $1 and s.relay_id <> $2 and r.seen_at > now() - make_interval(secs => $3)
         order by s.relay_id limit 1`,
        [sessionId, relayId, ALIVE_S],
      );
      return rows[0]?.relay_id;
    },
    async subscriptions(sessionId) {
      const { rows } = await pool.query<{ connection_id: string; uris: string[] }>(
        `select connection_id, array_agg(uri order by uri) as uris from session_subscriptions
         where session_id = $1 group by connection_id`,
        [sessionId],
      );
      return new Map(rows.map((row) => [row.connection_id, row.uris]));
    },
    async streamOpened({ id, expiresAt }, relayId) {
      await pool.query(
        'insert into session_streams (session_id, relay_id, expires_at) values ($1, $2, $3) on conflict do nothing',
        [id, relayId, new Date(expiresAt)],
      );
    },
    async streamClosed(sessionId, relayId) {
      await pool.query('delete from session_streams where session_id = $1 and relay_id = $2', [sessionId, relayId]);
    },
    async allStreamsClosed(relayId) {
      await pool.query('delete from session_streams where relay_id = $1', [relayId]);
    },
    async followed(sessionId, connectionId) {
      await pool.query("select pg_notify('sallyport_followed', $1)", [JSON.stringify({ sessionId, connectionId })]);
    },
    async changed(sessionIds, seconds) {
      const { rows } = await pool.query<{ session_id: string }>(
        `select distinct session_id from upstream_sessions
         where session_id = any($1::uuid[]) and created_at > now() - make_interval(secs => $2)`,
        [sessionIds, seconds],
      );
      return rows.map((row) => row.session_id);
    },
  };
}
