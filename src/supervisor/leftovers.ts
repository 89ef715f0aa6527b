import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { signal } from '../runtime/leash.ts';
import { commandLine, within } from './processes.ts';

/** Longest wait for what a killed `up` left behind, before it is killed too. */
const PATIENCE_MS = 3_000;

/**
 * Children of an `up` that was killed end by themselves, but perhaps not yet: they would remove sockets that now are
 * ours. They are known by `children.json` and by having the runtime directory on their command line.
 */
export async function endLeftovers(runtimeDir: string, onProgress: (message: string) => void): Promise<void> {
  let pids = pidsIn(join(runtimeDir, 'children.json')).filter((pid) => isOurs(pid, runtimeDir));
  if (pids.length === 0) return;
  onProgress(`waiting for processes of the previous run to end (pid ${pids.join(', ')})`);
  const gone = (): boolean => {
    pids = pids.filter((pid) => isOurs(pid, runtimeDir));
    return pids.length === 0;
  };
  if (await within(PATIENCE_MS, gone)) return;
  for (const pid of pids) signal(pid, 'SIGKILL');
  await within(PATIENCE_MS, gone);
}

function pidsIn(file: string): number[] {
  try {
    return Object.values(JSON.parse(readFileSync(file, 'utf8')) as Record<string, number>);
  } catch {
    return [];
  }
}

/** Postgres is not among them: its socket directory's name only begins like ours, and it ends in its own way. */
function isOurs(pid: number, runtimeDir: string): boolean {
  const parts = commandLine(pid)?.split(' ') ?? [];
  return parts.some((part) => part === runtimeDir || part.startsWith(`${runtimeDir}/`));
}
