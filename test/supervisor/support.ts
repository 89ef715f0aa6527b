import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, lstatSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import type { Test } from 'tap';
import { runtimeDirOf } from '../../src/supervisor/directories.ts';

/** A logger for the parts under test; LOG_LEVEL=debug shows what they say. */
export const log = pino({ level: process.env.LOG_LEVEL ?? 'silent' }, pino.destination(2));

/** A directory for one test, removed after it with what a data directory in it may have placed elsewhere. */
export function temporaryDirectory(t: Test, mode = 0o711): string {
  const directory = mkdtempSync(join(tmpdir(), 'sp-test-'));
  chmodSync(directory, mode);
  t.teardown(() => removeDataDir(directory));
  return directory;
}

/** Removes a data directory, its database and its sockets, wherever those are. */
export function removeDataDir(directory: string): void {
  const link = join(directory, 'postgres');
  if (lstatSync(link, { throwIfNoEntry: false })?.isSymbolicLink()) {
    rmSync(readlinkSync(link), { recursive: true, force: true });
  }
  for (const suffix of ['', '-pg']) rmSync(`${runtimeDirOf(directory)}${suffix}`, { recursive: true, force: true });
  rmSync(directory, { recursive: true, force: true });
}

/** Waits for a condition, with a deadline instead of a guess. */
export async function eventually(
  what: string,
  condition: () => boolean | Promise<boolean>,
  ms = 10_000,
): Promise<void> {
  for (const deadline = Date.now() + ms; !(await condition()); ) {
    if (Date.now() > deadline) throw new Error(`Waited ${ms} ms for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Processes whose command line mentions the text, zombies excepted. */
export function processesMentioning(text: string): { pid: number; line: string }[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((name) => {
      try {
        const line = readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
        return line.includes(text) ? [{ pid: Number(name), line }] : [];
      } catch {
        return [];
      }
    });
}

/** A started program, and what it has printed so far. */
export interface Started {
  readonly child: ChildProcess;
  readonly exited: Promise<number | NodeJS.Signals | null>;
  output(): string;
  errors(): string;
}

/** Starts a Node program; ended with the test if it still runs. */
export function startNode(
  t: Test,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
  cwd?: string,
): Started {
  const child = spawn(process.execPath, args, { env, cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (chunk) => {
    output += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk) => {
    errors += chunk;
  });
  const exited = new Promise<number | NodeJS.Signals | null>((resolve) => {
    child.once('close', (code, signal) => resolve(code ?? signal));
  });
  t.teardown(() => child.kill('SIGKILL'));
  return { child, exited, output: () => output, errors: () => errors };
}
