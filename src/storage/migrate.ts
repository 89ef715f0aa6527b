import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Migration, Migrator, sql } from 'kysely';
import { packageRoot } from '../package-root.ts';
import { type Database, DatabaseError } from './database.ts';

const MIGRATION_TABLE = 'schema_migrations';

/**
 * Brings the schema to what this version needs. Safe to run from several processes at once (Kysely holds an advisory
 * lock); all pending migrations run in one transaction, so a failing one leaves the schema as it was.
 */
export async function migrate(database: Database): Promise<void> {
  const migrations = await readMigrations();
  await refuseNewerSchema(database, migrations);
  const migrator = new Migrator({
    db: database.kysely,
    provider: { getMigrations: async () => migrations },
    migrationTableName: MIGRATION_TABLE,
    migrationLockTableName: `${MIGRATION_TABLE}_lock`,
  });
  const { error, results } = await migrator.migrateToLatest();
  if (error === undefined) return;
  const failed = results?.find((result) => result.status === 'Error')?.migrationName;
  const reason = error instanceof Error ? error.message : String(error);
  throw new DatabaseError(
    `Migration${failed === undefined ? '' : ` ${failed}`} failed and nothing of it was kept: ${reason}`,
    { cause: error },
  );
}

/** Names of the migrations that this version knows and of those the database has, for `doctor`. */
export async function schemaState(database: Database): Promise<{ known: string[]; applied: string[] }> {
  const known = Object.keys(await readMigrations());
  return { known, applied: await appliedMigrations(database) };
}

async function refuseNewerSchema(database: Database, known: Record<string, Migration>): Promise<void> {
  const unknown = (await appliedMigrations(database)).filter((name) => !(name in known));
  if (unknown.length === 0) return;
  throw new DatabaseError(
    `The database has schema ${unknown.at(-1)}, which this version of Sallyport does not know (it knows up to ${Object.keys(known).at(-1)}). ` +
      'Start the version that wrote it, or point DATABASE_URL at another database.',
  );
}

async function appliedMigrations(database: Database): Promise<string[]> {
  const exists = await database.pool.query<{ found: boolean }>(`select to_regclass($1) is not null as found`, [
    MIGRATION_TABLE,
  ]);
  if (exists.rows[0]?.found !== true) return [];
  const { rows } = await database.pool.query<{ name: string }>(`select name from ${MIGRATION_TABLE} order by name`);
  return rows.map((row) => row.name);
}

async function readMigrations(): Promise<Record<string, Migration>> {
  const directory = join(packageRoot, 'src', 'storage', 'migrations');
  const files = (await readdir(directory)).filter((file) => file.endsWith('.sql')).sort();
  const entries = files.map(async (file): Promise<[string, Migration]> => {
    const text = await readFile(join(directory, file), 'utf8');
    return [file.slice(0, -'.sql'.length), { up: async (db) => void (await sql.raw(text).execute(db)) }];
  });
  return Object.fromEntries(await Promise.all(entries));
}
