/** `sallyport client config …`: what to paste into an MCP client. Content on standard output, where it goes on standard error. */
import type { Command } from 'commander';
import { Argument } from 'commander';
import { readUpFile, type Session, sessionOf } from './session.ts';

interface ClientOptions {
  readonly url?: string;
  readonly namespace: string;
  readonly key?: string;
  readonly name: string;
}

interface Client {
  readonly hint: string;
  readonly text: (name: string, url: string, authorization: string) => string;
}

const json = (value: unknown): string => JSON.stringify(value, null, 2);

const CLIENTS: Readonly<Record<string, Client>> = {
  'claude-code': {
    hint: 'Run this command:',
    text: (name, url, authorization) =>
      `claude mcp add --transport http ${name} ${url} --header "Authorization: ${authorization}"`,
  },
  cursor: {
    hint: 'Put this into ~/.cursor/mcp.json, or .cursor/mcp.json of a project:',
    text: (name, url, Authorization) => json({ mcpServers: { [name]: { url, headers: { Authorization } } } }),
  },
  vscode: {
    hint: 'Put this into .vscode/mcp.json of a workspace:',
    text: (name, url, Authorization) =>
      json({ servers: { [name]: { type: 'http', url, headers: { Authorization } } } }),
  },
  json: {
    hint: 'For clients that read an mcpServers file:',
    text: (name, url, Authorization) =>
      json({ mcpServers: { [name]: { type: 'http', url, headers: { Authorization } } } }),
  },
};

export function clientCommands(program: Command): void {
  const command = program.command('client').description('connecting MCP clients');
  command
    .command('config')
    .description('print the configuration of an MCP client, ready to paste')
    .addArgument(new Argument('<client>', 'which client').choices(Object.keys(CLIENTS)))
    .option('--url <url>', "the gateway's MCP URL (default: of the gateway that runs here)")
    .option('--namespace <name>', 'connect to this namespace', 'default')
    .option('--key <key>', 'the API key to use')
    .option('--name <name>', 'what the client calls the gateway', 'sallyport')
    .action((client: string, options: ClientOptions, self: Command) => config(sessionOf(self), client, options));
}

function config(session: Session, client: string, options: ClientOptions): void {
  const running = readUpFile(session.options.dataDir);
  const base = options.url ?? running?.mcpUrl ?? 'http://127.0.0.1:8080/mcp';
  const isDefault = options.namespace === 'default' || options.url !== undefined;
  const url = isDefault ? base : base.replace(/\/mcp$/, `/${options.namespace}/mcp`);
  const key = options.key ?? running?.firstKey ?? 'YOUR_KEY';
  const { hint, text } = CLIENTS[client] as Client;
  const pasted = text(options.name, url, `Bearer ${key}`);
  session.note(hint);
  session.print({ client, url, headers: { Authorization: `Bearer ${key}` }, text: pasted }, pasted);
  if (key === 'YOUR_KEY') session.note('Replace YOUR_KEY: "sallyport key create NAME --role ROLE" makes a key.');
}
