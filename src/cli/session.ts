/** What every command starts from: where the gateway is, what opens it, and how to print. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { isLoopback } from '../config/names.ts';
import type { Rest, ServerAddress } from './rest.ts';
import { restClient } from './rest.ts';

/** The options that every command has. */
export interface GlobalOptions {
  readonly json?: boolean;
  readonly server?: string;
  readonly token?: string;
  readonly dataDir: string;
}

/** What `up` left in its data directory. */
export interface UpFile {
  readonly mcpUrl?: string;
  readonly adminUrl?: string;
  readonly firstKey?: string;
}

export interface Session {
  readonly options: GlobalOptions;
  readonly rest: Rest;
  readonly address: ServerAddress;
  /** Prints the JSON value with --json, else the text for people. */
  print(value: unknown, text: string | (() => string)): void;
  /** A line about what is going on; on standard error, and not with --json. */
  note(line: string): void;
}

const DEFAULT_SERVER = 'http://127.0.0.1:8081';

/** The session of a command that was called. */
export function sessionOf(command: Command): Session {
  const options = command.optsWithGlobals<GlobalOptions>();
  const address = findServer(options);
  return {
    options,
    address,
    rest: restClient(address),
    print(value, text) {
      const line = options.json ? JSON.stringify(value, null, 2) : typeof text === 'function' ? text() : text;
      process.stdout.write(line.endsWith('\n') || line === '' ? line : `${line}\n`);
    },
    note(line) {
      if (!options.json) process.stderr.write(`${line}\n`);
    },
  };
}

/** Flags and environment first (commander has read both), then what a running `up` wrote. */
function findServer({ server, token, dataDir }: GlobalOptions): ServerAddress {
  const running = readUpFile(dataDir);
  const url = server ?? running?.adminUrl ?? DEFAULT_SERVER;
  // The token that lies here belongs to the gateway that runs here; another server must not get to see it.
  const isOurs = url === running?.adminUrl || isLoopback(url);
  const file = join(dataDir, 'admin-token');
  return {
    url,
    token: token ?? (isOurs ? readText(file)?.trim() : undefined),
    tokenHint: `Pass it with --token or SALLYPORT_ADMIN_TOKEN${isOurs ? `; "sallyport up" keeps it in ${file}` : ''}.`,
  };
}

/** `<data-dir>/up.json`, while an `up` runs. */
export function readUpFile(dataDir: string): UpFile | undefined {
  const text = readText(join(dataDir, 'up.json'));
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as UpFile;
  } catch {
    return undefined;
  }
}

function readText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
