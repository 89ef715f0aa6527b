/** `apply`, `diff`, `validate` and `export`: configuration files. Everything that needs YAML or zod is loaded here, late. */
import { writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import type { ConfigChange } from '../config/diff.ts';
import { CommandFailed } from './failure.ts';
import { Refused } from './rest.ts';
import type { Session } from './session.ts';
import { sessionOf } from './session.ts';

interface FileOption {
  readonly file: string;
}

export function configCommands(program: Command): void {
  const withFile = (command: Command) =>
    command.requiredOption('-f, --file <file>', 'a sallyport.yaml or an mcpServers file; "-" reads standard input');

  withFile(program.command('apply').description('make the configuration what a file says; all of it, or nothing'))
    .option('--dry-run', 'show what would change, and change nothing')
    .action((options: FileOption & { dryRun?: boolean }, self: Command) => apply(sessionOf(self), options));

  withFile(program.command('diff').description('show what applying a file would change')).action(
    async ({ file }: FileOption, self: Command) => {
      const session = sessionOf(self);
      const { located, written } = await loadForServer(file);
      const answer = await located(session.rest.post<{ changes: ConfigChange[] }>('/config/diff', written));
      session.print(answer, await rendered(answer.changes));
    },
  );

  withFile(program.command('validate').description('check a file; needs no running gateway')).action(
    async ({ file }: FileOption, self: Command) => {
      const session = sessionOf(self);
      const { loadFile } = await import('./config-file.ts');
      const { problems, notes } = loadFile(file, process.env);
      for (const note of notes) session.note(`note: ${note.text}`);
      const text = problems.length === 0 ? `${file} is valid.` : '';
      session.print({ valid: problems.length === 0, problems: problems.map(({ problem }) => problem) }, text);
      if (problems.length > 0) throw new CommandFailed(session.options.json ? '' : lines(problems));
    },
  );

  program
    .command('schema')
    .description('print the JSON Schema of sallyport.yaml, for editors; needs no running gateway')
    .action(async () => {
      const { configJsonSchema } = await import('../config/json-schema.ts');
      process.stdout.write(`${JSON.stringify(configJsonSchema(), null, 2)}\n`);
    });

  program
    .command('export')
    .description('print the configuration as a file; secrets as their references, or [REDACTED]')
    .option('-o, --output <file>', 'write it to a file instead')
    .action(async ({ output }: { output?: string }, self: Command) => {
      const session = sessionOf(self);
      const format = session.options.json ? 'json' : 'yaml';
      const text = await session.rest.getText('/config/export', { format });
      const pretty = format === 'json' ? `${JSON.stringify(JSON.parse(text), null, 2)}\n` : text;
      if (output === undefined) process.stdout.write(pretty);
      else writeOut(output, pretty);
    });
}

async function apply(session: Session, { file, dryRun }: FileOption & { dryRun?: boolean }): Promise<void> {
  const { located, written } = await loadForServer(file);
  const path = `/config/apply${dryRun ? '?dryRun=true' : ''}`;
  const answer = await located(session.rest.post<{ changes: ConfigChange[] }>(path, written));
  const text = await rendered(answer.changes);
  const verdict = dryRun ? 'Nothing was changed: this was a dry run.' : 'Applied.';
  session.print(answer, answer.changes.length === 0 ? text : `${text}\n\n${verdict}`);
}

/** The file as the admin API takes it, and a way to give the API's objections their lines and columns. */
async function loadForServer(file: string) {
  const { loadFile, writtenForServer } = await import('./config-file.ts');
  const loaded = loadFile(file, process.env);
  const unresolved = loaded.notes.filter(({ blocks }) => blocks).map(({ text }) => text);
  const problems = loaded.problems.length > 0 ? lines(loaded.problems) : unresolved.join('\n');
  if (problems !== '' || loaded.document === undefined) throw new CommandFailed(problems);
  return {
    written: writtenForServer(loaded.document),
    async located<T>(answer: Promise<T>): Promise<T> {
      try {
        return await answer;
      } catch (error) {
        const errors = error instanceof Refused ? (error.problem.errors ?? []) : [];
        if (errors.length === 0) throw error;
        throw new CommandFailed(errors.map((problem) => loaded.place(problem)).join('\n'));
      }
    },
  };
}

const lines = (problems: readonly { readonly line: string }[]): string => problems.map(({ line }) => line).join('\n');

async function rendered(changes: readonly ConfigChange[]): Promise<string> {
  const { renderChanges } = await import('../config/diff.ts');
  return renderChanges(changes);
}

function writeOut(file: string, text: string): void {
  try {
    writeFileSync(file, text, { mode: 0o600 });
  } catch (error) {
    throw new CommandFailed(`Cannot write ${file}: ${(error as NodeJS.ErrnoException).code ?? 'failed'}.`);
  }
}
