/** A Postgres database as a source. Every request is a read-only transaction of its own, bounded in rows, bytes and time. */
import pg from 'pg';
import type { PostgresSource } from '../../config/document.ts';
import { type Asked, type SourceAnswer, type SourceClient, SourceError } from '../source.ts';
import { within } from '../within.ts';
import { cancel } from './cancel.ts';
import { isStalePreparation, toSourceError } from './errors.ts';
import { GuardedClient } from './guarded-client.ts';
import { isLocal, type Location, locate } from './location.ts';
import { ReadRequest, Recovery } from './read-request.ts';
import type { PostgresRequest } from './template.ts';
import { testQuery, toldBy } from './test-query.ts';

/** Idle connections are closed after this, in milliseconds. */
const IDLE_MS = 30_000;
/** To connect and to set up a session, in milliseconds: longer than most rules wait, so that a slow start is not in vain. */
const CONNECT_MS = 5_000;
/** Statements that one connection keeps prepared; the others are prepared each time. */
const MAX_PREPARED = 64;

/**
 * The scanner reads strings as the standard does, so must the server. The rest says how values are printed, that nothing
 * is written should anything ever run outside of a request's transaction, and that a process of ours that hangs holds none.
 */
const SESSION = [
  'standard_conforming_strings = on',
  'default_transaction_read_only = on',
  'idle_in_transaction_session_timeout = 10000',
  "datestyle = 'ISO'",
  "bytea_output = 'hex'",
  'extra_float_digits = 1',
]
  .map((setting) => `set ${setting}`)
  .join('; ');

type Connection = GuardedClient & pg.PoolClient;

/** Throws SourceError where the URL is none. */
export function openPostgres(config: PostgresSource): SourceClient {
  const location = locate(config);
  const ending = new Set<Promise<unknown>>();
  const pool = openPool(location, config.maxConcurrent);
  let generation = 0;

  const background = (work: Promise<unknown>): void => {
    ending.add(work);
    void work.finally(() => ending.delete(work));
  };

  /** Nobody waits any more: ends the query at the server, and the connection with it. */
  const abandon = async (connection: Connection): Promise<void> => {
    const isTaken = await cancel(location, connection);
    connection.release(true);
    // The server is dead, or out of reach: so are the idle connections, and each would cost a request its time.
    if (!isTaken) generation++;
  };

  const connect = async (signal: AbortSignal): Promise<Connection> => {
    for (;;) {
      const connecting = pool.connect() as Promise<Connection>;
      const connection = await within(signal, connecting).catch((error: unknown) => {
        if (signal.aborted) connecting.then((late) => late.release()).catch(() => {});
        throw error;
      });
      connection.generation ??= generation;
      if (connection.generation === generation) return connection;
      connection.wire.stream.destroy();
      connection.release(true);
    }
  };

  const once = async (request: PostgresRequest, asked: Asked, giveUpAt: number, isPlain: boolean) => {
    const connection = await connect(asked.signal);
    // A little less than what is left, so that the server is the first to give up and the connection is kept.
    const timeoutMs = Math.max(1, Math.floor((giveUpAt - performance.now()) * 0.97));
    return await new Promise<SourceAnswer>((resolve, reject) => {
      const name = isPlain ? undefined : nameFor(connection, request.name);
      const isNew = name === undefined || !connection.prepared.has(name);
      let isSettled = false;
      const leave = (): void => {
        if (isSettled) return;
        isSettled = true;
        background(abandon(connection));
        reject(asked.signal.reason);
      };
      const settle = (error: Error | undefined, answer: SourceAnswer): void => {
        if (isSettled) return;
        isSettled = true;
        asked.signal.removeEventListener('abort', leave);
        if (connection.isSpent) {
          background(abandon(connection));
          if (answer.rows.length > 0) resolve({ ...answer, isTruncated: true });
          else reject(new SourceError('too large', `its first row has more than ${asked.maxBytes} bytes`));
          return;
        }
        connection.allow();
        if (connection.wire.stream.destroyed) connection.release(true);
        else if (error === undefined || error instanceof SourceError) {
          if (name !== undefined) connection.prepared.add(name);
          connection.release();
        } else if (error instanceof pg.DatabaseError && !isStalePreparation(error)) {
          recover(connection, isNew ? name : undefined);
        } else connection.release(true);
        if (error === undefined) resolve(answer);
        else reject(error);
      };
      const limits = { rows: asked.maxRows, bytes: asked.maxBytes, timeoutMs };
      connection.allow(2 * asked.maxBytes + 1_048_576);
      asked.signal.addEventListener('abort', leave, { once: true });
      if (asked.signal.aborted) leave();
      else connection.query(new ReadRequest(request, limits, { name, isNew }, settle));
    });
  };

  const ask = async (request: PostgresRequest, asked: Asked): Promise<SourceAnswer> => {
    const giveUpAt = performance.now() + asked.timeoutMs;
    try {
      return await once(request, asked, giveUpAt, false).catch((error: unknown) => {
        if (!isStalePreparation(error) || asked.signal.aborted) throw error;
        return once(request, asked, giveUpAt, true);
      });
    } catch (error) {
      asked.signal.throwIfAborted();
      throw toSourceError(error, request.values.length > 0);
    }
  };

  return {
    ask: (rendered, asked) => ask(rendered as PostgresRequest, asked),
    async test(signal) {
      try {
        const asked = { signal, timeoutMs: CONNECT_MS, maxRows: 1, maxBytes: 65_536 };
        const { rows } = await ask(testQuery, asked);
        return toldBy(rows[0], location.ssl !== false || isLocal(location));
      } catch (error) {
        return { ok: false, error: (error as Error).message };
      }
    },
    async close() {
      await Promise.all([pool.end(), ...ending]);
    },
  };
}

function openPool(location: Location, max: number): pg.Pool {
  const pool = new pg.Pool({
    ...location,
    Client: GuardedClient,
    max,
    idleTimeoutMillis: IDLE_MS,
    connectionTimeoutMillis: CONNECT_MS,
    keepAlive: true,
    allowExitOnIdle: true,
    onConnect: (client) => client.query({ text: SESSION, query_timeout: CONNECT_MS } as pg.QueryConfig),
  } as pg.PoolConfig);
  // An idle connection has ended: the pool lets go of it by itself.
  pool.on('error', () => {});
  return pool;
}

const nameFor = ({ prepared }: Connection, name: string | undefined): string | undefined =>
  name !== undefined && (prepared.has(name) || prepared.size < MAX_PREPARED) ? name : undefined;

/** Out of the failed transaction; the connection is the next request's then. */
function recover(connection: Connection, name: string | undefined): void {
  const timer = setTimeout(() => connection.wire.stream.destroy(), CONNECT_MS).unref();
  let isSettled = false;
  const settle = (error: Error | undefined): void => {
    if (isSettled) return;
    isSettled = true;
    clearTimeout(timer);
    connection.release(error !== undefined);
  };
  connection.query(new Recovery(name, settle));
}
