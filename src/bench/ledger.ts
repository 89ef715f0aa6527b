import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { startEmbeddedPostgres } from '../storage/embedded.ts';
import { createLogger } from '../telemetry/log.ts';
import { ORDER_COUNT } from './orders.ts';

/** The Postgres that rules ask; not the gateway's own. */
export interface Ledger {
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

export async function startLedger(progress: (line: string) => void): Promise<Ledger> {
  const directory = mkdtempSync(join(tmpdir(), 'sallyport-bench-ledger-'));
  const dataDir = join(directory, 'data');
  mkdirSync(dataDir);
  const server = await startEmbeddedPostgres({
    dataDir,
    // Its socket goes into a directory beside this one, which everybody may enter.
    runtimeDir: directory,
    log: createLogger('ledger', 'fatal'),
    onProgress: progress,
  });
  const stop = async (): Promise<void> => {
    await server.stop();
    for (const place of [directory, `${directory}-pg`]) rmSync(place, { recursive: true, force: true });
  };
  try {
    const client = new pg.Client({ connectionString: server.url });
    await client.connect();
    await client.query(`
      create table accounts (id int primary key, tier text not null, owner text not null);
      insert into accounts select n, 'tier ' || n % 3, 'owner-' || n from generate_series(1, ${10 * ORDER_COUNT}) n;
      analyze accounts;
    `);
    await client.end();
  } catch (error) {
    await stop();
    throw error;
  }
  // Sources are given URLs that name a host; the socket's directory in the query is what counts.
  return { url: server.url.replace('@/', '@localhost/'), pid: server.pid, stop };
}
