/** `sallyport persona …`: who may see and do what, and why. */
import type { Command } from 'commander';
import { listed, wholeNumber } from './arguments.ts';
import { CommandFailed, UsageError } from './failure.ts';
import type { Session } from './session.ts';
import { sessionOf } from './session.ts';
import { members, table } from './table.ts';

interface AllowDeny {
  readonly allow: readonly string[];
  readonly deny: readonly string[];
}

interface PersonaItem {
  readonly name: string;
  readonly roles: readonly string[];
  readonly subjects: readonly string[];
  readonly priority: number;
  readonly tools: AllowDeny;
  readonly connections: AllowDeny;
  readonly owner: string;
}

interface PersonaOptions {
  readonly role?: readonly string[];
  readonly subject?: readonly string[];
  readonly priority?: number;
  readonly allow?: readonly string[];
  readonly deny?: readonly string[];
  readonly allowConnection?: readonly string[];
  readonly denyConnection?: readonly string[];
  readonly description?: string;
}

export function personaCommands(program: Command): void {
  const command = program.command('persona').description('who may see and call which tools');

  withFields(command.command('add <name>').description('add a persona')).action(
    async (name: string, options: PersonaOptions, self: Command) => {
      const session = sessionOf(self);
      const item = await session.rest.post<PersonaItem>('/personas', { name, ...fieldsOf(options) });
      session.print(item, `Added persona ${name}.`);
    },
  );

  withFields(command.command('set <name>').description('change a persona; a list replaces the one before')).action(
    async (name: string, options: PersonaOptions, self: Command) => {
      const session = sessionOf(self);
      const patch = fieldsOf(options);
      if (Object.keys(patch).length === 0) throw new UsageError('Say what to change: see --help.');
      const item = await session.rest.patch<PersonaItem>(pathOf(name), patch);
      session.print(item, `Changed persona ${name}.`);
    },
  );

  command
    .command('list')
    .description('list personas')
    .action(async (_options: unknown, self: Command) => {
      const session = sessionOf(self);
      const items = await session.rest.all<PersonaItem>('/personas');
      session.print({ items }, () => personaTable(items));
    });

  command
    .command('get <name>')
    .description('show one persona')
    .action(async (name: string, _options: unknown, self: Command) => {
      const session = sessionOf(self);
      const item = await session.rest.get<PersonaItem>(pathOf(name));
      session.print(item, () => members(item));
    });

  command
    .command('remove <name>')
    .alias('rm')
    .description('remove a persona')
    .action(async (name: string, _options: unknown, self: Command) => {
      const session = sessionOf(self);
      await session.rest.delete(pathOf(name));
      session.print({ removed: name }, `Removed persona ${name}.`);
    });

  command
    .command('explain <principal> <tool>')
    .description("whether a principal (a key's name, or role:NAME) may call a tool, and which rule decides")
    .option('--namespace <name>', 'as seen in this namespace', 'default')
    .action((principal: string, tool: string, options: { namespace: string }, self: Command) =>
      explain(sessionOf(self), principal, tool, options.namespace),
    );
}

const pathOf = (name: string): string => `/personas/${encodeURIComponent(name)}`;

/** `role:NAME` stands for somebody with that role alone; anything else is a key's name. */
export function principalOf(text: string): { readonly principal: string; readonly roles?: readonly string[] } {
  const role = /^role:(.+)$/.exec(text)?.[1];
  return role === undefined ? { principal: text } : { principal: text, roles: listed(role) };
}

interface Explanation {
  readonly allowed: boolean;
  readonly persona: string | null;
  readonly rule: string | null;
  readonly pattern: string | null;
  readonly reason: string;
}

async function explain(session: Session, principal: string, tool: string, namespace: string): Promise<void> {
  const question = { ...principalOf(principal), tool, namespace };
  const answer = await session.rest.post<Explanation>('/personas/explain', question);
  session.print(answer, () =>
    [
      `${answer.allowed ? 'allowed' : 'denied'}: ${answer.reason}`,
      members({ persona: answer.persona, rule: answer.rule, pattern: answer.pattern }).replaceAll(/^/gm, '  '),
    ].join('\n'),
  );
}

function withFields(command: Command): Command {
  return command
    .option('--role <names>', 'callers with one of these roles get it (repeatable, or with commas)', listed)
    .option('--subject <names>', 'callers by subject; of a key, its name', listed)
    .option('--priority <number>', 'the highest priority wins', wholeNumber(-1_000_000, 1_000_000))
    .option('--allow <patterns>', 'tools that it may call, such as "crm__get_*"', listed)
    .option('--deny <patterns>', 'tools that it may not, whatever is allowed', listed)
    .option('--allow-connection <patterns>', 'connections that it may use (default: all)', listed)
    .option('--deny-connection <patterns>', 'connections that it may not', listed)
    .option('--description <text>', 'what it is for');
}

function fieldsOf(options: PersonaOptions): Record<string, unknown> {
  const { role, subject, priority, allow, deny, allowConnection, denyConnection, description } = options;
  const tools = { ...(allow && { allow }), ...(deny && { deny }) };
  const connections = {
    ...(allowConnection && { allow: allowConnection }),
    ...(denyConnection && { deny: denyConnection }),
  };
  return {
    ...(role && { roles: role }),
    ...(subject && { subjects: subject }),
    ...(priority !== undefined && { priority }),
    ...(Object.keys(tools).length > 0 && { tools }),
    ...(Object.keys(connections).length > 0 && { connections }),
    ...(description !== undefined && { description }),
  };
}

function personaTable(items: readonly PersonaItem[]): string {
  if (items.length === 0) return 'No personas: the role "admin" may do everything, and nobody else anything.';
  return table(
    ['NAME', 'PRIORITY', 'ROLES', 'SUBJECTS', 'OWNER', 'ALLOW', 'DENY'],
    items.map((item) => [
      item.name,
      item.priority,
      item.roles,
      item.subjects,
      item.owner,
      item.tools.allow,
      item.tools.deny,
    ]),
  );
}

/** For commands that act as somebody. */
export function actingAs(text: string | undefined): ReturnType<typeof principalOf> | undefined {
  if (text === '') throw new CommandFailed('--as needs a name.');
  return text === undefined ? undefined : principalOf(text);
}
