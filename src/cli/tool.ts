/** `sallyport tool …`: what the upstreams offer, under the names that agents see. */
import type { Command } from 'commander';
import { jsonObject, wholeNumber } from './arguments.ts';
import { CommandFailed } from './failure.ts';
import { actingAs } from './persona.ts';
import type { Session } from './session.ts';
import { sessionOf } from './session.ts';
import { readable, shorten, table, withoutControls } from './table.ts';

interface ToolItem {
  readonly name: string;
  readonly connection: string;
  readonly upstreamName: string;
  readonly digest: string;
  readonly title?: string;
  readonly description?: string;
  readonly inputSchema?: object;
}

/** Longer than any call the gateway lets run by default. */
const CALL_TIMEOUT_MS = 330_000;

export function toolCommands(program: Command): void {
  const command = program.command('tool').description('the tools of all connections');

  command
    .command('list')
    .description('list the tools of a namespace')
    .option('--namespace <name>', 'which namespace', 'default')
    .option('--connection <name>', 'only of this connection')
    .option('--persona <name>', 'only what this persona may call')
    .action(async (options: { namespace: string; connection?: string; persona?: string }, self: Command) => {
      const session = sessionOf(self);
      const items = await session.rest.all<ToolItem>('/tools', { ...options });
      session.print({ items }, () => toolTable(items));
    });

  command
    .command('search <words...>')
    .description('find tools by words in their names and descriptions')
    .option('--namespace <name>', 'which namespace', 'default')
    .option('--persona <name>', 'only what this persona may call')
    .option('--limit <number>', 'at most so many', wholeNumber(1, 500), 20)
    .action(async (words: string[], options: { namespace: string; persona?: string; limit: number }, self: Command) => {
      const session = sessionOf(self);
      const page = await session.rest.get<{ items: ToolItem[] }>('/tools/search', { ...options, q: words.join(' ') });
      session.print({ items: page.items }, () => toolTable(page.items));
    });

  command
    .command('get <name>')
    .description('show one tool and its parameters')
    .option('--namespace <name>', 'which namespace', 'default')
    .action(async (name: string, { namespace }: { namespace: string }, self: Command) => {
      const session = sessionOf(self);
      const tool = await session.rest.get<ToolItem>(`/tools/${encodeURIComponent(name)}`, { namespace });
      session.print(tool, () => toolText(tool));
    });

  command
    .command('call <name> [arguments]')
    .description('call a tool through the gateway; the arguments are a JSON object')
    .option('--namespace <name>', 'in this namespace', 'default')
    .option('--as <principal>', "as this key's owner, or as role:NAME (default: the operator, who may call all)")
    .action((name: string, json: string | undefined, options: { namespace: string; as?: string }, self: Command) =>
      call(sessionOf(self), name, json ?? '{}', options),
    );
}

interface CallResult {
  readonly content?: readonly { readonly type: string; readonly text?: string }[];
  readonly structuredContent?: unknown;
  readonly isError?: boolean;
}

async function call(session: Session, name: string, json: string, options: { namespace: string; as?: string }) {
  const as = actingAs(options.as);
  const rest = JSON.stringify({ name, namespace: options.namespace, ...(as && { as }) });
  const body = `{"arguments":${jsonObject(json)},${rest.slice(1)}`;
  const text = await session.rest.postText('/tools/call', body, CALL_TIMEOUT_MS);
  const answer = JSON.parse(text) as { result?: CallResult; error?: { code: number; message: string } };
  // As it came: parsing would round integers beyond 2^53.
  if (session.options.json) process.stdout.write(`${text}\n`);
  if (answer.error)
    throw new CommandFailed(session.options.json ? '' : `${answer.error.message} (${answer.error.code})`);
  if (!session.options.json) process.stdout.write(`${resultText(answer.result ?? {})}\n`);
  if (answer.result?.isError) throw new CommandFailed('');
}

/** What a person would read: text as it is, the rest by its kind. */
function resultText({ content = [], structuredContent }: CallResult): string {
  const blocks = content.map((block) => (block.type === 'text' ? readable(block.text ?? '') : `[${block.type}]`));
  if (blocks.length === 0 && structuredContent !== undefined) return JSON.stringify(structuredContent, null, 2);
  return blocks.join('\n');
}

function toolTable(items: readonly ToolItem[]): string {
  if (items.length === 0) return 'No tools. "sallyport connection list" shows how the connections stand.';
  return table(
    ['NAME', 'CONNECTION', 'DESCRIPTION'],
    items.map(({ name, connection, title, description }) => [
      name,
      connection,
      shorten(withoutControls(description ?? title ?? ''), 100),
    ]),
  );
}

function toolText({ name, connection, upstreamName, digest, description, inputSchema }: ToolItem): string {
  return [
    `${name}  (${upstreamName} of ${connection}, definition ${digest.slice(0, 12)})`,
    ...(description ? ['', readable(description)] : []),
    ...(inputSchema ? ['', 'Arguments:', JSON.stringify(inputSchema, null, 2)] : []),
  ].join('\n');
}
