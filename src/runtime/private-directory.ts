import { chmodSync, chownSync, lstatSync, mkdirSync } from 'node:fs';

/** Who a directory is made for: ourselves, or the account that a child runs as. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/**
 * Makes the directory if it is missing, and `owner` (by default this process's user) its only user. What is there
 * already must be a directory of one of the two: in a shared place such as /tmp, anybody may have put it there.
 */
export function makePrivate(directory: string, owner?: Owner): string {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const found = lstatSync(directory);
  const ours = process.getuid?.() ?? found.uid;
  if (!found.isDirectory() || (found.uid !== ours && found.uid !== owner?.uid)) {
    throw new Error(
      `${directory} exists already and belongs to somebody else, or is no directory. Remove it and start again.`,
    );
  }
  chmodSync(directory, 0o700);
  if (owner) chownSync(directory, owner.uid, owner.gid);
  return directory;
}
