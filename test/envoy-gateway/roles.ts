import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The program, as compiled together with this file. */
const MAIN = fileURLToPath(new URL('../../src/main.js', import.meta.url));

/** A role of Sallyport as people start it by hand: command, environment, signal. */
export interface Role {
  log(): string;
  stop(): Promise<void>;
}

export function startRole(args: readonly string[], environment: Readonly<Record<string, string>>): Role {
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: { ...process.env, LOG_LEVEL: 'info', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let log = '';
  child.stdout.on('data', (bytes) => (log += bytes));
  child.stderr.on('data', (bytes) => (log += bytes));
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  return {
    log: () => log,
    async stop() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

/** A directory for sockets and a configuration file, with a short name: a socket's path may have about 100 bytes. */
export function scratch(config: object): { directory: string; configFile: string; remove(): void } {
  const directory = mkdtempSync(join(tmpdir(), 'sp-egt-'));
  const configFile = join(directory, 'sallyport.yaml');
  writeFileSync(configFile, JSON.stringify(config), { mode: 0o600 });
  return { directory, configFile, remove: () => rmSync(directory, { recursive: true, force: true }) };
}
