/** `sallyport key …`: what clients authenticate with. */
import type { Command } from 'commander';
import { listed } from './arguments.ts';
import { sessionOf } from './session.ts';
import { table } from './table.ts';

interface KeyItem {
  readonly name: string;
  readonly hint: string;
  readonly roles: readonly string[];
  readonly owner: string;
  readonly createdAt: string;
  readonly expiresAt?: string;
  readonly revokedAt?: string;
}

export function keyCommands(program: Command): void {
  const command = program.command('key').description('keys that clients authenticate with');

  command
    .command('create <name>')
    .description('make a key; it is shown once')
    .requiredOption('--role <names>', 'roles it has (repeatable, or with commas)', listed)
    .option('--expires <date>', 'until this moment, or the beginning of this day (UTC), such as 2027-01-31')
    .action(async (name: string, options: { role: string[]; expires?: string }, self: Command) => {
      const session = sessionOf(self);
      const body = { name, roles: options.role, ...(options.expires && { expires: options.expires }) };
      const made = await session.rest.post<KeyItem & { key: string }>('/keys', body);
      session.note(`Made key ${name} with the roles ${made.roles.join(', ')}. It is shown only now:`);
      session.print(made, made.key);
    });

  command
    .command('list')
    .description('list keys, the newest first')
    .option('--revoked', 'revoked ones too')
    .action(async (options: { revoked?: boolean }, self: Command) => {
      const session = sessionOf(self);
      const items = await session.rest.all<KeyItem>('/keys', { revoked: options.revoked ? 'true' : undefined });
      session.print({ items }, () =>
        items.length === 0 ? 'No keys. Make one: sallyport key create NAME --role ROLE' : keyTable(items),
      );
    });

  command
    .command('revoke <name>')
    .description('end a key at once')
    .action(async (name: string, _options: unknown, self: Command) => {
      const session = sessionOf(self);
      await session.rest.delete(`/keys/${encodeURIComponent(name)}`);
      session.print({ revoked: name }, `Revoked key ${name}.`);
    });
}

function keyTable(items: readonly KeyItem[]): string {
  return table(
    ['NAME', 'KEY', 'ROLES', 'OWNER', 'CREATED', 'EXPIRES', 'REVOKED'],
    items.map(({ name, hint, roles, owner, createdAt, expiresAt, revokedAt }) => [
      name,
      hint,
      roles,
      owner,
      createdAt.slice(0, 16),
      expiresAt?.slice(0, 16),
      revokedAt?.slice(0, 16),
    ]),
  );
}
