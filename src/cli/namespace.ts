/** `sallyport namespace …`: the MCP endpoints and what each offers. */
import type { Command } from 'commander';
import { Option } from 'commander';
import { listed } from './arguments.ts';
import { endpointUrl } from './catalog-wait.ts';
import { UsageError } from './failure.ts';
import { sessionOf } from './session.ts';
import { members, table } from './table.ts';

interface NamespaceItem {
  readonly name: string;
  readonly connections: readonly string[];
  readonly prefix: string;
  readonly owner: string;
}

interface NamespaceOptions {
  readonly connection?: readonly string[];
  readonly prefix?: string;
  readonly description?: string;
}

export function namespaceCommands(program: Command): void {
  const command = program.command('namespace').description('MCP endpoints and which connections each offers');

  withFields(command.command('add <name>').description('add an endpoint /NAME/mcp')).action(
    async (name: string, options: NamespaceOptions, self: Command) => {
      const session = sessionOf(self);
      const body = { name, ...fieldsOf(options), connections: options.connection ?? ['*'] };
      const item = await session.rest.post<NamespaceItem>('/namespaces', body);
      session.print(item, `Added namespace ${name}: ${endpointUrl(session, name)}`);
    },
  );

  withFields(command.command('set <name>').description('change an endpoint')).action(
    async (name: string, options: NamespaceOptions, self: Command) => {
      const session = sessionOf(self);
      const patch = fieldsOf(options);
      if (Object.keys(patch).length === 0) throw new UsageError('Say what to change: see --help.');
      const item = await session.rest.patch<NamespaceItem>(pathOf(name), patch);
      session.print(item, `Changed namespace ${name}.`);
    },
  );

  command
    .command('list')
    .description('list endpoints')
    .action(async (_options: unknown, self: Command) => {
      const session = sessionOf(self);
      const items = await session.rest.all<NamespaceItem>('/namespaces');
      session.print({ items }, () =>
        table(
          ['NAME', 'ENDPOINT', 'PREFIX', 'OWNER', 'CONNECTIONS'],
          items.map((item) => [item.name, endpointUrl(session, item.name), item.prefix, item.owner, item.connections]),
        ),
      );
    });

  command
    .command('get <name>')
    .description('show one endpoint')
    .action(async (name: string, _options: unknown, self: Command) => {
      const session = sessionOf(self);
      const item = await session.rest.get<NamespaceItem>(pathOf(name));
      session.print(item, () => members(item));
    });

  command
    .command('remove <name>')
    .alias('rm')
    .description('remove an endpoint')
    .action(async (name: string, _options: unknown, self: Command) => {
      const session = sessionOf(self);
      await session.rest.delete(pathOf(name));
      session.print({ removed: name }, `Removed namespace ${name}.`);
    });
}

const pathOf = (name: string): string => `/namespaces/${encodeURIComponent(name)}`;

function withFields(command: Command): Command {
  return command
    .option('--connection <names>', 'connections it offers, by name or pattern (repeatable, or with commas)', listed)
    .addOption(
      new Option('--prefix <when>', 'when a tool is called connection__tool').choices(['always', 'collision', 'never']),
    )
    .option('--description <text>', 'what it is for');
}

function fieldsOf({ connection, prefix, description }: NamespaceOptions): Record<string, unknown> {
  return {
    ...(connection && { connections: connection }),
    ...(prefix && { prefix }),
    ...(description !== undefined && { description }),
  };
}
