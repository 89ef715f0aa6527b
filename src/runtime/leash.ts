import { spawn } from 'node:child_process';
import type { Readable } from 'node:stream';

/** A foreign program that cannot outlive this process. */
export interface Leash {
  /** Settles at once; undefined when nothing could be started. */
  readonly pid: Promise<number | undefined>;
  /** Settles when the program and all it started are gone. */
  readonly ended: Promise<Ending>;
  /** What the program writes to standard error, if that was asked for. */
  readonly stderr: Readable | null;
  /** Asks the program to end, as our death would. */
  release(): void;
}

/** How a program ended: with an exit code, or by a signal (named as the shell counts them, 128 + number). */
export interface Ending {
  readonly code: number;
  readonly bySignal: boolean;
}

/** Whom to run the program as, and where its standard error goes. */
export interface LeashOptions {
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  readonly env?: NodeJS.ProcessEnv;
  readonly stderr: 'inherit' | 'pipe';
}

/**
 * The shell starts the program, tells us its process id, and waits for the end of its standard input, a pipe whose other
 * end is ours: closing it, or our death however sudden, ends the program. SIGTERM first, because it alone ends a program
 * too young to have installed handlers (a shell starts background programs with SIGINT ignored). The program is reaped
 * only at the end, so its process id cannot have been reused by then. File 3 stays open in the program: that is how we
 * learn of its end.
 */
const SHELL = [
  '"$@" </dev/null & pid=$!',
  'echo "$pid" >&3; exec 3>&- 2>/dev/null',
  'read -r _',
  'kill -TERM "$pid"; kill -INT "$pid"; wait "$pid"',
].join('\n');

/** Starts a program in a process group of its own, so that Ctrl-C does not reach it, on a leash. */
export function startOnLeash(command: string, args: readonly string[], options: LeashOptions): Leash {
  const { stderr, ...rest } = options;
  const shell = spawn('/bin/sh', ['-c', SHELL, 'sallyport-leash', command, ...args], {
    ...rest,
    cwd: '/',
    stdio: ['pipe', 2, stderr === 'pipe' ? 'pipe' : 2, 'pipe'],
    detached: true,
  });
  shell.stdin?.on('error', () => {});
  const release = (): void => void shell.stdin?.end();
  const { pid, gone } = listen(shell.stdio[3] as Readable | undefined);
  // The program is gone: the shell has nothing to wait for any more.
  void gone.then(release);
  const ended = new Promise<Ending>((resolve) => {
    shell.once('error', () => resolve({ code: 127, bySignal: false }));
    shell.once('exit', async (code) => {
      await endWithoutShell(pid, gone);
      resolve({ code: code ?? 137, bySignal: code === null || code > 128 });
    });
  });
  return { pid, ended, stderr: shell.stderr, release };
}

/** The process id comes first, and then nothing until every holder of the file is gone. */
function listen(file: Readable | undefined): { pid: Promise<number | undefined>; gone: Promise<void> } {
  if (!file) return { pid: Promise.resolve(undefined), gone: Promise.resolve() };
  const gone = new Promise<void>((resolve) => file.once('close', () => resolve()));
  const pid = new Promise<number | undefined>((resolve) => {
    file.once('data', (line) => resolve(Number.parseInt(String(line), 10)));
    void gone.then(() => resolve(undefined));
  });
  file.on('error', () => {});
  return { pid, gone };
}

/** Somebody may kill the shell alone; the program, which then is not gone, is ended without it. */
async function endWithoutShell(pid: Promise<number | undefined>, gone: Promise<void>): Promise<void> {
  const orphaned = setTimeout(async () => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) signal(await pid, name);
  }, 100);
  await gone;
  clearTimeout(orphaned);
}

/** Sends a signal to a process, or to a group (negative id); nothing happens when it is gone. */
export function signal(pid: number | undefined, name: NodeJS.Signals): void {
  if (!pid) return;
  try {
    process.kill(pid, name);
  } catch {
    // It is gone already.
  }
}
