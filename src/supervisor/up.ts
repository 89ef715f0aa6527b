import { socketsIn } from '../runtime/sockets.ts';
import { createLogger } from '../telemetry/log.ts';
import { Deployment } from './deployment.ts';
import { prepareDataDir, prepareRuntimeDir, runtimeDirOf } from './directories.ts';
import { greeting, removeReport, writeReport } from './greeting.ts';
import { endLeftovers } from './leftovers.ts';
import { lockDataDir } from './lock.ts';
import type { UpOptions } from './options.ts';
import { startAll } from './start-all.ts';
import { StartError } from './start-error.ts';
import { type StopSignals, watchStopSignals } from './stop-signals.ts';

export type { UpOptions };

/** Runs the whole gateway on this machine until it is told to stop. Resolves to the exit code. */
export async function runUp(options: UpOptions): Promise<number> {
  const startedAt = Date.now();
  const progress = (message: string): void => {
    process.stderr.write(`sallyport  +${String(Date.now() - startedAt).padStart(5)} ms  ${message}\n`);
  };
  const signals = watchStopSignals();
  try {
    const dataDir = prepareDataDir(options.dataDir);
    const unlock = lockDataDir(dataDir);
    try {
      return await runLocked(options, dataDir, signals, progress);
    } finally {
      removeReport(dataDir);
      unlock();
    }
  } catch (error) {
    process.stderr.write(`sallyport: ${explain(error)}\n`);
    return 1;
  } finally {
    signals.dispose();
  }
}

/** The same, once the data directory is ours. */
async function runLocked(
  options: UpOptions,
  dataDir: string,
  signals: StopSignals,
  progress: (message: string) => void,
): Promise<number> {
  removeReport(dataDir);
  await endLeftovers(runtimeDirOf(dataDir), progress);
  const log = createLogger('supervisor', process.env.LOG_LEVEL ?? 'info');
  const runtimeDir = prepareRuntimeDir(dataDir);
  const sockets = socketsIn(runtimeDir);
  const deployment = new Deployment(runtimeDir, sockets.envoyAdmin, log);
  const start = startAll({ options, dataDir, runtimeDir, sockets, deployment, log, progress });
  try {
    const started = await Promise.race([start, signals.requested]);
    if (started) {
      const { report, adminToken } = started;
      writeReport(dataDir, report);
      progress('ready');
      process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : greeting(report, { adminToken, dataDir }));
      await signals.requested;
    }
    return 0;
  } finally {
    progress('stopping');
    // What the start still waits for will not come any more.
    start.catch(() => {});
    await Promise.race([deployment.stop(), signals.again.then(() => deployment.kill())]);
    progress('stopped');
  }
}

/** What is for a person to cure is said plainly; anything else is a fault of ours and keeps its stack. */
function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const systemCode = (error as NodeJS.ErrnoException).code;
  const expected = error instanceof StartError || error.name === 'DatabaseError' || systemCode !== undefined;
  return expected || error.constructor === Error ? error.message : (error.stack ?? error.message);
}
