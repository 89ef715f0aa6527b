import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HttpConnection } from './http-connection.ts';

/** A gateway of the benchmark's own, with its own database, in front of one upstream. */
export interface Stack {
  readonly mcpUrl: string;
  /** Authorization header of the benchmark's API key. */
  readonly authorization: string;
  /** The name under which the upstream's `echo` is listed. */
  readonly tool: string;
  /** The supervisor: everything that runs is below it. */
  readonly pid: number;
  /** Writes its configuration again, with these sections besides; the gateway reads it within a second or two. */
  configure(more: object): void;
  stop(): Promise<void>;
}

const KEY = 'sallyport-bench-key-0123456789';
const START_SECONDS = 120;

/**
 * Starts `sallyport up` on free ports in a temporary data directory and returns once every tool of the upstream is
 * listed through it. Persona check, token injection and audit are on: the configuration is what a team would write.
 */
export async function startStack(options: {
  command: readonly string[];
  environment: NodeJS.ProcessEnv;
  upstreamUrl: string;
  upstreamToken: string;
  toolCount: number;
  signal: AbortSignal;
  /** More for `up`. */
  flags: readonly string[];
}): Promise<Stack> {
  const directory = mkdtempSync(join(tmpdir(), 'sallyport-bench-'));
  const dataDirectory = join(directory, 'state');
  mkdirSync(dataDirectory);
  const configFile = join(directory, 'sallyport.yaml');
  const configure = (more: object): void => {
    const written = { ...configuration(options.upstreamUrl, options.upstreamToken), ...more };
    // JSON is YAML: nothing to escape. Renamed, so that nobody reads half of it.
    writeFileSync(`${configFile}.new`, JSON.stringify(written), { mode: 0o600 });
    renameSync(`${configFile}.new`, configFile);
  };
  configure({});
  const [program = '', ...words] = options.command;
  const child = spawn(
    program,
    [
      ...words,
      ...['up', '--port', '0', '--admin-port', '0', '--data-dir', dataDirectory, '--config', configFile],
      ...options.flags,
    ],
    { env: options.environment, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let output = '';
  const collect = (bytes: Buffer): void => {
    output = (output + bytes.toString()).slice(-4000);
  };
  child.stdout.on('data', collect);
  child.stderr.on('data', collect);
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
    await ended;
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    const upFile = join(dataDirectory, 'up.json');
    const { signal } = options;
    await until(signal, 'the gateway writes up.json', () => {
      if (child.exitCode !== null) throw new Error(`sallyport up ended with exit code ${child.exitCode}.`);
      return existsSync(upFile);
    });
    const { mcpUrl, pid } = JSON.parse(readFileSync(upFile, 'utf8')) as { mcpUrl: string; pid: number };
    const authorization = `Bearer ${KEY}`;
    await until(signal, 'the upstream is in the catalog', () => listsTools(mcpUrl, authorization, options.toolCount));
    return { mcpUrl, authorization, tool: 'bench__echo', pid, configure, stop };
  } catch (error) {
    await stop();
    throw new Error(`${(error as Error).message} The last it printed:\n${output}`);
  }
}

/** One connection with a bearer token, and a persona whose twenty patterns all have to be looked at. */
function configuration(url: string, token: string): object {
  const teams = ['crm', 'billing', 'files', 'wiki', 'tickets', 'calendar', 'mail', 'deploy'];
  return {
    connections: { bench: { url, auth: { type: 'bearer', token } } },
    namespaces: { default: { connections: ['bench'], prefix: 'always' } },
    personas: {
      bench: {
        roles: ['bench'],
        tools: {
          allow: [...teams.map((team) => `${team}__get_*`), ...teams.map((team) => `${team}__list_*`), 'bench__*'],
          deny: ['*__delete_*', '*__drop_*', 'admin__*'],
        },
      },
    },
    identity: { apiKeys: [{ name: 'bench', key: KEY, roles: ['bench'] }] },
  };
}

async function listsTools(mcpUrl: string, authorization: string, count: number): Promise<boolean> {
  const connection = new HttpConnection(new URL(mcpUrl));
  const common = `authorization: ${authorization}\r\naccept: application/json, text/event-stream\r\ncontent-type: application/json\r\n`;
  const client = '{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}';
  try {
    const opened = await connection.send(
      'POST',
      common,
      `{"jsonrpc":"2.0","id":1,"method":"initialize","params":${client}}`,
    );
    const session = opened.sessionId ? `mcp-session-id: ${opened.sessionId}\r\n` : '';
    const listed = await connection.send('POST', common + session, '{"jsonrpc":"2.0","id":2,"method":"tools/list"}');
    return (listed.body.toString().match(/"inputSchema"/g)?.length ?? 0) >= count;
  } catch {
    return false;
  } finally {
    connection.close();
  }
}

async function until(signal: AbortSignal, what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + START_SECONDS * 1000;
  while (!(await condition())) {
    signal.throwIfAborted();
    if (Date.now() > deadline) throw new Error(`Waited ${START_SECONDS} s in vain until ${what}.`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
