import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** The compiled program. */
export const MAIN = fileURLToPath(new URL('../../src/main.js', import.meta.url));

export interface Outcome {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
  /** Ends it with Ctrl-C once its output matches. */
  readonly until?: RegExp;
}

/** Runs the command line in a directory, with nothing of ours in the environment. */
export function runSallyport(directory: string, args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const clean = Object.entries(process.env).filter(([name]) => !name.startsWith('SALLYPORT_'));
  const env = { ...Object.fromEntries(clean), ...options.env };
  const child = spawn(process.execPath, [MAIN, ...args], { cwd: directory, env });
  let [out, err] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    out += chunk;
    if (options.until?.test(out)) child.kill('SIGINT');
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    err += chunk;
  });
  child.stdin.end(options.input ?? '');
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, out, err })));
}
