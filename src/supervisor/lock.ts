import { linkSync, readFileSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { birthOf, isAlive } from './processes.ts';
import { StartError } from './start-error.ts';

/**
 * Makes this process the only `sallyport up` on the data directory; returns what undoes that. A lock whose process is
 * gone is taken over. It is written first and linked into place, so that nobody reads half of it.
 */
export function lockDataDir(dataDir: string): () => void {
  const lock = join(dataDir, 'up.lock');
  const mine = join(dataDir, `up.lock.${process.pid}`);
  const content = `${process.pid} ${birthOf(process.pid)}\n`;
  writeFileSync(mine, content, { mode: 0o600 });
  try {
    while (!linked(mine, lock)) {
      const holder = read(lock);
      const pid = Number.parseInt(holder ?? '', 10);
      if (holder !== undefined && isHeld(holder)) {
        throw new StartError(
          `Another "sallyport up" (pid ${pid}) uses the data directory ${dataDir}. Stop it (kill ${pid}), or give this one its own with --data-dir.`,
        );
      }
      if (holder !== undefined) takeAway(lock, holder);
    }
  } finally {
    rmSync(mine, { force: true });
  }
  return () => {
    if (read(lock) === content) rmSync(lock, { force: true });
  };
}

function linked(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

function read(lock: string): string | undefined {
  try {
    return readFileSync(lock, 'utf8');
  } catch {
    return undefined;
  }
}

function isHeld(content: string): boolean {
  const [pid = '', birth = ''] = content.trim().split(' ');
  return isAlive(Number(pid)) && birthOf(Number(pid)) === birth;
}

/** Renaming decides who of several removes it; one that was taken over meanwhile is put back. */
function takeAway(lock: string, stale: string): void {
  const aside = `${lock}.stale.${process.pid}`;
  try {
    renameSync(lock, aside);
  } catch {
    return;
  }
  if (read(aside) !== stale) linked(aside, lock);
  unlinkSync(aside);
}
