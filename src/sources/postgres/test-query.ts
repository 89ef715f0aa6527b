/** What `sources test` asks of a database, and what an operator should know of the answer. */
import { isObject, type Json } from '../../mcp/exact-json.ts';
import type { SourceTest } from '../source.ts';
import { compilePostgres, type PostgresRequest } from './template.ts';

const QUERY = `
  select current_setting('server_version') as version, current_user::text as role,
    (select rolsuper from pg_roles where rolname = current_user) as is_superuser,
    exists (
      select from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p', 'v', 'f') and n.nspname <> 'information_schema' and n.nspname not like 'pg\\_%'
        and has_table_privilege(c.oid, 'insert, update, delete, truncate')
    ) as may_write`;

export const testQuery = compiled();

function compiled(): PostgresRequest {
  const result = compilePostgres(QUERY);
  if ('faults' in result) throw new Error(result.faults.map(({ message }) => message).join('; '));
  return result.template.render(new Map()) as PostgresRequest;
}

export function toldBy(row: Json | undefined, isPrivate: boolean): Omit<SourceTest, 'durationMs'> {
  if (!isObject(row)) return { ok: false, error: 'it does not answer as Postgres does' };
  const notes: string[] = [];
  if (row.is_superuser === true) {
    notes.push(`the role ${row.role} is a superuser: use one that may only read what rules need`);
  } else if (row.may_write === true) {
    notes.push(`the role ${row.role} may write to tables: rules cannot, but use one that may only read`);
  }
  if (!isPrivate) notes.push('the connection is not encrypted: add sslmode=verify-full to the URL, or tls');
  return { ok: true, server: `PostgreSQL ${row.version}`, ...(notes.length > 0 && { notes }) };
}
