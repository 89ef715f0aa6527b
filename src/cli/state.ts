/** `sallyport doctor`, `xds dump` and `version`: how the gateway is. */
import type { Command } from 'commander';
import { packageVersion } from '../package-root.ts';
import { CommandFailed } from './failure.ts';
import { Refused } from './rest.ts';
import type { Session } from './session.ts';
import { sessionOf } from './session.ts';

/** One line of the checklist, as `GET /api/v1/doctor` says it. */
interface Check {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
  readonly remedy?: string;
}

export function stateCommands(program: Command): void {
  program
    .command('doctor')
    .description('check everything and say what to do about what is wrong')
    .action((_options: unknown, self: Command) => doctor(sessionOf(self)));

  program
    .command('xds')
    .description("Envoy's configuration")
    .command('dump')
    .description('what Envoy was sent, what it accepted and what it refused')
    .action(async (_options: unknown, self: Command) => {
      const session = sessionOf(self);
      const dump = await session.rest.get<object>('/xds');
      session.print(dump, () => JSON.stringify(dump, null, 2));
    });

  program
    .command('version')
    .description('print the version')
    .action((_options: unknown, self: Command) => {
      const session = sessionOf(self);
      session.print({ version: packageVersion, node: process.versions.node }, `sallyport ${packageVersion}`);
    });
}

async function doctor(session: Session): Promise<void> {
  const checks = await session.rest.get<{ checks: Check[] }>('/doctor').then(
    (answer) => answer.checks,
    (error: unknown): Check[] => {
      if (!(error instanceof CommandFailed)) throw error;
      const name = error instanceof Refused ? 'admin API accepts the token' : 'admin API answers';
      return [{ name, ok: false, detail: error.message }];
    },
  );
  const ok = checks.every((check) => check.ok);
  session.print({ ok, checks }, () => checks.map(checkText).join('\n'));
  if (!ok) throw new CommandFailed('');
}

function checkText({ name, ok, detail, remedy }: Check): string {
  const lines = [`${ok ? 'ok  ' : 'FAIL'}  ${name}${detail ? `: ${detail}` : ''}`];
  if (!ok && remedy) lines.push(`      → ${remedy}`);
  return lines.join('\n');
}
