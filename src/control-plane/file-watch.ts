import { unwatchFile, watchFile } from 'node:fs';

/** Often enough for people, rare enough to cost nothing. */
const LOOK_MS = 1_000;

/**
 * Calls `onChange` when one of these files changes. Looks at them once a second instead of asking the kernel: that
 * also sees a mounted secret whose directory was swapped by a symbolic link, network file systems, and files that come
 * only later.
 */
export function watchFiles(paths: readonly string[], onChange: () => void): { close(): void } {
  const look = (now: { mtimeMs: number; ino: number; size: number }, before: typeof now) => {
    if (now.mtimeMs !== before.mtimeMs || now.ino !== before.ino || now.size !== before.size) onChange();
  };
  for (const path of paths) watchFile(path, { interval: LOOK_MS, persistent: false }, look);
  return {
    close() {
      for (const path of paths) unwatchFile(path, look);
    },
  };
}
