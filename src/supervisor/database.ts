import { openDatabase, waitForDatabase } from '../storage/database.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../storage/embedded.ts';
import type { Logger } from '../telemetry/log.ts';

/** The database of a deployment: the operator's own, or the embedded one. */
export interface OpenedDatabase {
  readonly url: string;
  /** Ends the embedded server; somebody else's is left alone. */
  stop(withinMs: number): Promise<void>;
}

/** How often an external database that does not answer is asked again before `up` gives up. */
const EXTERNAL_RETRY_MS = 5_000;

/** Somebody else's Postgres: it has to answer, and to be new enough. */
export async function openExternalDatabase(
  url: string,
  onProgress: (message: string) => void,
): Promise<OpenedDatabase> {
  const database = openDatabase(url, { max: 1 });
  try {
    await waitForDatabase(database, { retryForMs: EXTERNAL_RETRY_MS, onRetry: onProgress });
  } finally {
    await database.close();
  }
  return { url, stop: async () => {} };
}

/** Postgres of our own, started again whenever it ends by itself. */
export async function openEmbeddedDatabase(options: {
  readonly dataDir: string;
  readonly runtimeDir: string;
  readonly log: Logger;
  readonly onProgress: (message: string) => void;
  readonly onPid: (pid: number | undefined) => void;
}): Promise<OpenedDatabase> {
  const { log, onPid } = options;
  let stopping = false;
  let failures = 0;
  let server: EmbeddedPostgres | undefined = await startEmbeddedPostgres(options);
  const { url } = server;
  onPid(server.pid);

  const restart = async (): Promise<void> => {
    server = undefined;
    onPid(undefined);
    if (stopping) return;
    const delayMs = Math.min(100 * 2 ** failures, 10_000);
    failures += 1;
    log[failures >= 5 ? 'error' : 'warn']({ failures, delayMs }, 'Postgres ended; starting it again');
    await new Promise((resolve) => setTimeout(resolve, delayMs));
    if (stopping) return;
    try {
      server = await startEmbeddedPostgres({ ...options, onProgress: (step) => log.info({ step }, 'Postgres') });
    } catch (error) {
      log.error({ reason: (error as Error).message }, 'Postgres could not be started again');
      return restart();
    }
    failures = 0;
    watch(server);
  };
  let current: Promise<void> = Promise.resolve();
  const watch = (running: EmbeddedPostgres): void => {
    onPid(running.pid);
    current = running.exited.then(restart);
  };
  watch(server);

  return {
    url,
    stop: async (withinMs) => {
      stopping = true;
      // A start that is under way ends first, so that its server is known.
      if (!server) await current;
      await server?.stop(withinMs);
    },
  };
}
