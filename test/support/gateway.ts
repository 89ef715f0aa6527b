/** The whole product as a user starts it: `sallyport up` in a directory of its own, driven from outside. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { packageRoot } from '../../src/package-root.ts';
import { runtimeDirOf } from '../../src/supervisor/directories.ts';
import { removeDataDir } from '../supervisor/support.ts';
import { eventually } from './eventually.ts';

export interface Gateway {
  readonly mcpUrl: string;
  readonly adminUrl: string;
  readonly adminToken: string;
  readonly key: string;
  readonly dataDir: string;
  readonly runtimeDir: string;
  readonly pid: number;
  /** What the processes have written so far. */
  output(): string;
  /** Pids of the parts, by name. */
  children(): Record<string, number>;
  /** A call of the admin API; the answer's JSON, with its status. */
  admin<T = Record<string, unknown>>(
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<{ status: number; json: T }>;
  /** Ctrl-C; resolves when the supervisor is gone, with its exit code. */
  stop(): Promise<number | null>;
  /** Waits until the connection's catalog is ready. */
  ready(connection: string): Promise<void>;
}

interface UpFile {
  readonly mcpUrl: string;
  readonly adminUrl: string;
  readonly pid: number;
  readonly firstKey?: string;
}

export interface GatewayOptions {
  readonly config?: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly dataDir?: string;
}

/** Starts one and waits for `up.json`. Stopped at the end of the test. */
export async function startGateway(t: Test, options: GatewayOptions = {}): Promise<Gateway> {
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), 'sp-up-'));
  const args = [join(packageRoot, 'dist/src/main.js'), 'up', '--port', '0', '--admin-port', '0', '--data-dir', dataDir];
  if (options.config !== undefined) {
    const file = join(dataDir, 'sallyport.yaml');
    writeFileSync(file, options.config);
    args.push('--config', file);
  }
  const child = spawn(process.execPath, [...args, ...(options.args ?? [])], {
    env: { ...process.env, LOG_LEVEL: 'info', ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk;
    });
  }
  const exited = new Promise<number | null>((resolve) => child.once('close', resolve));
  const stop = async (): Promise<number | null> => {
    child.kill('SIGINT');
    return exited;
  };
  t.teardown(async () => {
    await stop();
    if (options.dataDir === undefined) removeDataDir(dataDir);
  });
  const up = await Promise.race([
    eventually(() => JSON.parse(readFileSync(join(dataDir, 'up.json'), 'utf8')) as UpFile, 60_000).catch(
      () => undefined,
    ),
    exited.then(() => undefined),
  ]);
  if (up === undefined) throw new Error(`sallyport up did not come up:\n${output}`);
  const adminToken = options.env?.SALLYPORT_ADMIN_TOKEN ?? readFileSync(join(dataDir, 'admin-token'), 'utf8').trim();
  const runtimeDir = runtimeDirOf(dataDir);
  const admin: Gateway['admin'] = async (method, path, body, headers = {}) => {
    const response = await fetch(`${up.adminUrl}/api/v1/${path}`, {
      method,
      headers: {
        authorization: `Bearer ${adminToken}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, json: text === '' ? {} : JSON.parse(text) };
  };
  return {
    mcpUrl: up.mcpUrl,
    adminUrl: up.adminUrl,
    adminToken,
    key: up.firstKey ?? '',
    dataDir,
    runtimeDir,
    pid: up.pid,
    output: () => output,
    children: () => JSON.parse(readFileSync(join(runtimeDir, 'children.json'), 'utf8')) as Record<string, number>,
    admin,
    stop,
    async ready(connection) {
      await eventually(
        async () => (await admin<{ state: string }>('GET', `connections/${connection}/status`)).json.state === 'ready',
        15_000,
      );
    },
  };
}
