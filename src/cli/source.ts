/** `sallyport source …`: where enrichment rules get what they add. */
import { type Command, Option } from 'commander';
import { fileText, fromEnvironment, pair, repeated, wholeNumber } from './arguments.ts';
import { CommandFailed, UsageError } from './failure.ts';
import type { Session } from './session.ts';
import { sessionOf } from './session.ts';
import { members, shorten, table, withoutControls } from './table.ts';

interface SourceItem {
  readonly name: string;
  readonly type: string;
  readonly url: string;
  readonly enabled: boolean;
  readonly status: { readonly state: string };
  readonly owner: string;
  readonly description?: string;
}

interface TestAnswer {
  readonly ok: boolean;
  readonly error?: string;
  readonly server?: string;
  readonly notes?: readonly string[];
  readonly durationMs: number;
}

interface AddOptions {
  readonly type: string;
  readonly url?: string;
  readonly urlEnv?: string;
  readonly user?: string;
  readonly password?: string;
  readonly passwordEnv?: string;
  readonly token?: string;
  readonly tokenEnv?: string;
  readonly catalog?: string;
  readonly schema?: string;
  readonly header?: readonly string[];
  readonly ca?: string;
  readonly insecure?: boolean;
  readonly maxConcurrent?: number;
  readonly description?: string;
  readonly replace?: boolean;
}

export function sourceCommands(program: Command): void {
  const command = program.command('source').description('where enrichment rules get what they add');

  command
    .command('add <name>')
    .description('add a source, if it answers')
    .addOption(
      new Option('--type <type>', 'what it is').choices(['trino', 'postgres', 'datahub', 'http']).makeOptionMandatory(),
    )
    .option('--url <url>', 'where it is; of a postgres source with user and password')
    .option('--url-env <variable>', 'the same, from an environment variable (postgres)')
    .option('--user <name>', 'whom Trino knows it as')
    .option('--password <password>', 'its password (trino)')
    .option('--password-env <variable>', 'the same, from an environment variable')
    .option('--token <token>', 'an access token (trino, datahub)')
    .option('--token-env <variable>', 'the same, from an environment variable')
    .option('--catalog <name>', 'catalog of names without one (trino)')
    .option('--schema <name>', 'schema of names without one (trino)')
    .option('--header <name=value>', 'send this header too (http; repeatable)', repeated)
    .option('--ca <file>', 'PEM file to trust instead of the public roots (trino, postgres)')
    .option('--insecure', 'accept any certificate (trino, postgres)')
    .option('--max-concurrent <number>', 'requests in flight at most, per process', wholeNumber(1, 1000))
    .option('--description <text>', 'what it is for')
    .option('--replace', 'replace a source of that name')
    .option('--no-test', 'do not try it first')
    .action((name: string, options: AddOptions & { test: boolean }, self: Command) =>
      add(sessionOf(self), name, options),
    );

  command
    .command('list')
    .description('list sources')
    .action(async (_options: unknown, self: Command) => {
      const session = sessionOf(self);
      const items = await session.rest.all<SourceItem>('/sources');
      session.print({ items }, () => sourceTable(items));
    });

  command
    .command('get <name>')
    .description('show one source')
    .action(async (name: string, _options: unknown, self: Command) => {
      const session = sessionOf(self);
      const item = await session.rest.get<SourceItem>(pathOf(name));
      session.print(item, () => members(item));
    });

  command
    .command('test <name>')
    .description('ask it who it is')
    .action(async (name: string, _options: unknown, self: Command) => {
      const session = sessionOf(self);
      const answer = await session.rest.post<TestAnswer>(`${pathOf(name)}/test`);
      session.print(answer, () => testSentence(name, answer));
      if (!answer.ok) throw new CommandFailed('');
    });

  command
    .command('remove <name>')
    .alias('rm')
    .description('remove a source that no rule uses')
    .action(async (name: string, _options: unknown, self: Command) => {
      const session = sessionOf(self);
      await session.rest.delete(pathOf(name));
      session.print({ removed: name }, `Removed source ${name}.`);
    });
}

const pathOf = (name: string): string => `/sources/${encodeURIComponent(name)}`;

async function add(session: Session, name: string, options: AddOptions & { test: boolean }): Promise<void> {
  const body = sourceBody(options);
  const tested = options.test ? await session.rest.post<TestAnswer>('/sources/test', { name, ...body }) : undefined;
  if (tested?.ok === false) {
    throw new CommandFailed(`${testSentence(name, tested)}\nNothing was stored; with --no-test it is stored as it is.`);
  }
  const item = options.replace
    ? await session.rest.put(pathOf(name), body)
    : await session.rest.post('/sources', { name, ...body });
  session.note(`${options.replace ? 'Saved' : 'Added'} source ${name}.`);
  session.print({ ...(item as object), ...(tested && { test: tested }) }, () =>
    tested === undefined ? '' : testSentence(name, tested),
  );
}

/** The source as the admin API takes it; secrets are resolved here, with their references beside them. */
function sourceBody(options: AddOptions): Record<string, unknown> {
  const { type, url, urlEnv, user, catalog, schema, header, ca, insecure, maxConcurrent, description } = options;
  if ((url === undefined) === (urlEnv === undefined)) throw new UsageError('Say where it is: --url or --url-env.');
  const password = secretOf('password', options.password, options.passwordEnv);
  const token = secretOf('token', options.token, options.tokenEnv);
  const tls = { ...(ca !== undefined && { ca: fileText(ca) }), ...(insecure && { insecure }) };
  return {
    type,
    url: urlEnv === undefined ? url : fromEnvironment(urlEnv),
    ...(user !== undefined && { user }),
    ...(password && { password }),
    ...(token && { token }),
    ...(catalog !== undefined && { catalog }),
    ...(schema !== undefined && { schema }),
    ...(header && { headers: Object.fromEntries(header.map(pair).map(([key, value]) => [key, { value }])) }),
    ...(Object.keys(tls).length > 0 && { tls }),
    ...(maxConcurrent !== undefined && { maxConcurrent }),
    ...(description !== undefined && { description }),
  };
}

function secretOf(what: string, value: string | undefined, variable: string | undefined) {
  if (value !== undefined && variable !== undefined)
    throw new UsageError(`Use only one of --${what} and --${what}-env.`);
  if (variable !== undefined) return fromEnvironment(variable);
  return value === undefined ? undefined : { value };
}

function testSentence(name: string, { ok, error, server, notes = [], durationMs }: TestAnswer): string {
  const first = ok
    ? `${name} answers in ${durationMs} ms${server === undefined ? '' : `: ${server}`}.`
    : `${name} does not work: ${error ?? 'no reason was given'}`;
  return [first, ...notes.map((note) => `note: ${note}`)].map(withoutControls).join('\n');
}

function sourceTable(items: readonly SourceItem[]): string {
  if (items.length === 0) return 'No sources. Add one: sallyport source add NAME --type TYPE --url URL';
  return table(
    ['NAME', 'TYPE', 'STATE', 'OWNER', 'URL', 'DESCRIPTION'],
    items.map(({ name, type, enabled, status, owner, url, description }) => [
      name,
      type,
      enabled ? status.state : 'disabled',
      owner,
      url,
      shorten(withoutControls(description ?? ''), 100),
    ]),
  );
}
