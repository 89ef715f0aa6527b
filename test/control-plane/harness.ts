import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type ControlPlaneMessage,
  type ControlPlaneOptions,
  startControlPlane,
} from '../../src/control-plane/start.ts';
import { type Database, openDatabase } from '../../src/storage/database.ts';
import { createLogger } from '../../src/telemetry/log.ts';

export const ADMIN_TOKEN = 'test-admin-token';
export const SECRET_KEY = '11'.repeat(32);

export interface Answer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: tests look at members by name
  readonly body: any;
  readonly headers: Headers;
}

/** A control plane in this process, on a database of its own, and its admin API. */
export interface TestControlPlane {
  readonly adminUrl: string;
  readonly databaseUrl: string;
  readonly runtimeDir: string;
  readonly database: Database;
  readonly messages: ControlPlaneMessage[];
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>;
  /** Stops it and starts another on the same database. */
  restart(changes?: Partial<ControlPlaneOptions>): Promise<void>;
  stop(): Promise<void>;
}

export async function controlPlane(
  databaseUrl: string,
  changes: Partial<ControlPlaneOptions> = {},
): Promise<TestControlPlane> {
  const runtimeDir = mkdtempSync(join(tmpdir(), 'sp-cp-'));
  const messages: ControlPlaneMessage[] = [];
  const options: ControlPlaneOptions = {
    runtimeDir,
    adminHost: '127.0.0.1',
    adminPort: 0,
    mcpHost: '127.0.0.1',
    mcpPort: 9,
    files: {},
    databaseUrl,
    secretKey: SECRET_KEY,
    adminToken: ADMIN_TOKEN,
    env: {},
    log: createLogger('test', process.env.LOG_LEVEL ?? 'silent'),
    tell: (message) => messages.push(message),
    ...changes,
  };
  const clear = () => rmSync(runtimeDir, { recursive: true, force: true });
  let running = await startControlPlane(options).catch((error) => {
    clear();
    throw error;
  });
  const database = openDatabase(databaseUrl, { max: 2 });
  return {
    get adminUrl() {
      return running.adminUrl;
    },
    databaseUrl,
    runtimeDir,
    database,
    messages,
    call: (method, path, body, headers) => call(running.adminUrl, method, path, body, headers),
    async restart(more = {}) {
      await running.stop();
      running = await startControlPlane({ ...options, ...more });
    },
    async stop() {
      await running.stop();
      await database.close();
      clear();
    },
  };
}

async function call(
  adminUrl: string,
  method: string,
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const isText = typeof body === 'string';
  const response = await fetch(`${adminUrl}/api/v1${path}`, {
    method,
    headers: {
      authorization: `Bearer ${ADMIN_TOKEN}`,
      ...(body !== undefined && !isText && { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body !== undefined && { body: isText ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  const isJson = /json/.test(response.headers.get('content-type') ?? '');
  return { status: response.status, body: isJson ? JSON.parse(text) : text, headers: response.headers };
}
