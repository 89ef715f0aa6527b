/**
 * A peer that vanished without a word (a partition, a stopped machine) answers nothing and closes nothing. Postgres
 * itself ends whatever runs too long, so a query that timed out here means that: its connection is never used again,
 * and those that lie idle beside it go as well, or each would cost the next query another time-out.
 */
import type pg from 'pg';

/** What pg rejects a query with that took longer than `query_timeout`. */
export const isQueryTimeout = (error: unknown): boolean =>
  error instanceof Error && error.message === 'Query read timeout';

/** Makes the pool let go of connections whose peer does not answer. */
export function discardDeadPeers(pool: pg.Pool): void {
  const idle = new Set<pg.PoolClient>();
  const discardIdle = () => {
    for (const client of [...idle]) {
      // The pool listens to the errors of idle ones, and lets go of them at once; their end it would hear of too late.
      client.emit('error', new Error('The peer does not answer.'));
      socketOf(client)?.destroy();
    }
    idle.clear();
  };
  pool.on('acquire', (client) => idle.delete(client));
  pool.on('remove', (client) => idle.delete(client));
  pool.on('release', (error: Error | boolean | undefined, client) => {
    if (!error) idle.add(client);
    // Queries of the pool itself: it has let go of their connection already.
    else if (isQueryTimeout(error)) discardIdle();
  });
  pool.on('connect', (client) => {
    const query = client.query.bind(client) as (...args: unknown[]) => unknown;
    client.query = ((...args: unknown[]) => {
      const result = query(...args);
      if (result instanceof Promise)
        result.catch((error) => {
          if (!isQueryTimeout(error)) return;
          // Before whoever asked can release it: an ended client does not go back into the pool.
          client.end().catch(() => {});
          discardIdle();
        });
      return result;
    }) as typeof client.query;
  });
}

/** pg has no public way to drop a connection without a goodbye, which a dead peer would never answer. */
const socketOf = (client: pg.ClientBase) =>
  (client as unknown as { connection?: { stream?: { destroy(): void } } }).connection?.stream;
