/** `sallyport connection …`: the upstreams. */
import type { Command } from 'commander';
import { Option } from 'commander';
import { fileText, fromEnvironment, listed, pair, repeated } from './arguments.ts';
import type { ConnectionStatus } from './catalog-wait.ts';
import { followCatalog, namespacesOf } from './catalog-wait.ts';
import { CommandFailed, UsageError } from './failure.ts';
import type { Session } from './session.ts';
import { sessionOf } from './session.ts';
import { members, shorten, table } from './table.ts';

interface ConnectionItem {
  readonly name: string;
  readonly url: string;
  readonly auth: { readonly type: string };
  readonly owner: string;
  readonly status: ConnectionStatus;
}

interface AddOptions {
  readonly url: string;
  readonly bearer?: string;
  readonly bearerEnv?: string;
  readonly apiKeyHeader?: string;
  readonly apiKeyQuery?: string;
  readonly value?: string;
  readonly basic?: string;
  readonly header?: readonly string[];
  readonly forward?: readonly string[];
  readonly session?: string;
  readonly timeout?: string;
  readonly refresh?: string;
  readonly ca?: string;
  readonly insecure?: boolean;
  readonly description?: string;
  readonly replace?: boolean;
  readonly wait?: boolean;
}

export function connectionCommands(program: Command): void {
  const command = program.command('connection').description('upstream MCP servers');

  command
    .command('add <name>')
    .description('add an upstream and show its tools')
    .requiredOption('--url <url>', 'its MCP endpoint')
    .option('--bearer <token>', 'send Authorization: Bearer TOKEN')
    .option('--bearer-env <variable>', 'the same, with the token from an environment variable')
    .option('--api-key-header <header>', 'send a key in this header; needs --value')
    .option('--api-key-query <name>', 'send a key in this query parameter; needs --value')
    .option('--value <key>', 'the key for --api-key-header or --api-key-query')
    .option('--basic <user:password>', 'send basic authentication')
    .option('--header <name=value>', 'send this header too (repeatable)', repeated)
    .option('--forward <header>', "let this header of the caller's pass (repeatable)", listed)
    .addOption(new Option('--session <mode>', 'how sessions are kept').choices(['auto', 'stateless', 'pooled']))
    .option('--timeout <duration>', 'limit for a whole call, such as 30s')
    .option('--refresh <duration>', 'how often the catalog is read again, such as 60s')
    .option('--ca <file>', 'PEM file to trust instead of the public roots')
    .option('--insecure', 'accept any certificate')
    .option('--description <text>', 'what it is for')
    .option('--replace', 'replace a connection of that name')
    .option('--wait', 'fail unless its tools are there within a minute')
    .option('--no-wait', 'do not look whether it works')
    .action((name: string, options: AddOptions, self: Command) => add(sessionOf(self), name, options));

  command
    .command('list')
    .description('list connections and how they stand')
    .action(async (_options: unknown, self: Command) => {
      const session = sessionOf(self);
      const items = await session.rest.all<ConnectionItem>('/connections');
      session.print({ items }, () => connectionTable(items));
    });

  command
    .command('get <name>')
    .description('show one connection')
    .action(async (name: string, _options: unknown, self: Command) => {
      const session = sessionOf(self);
      const item = await session.rest.get<ConnectionItem>(pathOf(name));
      session.print(item, () => members(item));
    });

  command
    .command('test <name>')
    .description('connect to it and list what it offers, storing nothing')
    .action((name: string, _options: unknown, self: Command) => test(sessionOf(self), name));

  command
    .command('refresh <name>')
    .description('read its catalog now')
    .action(async (name: string, _options: unknown, self: Command) => {
      const session = sessionOf(self);
      const status = await session.rest.post<ConnectionStatus>(`${pathOf(name)}/refresh`, {}, 120_000);
      session.print(status, () => statusSentence(name, status));
      if (status.state === 'unavailable') throw new CommandFailed('');
    });

  command
    .command('remove <name>')
    .alias('rm')
    .description('remove a connection')
    .action(async (name: string, _options: unknown, self: Command) => {
      const session = sessionOf(self);
      await session.rest.delete(pathOf(name));
      session.print({ removed: name }, `Removed connection ${name}.`);
    });
}

const pathOf = (name: string): string => `/connections/${encodeURIComponent(name)}`;

const UNTIL_READY = { withinMs: 60_000, throughFailures: true };
const FIRST_ATTEMPT = { withinMs: 10_000, throughFailures: false };

async function add(session: Session, name: string, options: AddOptions): Promise<void> {
  const body = connectionBody(options);
  if (options.replace) await session.rest.put(pathOf(name), body);
  else await session.rest.post('/connections', { name, ...body });
  session.note(`${options.replace ? 'Saved' : 'Added'} connection ${name}.`);
  if (options.wait === false) return session.print({ name }, '');
  const status = await followCatalog(session, name, options.wait ? UNTIL_READY : FIRST_ATTEMPT);
  const namespaces = status.state === 'ready' ? await namespacesOf(session, name) : [];
  session.print({ name, status, namespaces }, () =>
    [statusSentence(name, status), ...namespaces.map((line) => `  ${line.url}  (${line.namespace})`)].join('\n'),
  );
  if (options.wait && status.state !== 'ready') throw new CommandFailed('');
}

/** The connection as the admin API takes it; secrets are resolved here, with their references beside them. */
function connectionBody(options: AddOptions): Record<string, unknown> {
  const { url, forward, session, timeout, refresh, description } = options;
  const auth = authOf(options);
  const headers = Object.fromEntries((options.header ?? []).map(pair).map(([name, value]) => [name, { value }]));
  const tls = {
    ...(options.ca !== undefined && { ca: fileText(options.ca) }),
    ...(options.insecure && { insecure: true }),
  };
  return {
    url,
    ...(auth && { auth }),
    ...(options.header && { headers }),
    ...(forward && { forward }),
    ...(session && { session }),
    ...(timeout && { timeout }),
    ...(refresh && { refresh }),
    ...(description && { description }),
    ...(Object.keys(tls).length > 0 && { tls }),
  };
}

function authOf(options: AddOptions): Record<string, unknown> | undefined {
  const { bearer, bearerEnv, apiKeyHeader, apiKeyQuery, value, basic } = options;
  const given = [bearer, bearerEnv, apiKeyHeader, apiKeyQuery, basic].filter((one) => one !== undefined);
  if (given.length > 1) {
    throw new UsageError('Use only one of --bearer, --bearer-env, --api-key-header, --api-key-query and --basic.');
  }
  const isKey = apiKeyHeader !== undefined || apiKeyQuery !== undefined;
  if (isKey !== (value !== undefined)) throw new UsageError('--value goes with --api-key-header or --api-key-query.');
  if (bearer !== undefined) return { type: 'bearer', token: { value: bearer } };
  if (bearerEnv !== undefined) {
    return { type: 'bearer', token: fromEnvironment(bearerEnv) };
  }
  if (apiKeyHeader !== undefined) return { type: 'api_key', header: apiKeyHeader, value: { value } };
  if (apiKeyQuery !== undefined) return { type: 'api_key', query: apiKeyQuery, value: { value } };
  if (basic === undefined) return undefined;
  const colon = basic.indexOf(':');
  if (colon < 1) throw new UsageError('--basic must be USER:PASSWORD.');
  return { type: 'basic', username: basic.slice(0, colon), password: { value: basic.slice(colon + 1) } };
}

async function test(session: Session, name: string): Promise<void> {
  const result = await session.rest.post<TestAnswer>(`${pathOf(name)}/test`, {}, 120_000);
  session.print(result, () =>
    result.ok
      ? `${name} works: ${offers(result)} in ${Math.round(result.durationMs)} ms; it speaks ${speech(result)}.${result.error ? `\nNot all of it could be read: ${result.error}` : ''}`
      : `${name} does not work: ${result.error ?? 'no reason was given'}`,
  );
  if (!result.ok) throw new CommandFailed('');
}

type TestAnswer = Partial<ConnectionStatus> & { ok: boolean; error?: string; durationMs: number };

/** `2 tools, 1 prompt`: tools always, anything else where there is some. */
function offers(status: Partial<Pick<ConnectionStatus, 'tools' | 'prompts' | 'resources' | 'templates'>>): string {
  const { tools = 0, prompts = 0, resources = 0, templates = 0 } = status;
  const count = (number: number, what: string): string => `${number} ${what}${number === 1 ? '' : 's'}`;
  return [
    count(tools, 'tool'),
    ...(prompts > 0 ? [count(prompts, 'prompt')] : []),
    ...(resources > 0 ? [count(resources, 'resource')] : []),
    ...(templates > 0 ? [count(templates, 'resource template')] : []),
  ].join(', ');
}

function speech({ era, transport, protocolVersion }: Partial<ConnectionStatus>): string {
  const details = [era, transport === 'sse' ? 'HTTP+SSE' : undefined].filter((one) => one !== undefined).join(', ');
  return `MCP ${protocolVersion ?? ''}${details === '' ? '' : ` (${details})`}`;
}

function statusSentence(name: string, status: ConnectionStatus): string {
  const { state, lastError } = status;
  switch (state) {
    case 'ready':
      return `${name} is ready with ${offers(status)}.${lastError ? `\nNot all of it could be read: ${lastError}` : ''}`;
    case 'unavailable':
      return `${name} is unavailable: ${lastError ?? 'no reason was given'}\nThe gateway tries again by itself; "sallyport connection refresh ${name}" tries now.`;
    case 'disabled':
      return `${name} is disabled.`;
    case 'pending':
      return `${name} has not been read yet${lastError ? `: ${lastError}` : '. "sallyport connection list" shows how it goes on'}.`;
  }
}

function connectionTable(items: readonly ConnectionItem[]): string {
  if (items.length === 0) return 'No connections. Add one: sallyport connection add NAME --url URL';
  return table(
    ['NAME', 'STATE', 'MCP', 'TOOLS', 'PROMPTS', 'RESOURCES', 'TEMPLATES', 'AUTH', 'OWNER', 'URL', 'LAST ERROR'],
    items.map(({ name, url, auth, owner, status }) => [
      name,
      status.state,
      `${status.protocolVersion ?? ''}${status.transport === 'sse' ? ' sse' : ''}`,
      status.tools,
      status.prompts,
      status.resources,
      status.templates,
      auth.type,
      owner,
      url,
      shorten(status.lastError ?? '', 120),
    ]),
  );
}
