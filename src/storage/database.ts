import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import { discardDeadPeers } from './dead-peers.ts';
import type { Tables } from './schema.ts';

/** One process's door to Postgres: typed queries, and the pool under them. */
export interface Database {
  readonly kysely: Kysely<Tables>;
  readonly pool: pg.Pool;
  close(): Promise<void>;
}

/** A transaction or the database itself: whatever queries run on. */
export type Queryable = Kysely<Tables>;

/** The database cannot be used as it is; the message says what to do. */
export class DatabaseError extends Error {
  override readonly name = 'DatabaseError';
}

/** Without an answer for so long, a connection is dead: the default of `queryTimeoutMs`. */
const QUERY_TIMEOUT_MS = 10_000;

/**
 * Opens a pool. Nothing is connected until the first query; `waitForDatabase` tells whether it answers. No query takes
 * longer than `queryTimeoutMs`: Postgres ends it a little before, and a Postgres that does not even do that is given up.
 */
export function openDatabase(
  url: string,
  options: { readonly max?: number; readonly queryTimeoutMs?: number } = {},
): Database {
  const queryTimeoutMs = options.queryTimeoutMs ?? QUERY_TIMEOUT_MS;
  const pool = new pg.Pool({
    connectionString: url,
    max: options.max ?? 8,
    connectionTimeoutMillis: 5_000,
    idleTimeoutMillis: 30_000,
    query_timeout: queryTimeoutMs,
    statement_timeout: Math.ceil(queryTimeoutMs * 0.9),
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    application_name: 'sallyport',
    types: { getTypeParser },
  });
  // A connection that dies is replaced at its next use, and whoever was using it has a rejected query. The events are
  // for nobody, but without a listener each would end the process: idle ones speak through the pool, used ones do not.
  pool.on('error', () => {});
  pool.on('connect', (client) => client.on('error', () => {}));
  discardDeadPeers(pool);
  const kysely = new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) });
  return {
    kysely,
    pool,
    async close() {
      // Kysely ends the pool only if a query ever went through Kysely.
      await kysely.destroy();
      if (!pool.ending) await pool.end();
    },
  };
}

/**
 * Waits until Postgres answers, and checks its version. Every failed attempt is reported; after `retryForMs` the
 * last one is thrown. A wrong password or a missing database is not waited for: time does not cure those.
 */
export async function waitForDatabase(
  database: Database,
  options: { readonly retryForMs: number; readonly onRetry?: (message: string) => void },
): Promise<void> {
  const deadline = Date.now() + options.retryForMs;
  for (let delay = 100; ; delay = Math.min(delay * 2, 2_000)) {
    try {
      const { rows } = await database.pool.query<{ version: string }>(
        "select current_setting('server_version_num') as version",
      );
      return checkVersion(Number(rows[0]?.version));
    } catch (error) {
      if (error instanceof DatabaseError) throw error;
      const message = unreachable(database, error);
      if (!isTransient(error)) throw new DatabaseError(message, { cause: error });
      if (Date.now() + delay > deadline) {
        const seconds = Math.round(options.retryForMs / 1000);
        throw new DatabaseError(`${message} Gave up after ${seconds} s.`, { cause: error });
      }
      options.onRetry?.(message);
      await new Promise((resolve) => setTimeout(resolve, delay));
    }
  }
}

function checkVersion(version: number): void {
  if (version >= 140_000) return;
  throw new DatabaseError(
    `Postgres ${Math.floor(version / 10_000)} is too old: Sallyport needs Postgres 14 or later. Upgrade it or point DATABASE_URL at a newer server.`,
  );
}

/** What an operator needs to find the fault: host, port and database, never the password. */
function unreachable(database: Database, error: unknown): string {
  const { host, port, database: name } = new pg.Client(database.pool.options);
  const reason = error instanceof Error ? error.message || (error as NodeJS.ErrnoException).code : String(error);
  return `Postgres does not answer at ${host}:${port}/${name ?? ''}: ${reason}. Check that it runs and that DATABASE_URL is right.`;
}

/** SQLSTATE class 28 (authentication), 3D000 (no such database), 42501 (privileges) need a person. */
function isTransient(error: unknown): boolean {
  const code = (error as { code?: unknown }).code;
  return !(typeof code === 'string' && (/^28/.test(code) || code === '3D000' || code === '42501'));
}

/** Counters and versions fit a double for the next million years; a larger int8 stays text rather than lose digits. */
const getTypeParser: typeof pg.types.getTypeParser = (oid: number, format?: 'text' | 'binary') =>
  oid === pg.types.builtins.INT8 && format !== 'binary' ? parseInt8 : pg.types.getTypeParser(oid, format as 'text');

function parseInt8(text: string): number | string {
  const number = Number(text);
  return Number.isSafeInteger(number) ? number : text;
}
