/** `sallyport rule …`: what is added to the results of tools. */
import type { Command } from 'commander';
import { jsonObject, wholeNumber } from './arguments.ts';
import type { Session } from './session.ts';
import { sessionOf } from './session.ts';
import { members, shorten, table, withoutControls } from './table.ts';

interface RuleItem {
  readonly name: string;
  readonly connection: string;
  readonly tool: string;
  readonly source: { readonly use?: string; readonly tool?: string };
  readonly priority: number;
  readonly owner: string;
  readonly version: number;
  readonly status: {
    readonly state: 'on' | 'off' | 'disabled';
    readonly offSince?: string;
    readonly offReason?: string;
  };
}

interface Version {
  readonly version: number;
  readonly author: string;
  readonly reason: string;
  readonly at: string;
}

export function ruleCommands(program: Command): void {
  const command = program.command('rule').description("enrichment: what is added to tools' results");

  command
    .command('list')
    .description('list rules in the order in which they run')
    .action(async (_options: unknown, self: Command) => {
      const session = sessionOf(self);
      const items = await session.rest.all<RuleItem>('/rules');
      session.print({ items }, () => ruleTable(items));
    });

  command
    .command('get <name>')
    .description('show one rule')
    .action(async (name: string, _options: unknown, self: Command) => {
      const session = sessionOf(self);
      const item = await session.rest.get<RuleItem>(pathOf(name));
      session.print(item, () => members(item));
    });

  command
    .command('add')
    .description('add the rule of a file')
    .requiredOption('-f, --file <file>', 'YAML or JSON: one rule with its name; "-" reads standard input')
    .option('--replace', 'replace a rule of that name')
    .action((options: { file: string; replace?: boolean }, self: Command) => add(sessionOf(self), options));

  command
    .command('remove <name>')
    .alias('rm')
    .description('remove a rule; its history stays')
    .action(async (name: string, _options: unknown, self: Command) => {
      const session = sessionOf(self);
      await session.rest.delete(pathOf(name));
      session.print({ removed: name }, `Removed rule ${name}.`);
    });

  command
    .command('enable <name>')
    .description('let a rule run, also one that switched itself off')
    .action(async (name: string, _options: unknown, self: Command) => {
      const session = sessionOf(self);
      const item = await session.rest.post<RuleItem>(`${pathOf(name)}/enable`);
      session.print(item, `Rule ${name} is on.`);
    });

  command
    .command('disable <name>')
    .description('keep a rule without running it')
    .action(async (name: string, _options: unknown, self: Command) => {
      const session = sessionOf(self);
      const item = await session.rest.patch<RuleItem>(pathOf(name), { enabled: false });
      session.print(item, `Rule ${name} is disabled.`);
    });

  command
    .command('history <name>')
    .description('what a rule said, the newest version first; also of one that was removed')
    .action(async (name: string, _options: unknown, self: Command) => {
      const session = sessionOf(self);
      const items = await session.rest.all<Version>(`${pathOf(name)}/versions`);
      session.print({ items }, () =>
        table(
          ['VERSION', 'AT', 'AUTHOR', 'REASON'],
          items.map(({ version, at, author, reason }) => [version, at, author, reason]),
        ),
      );
    });

  command
    .command('rollback <name>')
    .description('make a rule what a version of it said; brings a removed one back')
    .argument('<version>', 'as "rule history" shows it', wholeNumber(1, Number.MAX_SAFE_INTEGER))
    .action(async (name: string, version: number, _options: unknown, self: Command) => {
      const session = sessionOf(self);
      const item = await session.rest.post<RuleItem>(`${pathOf(name)}/rollback`, { version });
      session.print(item, `Rule ${name} says again what version ${version} said; that is version ${item.version}.`);
    });

  command
    .command('dry-run [name]')
    .description('try a rule, stored (by name) or a draft (-f), on a sample or a recorded call; stores nothing')
    .option('-f, --file <file>', 'the draft: one rule with its name; "-" reads standard input')
    .option('--call <id>', 'a recorded call, by the id of its event in the audit')
    .option('--args <json>', 'the arguments of a sample', jsonObject)
    .option('--response <json or file>', 'what the tool answered in it: JSON, or a file that holds it')
    .option('--tool <name>', 'of which tool the sample is, by its name in the namespace')
    .option('--namespace <name>', 'in this namespace', 'default')
    .option('--as <principal>', "as this key's owner, or as role:NAME (default: who made the call, or the operator)")
    .option('--with-others', 'run the other rules that fit the call too')
    .action(async (name: string | undefined, options, self: Command) => {
      const { dryRun } = await import('./rule-dry-run.ts');
      await dryRun(sessionOf(self), { ...options, name });
    });
}

const pathOf = (name: string): string => `/rules/${encodeURIComponent(name)}`;

async function add(session: Session, { file, replace }: { file: string; replace?: boolean }): Promise<void> {
  const { readRuleFile } = await import('./rule-file.ts');
  const { rule, name, located } = readRuleFile(file);
  const { rest } = session;
  const item = await located(
    replace ? (rest.put(pathOf(name), rule) as Promise<RuleItem>) : rest.post<RuleItem>('/rules', rule),
  );
  session.print(item, `${replace ? 'Saved' : 'Added'} rule ${name}, version ${item.version}.`);
}

function ruleTable(items: readonly RuleItem[]): string {
  if (items.length === 0) return 'No rules. Add one: sallyport rule add -f FILE';
  return table(
    ['NAME', 'CONNECTION', 'TOOL', 'SOURCE', 'PRIORITY', 'STATE', 'VERSION', 'OWNER', 'WHY IT IS OFF'],
    items.map(({ name, connection, tool, source, priority, status, version, owner }) => [
      name,
      connection,
      tool,
      source.use ?? `tool ${source.tool}`,
      priority,
      status.state,
      version,
      owner,
      shorten(withoutControls(status.offReason ?? ''), 120),
    ]),
  );
}
