/** The catalog's only SQL: what upstreams offered when last asked. */
import { createHash } from 'node:crypto';
import type { ListedTool } from '../egress/upstream-client.ts';
import type { Database } from '../storage/database.ts';

export interface CatalogResult {
  readonly serverName: string | undefined;
  readonly serverVersion: string | undefined;
  readonly protocolVersion: string;
  readonly hasSessions: boolean;
  readonly capabilities: Readonly<Record<string, unknown>>;
  readonly instructions: string | undefined;
  readonly tools: readonly ListedTool[];
}

interface Owner {
  readonly id: string;
  readonly tenant: string;
}

/**
 * Stores what was found; processors are told only if it differs from what was known. Nothing is stored of a connection
 * that was removed meanwhile. Its row is locked first, as removing it does: in another order the two would deadlock.
 */
export async function storeCatalog({ pool }: Database, connection: Owner, found: CatalogResult): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query('begin');
    const there = await client.query('select 1 from connections where id = $1 for key share', [connection.id]);
    if (there.rowCount === 0) {
      await client.query('rollback');
      return;
    }
    const known = await client.query<{ name: string; digest: string }>(
      "select name, digest from catalog_items where connection_id = $1 and kind = 'tools' order by position",
      [connection.id],
    );
    const tools = uniqueByName(found.tools).map((tool) => ({ ...tool, digest: digestOf(tool.definition) }));
    const same =
      known.rows.length === tools.length &&
      known.rows.every((row, i) => row.name === tools[i]?.name && row.digest === tools[i]?.digest);
    if (!same) {
      await client.query("delete from catalog_items where connection_id = $1 and kind = 'tools'", [connection.id]);
      await client.query(
        `insert into catalog_items (kind, connection_id, position, name, definition, digest)
         select 'tools', $1, (ordinality - 1)::int, name, definition, digest
         from unnest($2::text[], $3::text[], $4::text[]) with ordinality as t(name, definition, digest, ordinality)`,
        [connection.id, tools.map((t) => t.name), tools.map((t) => t.definition), tools.map((t) => t.digest)],
      );
    }
    const changed = await client.query<{ changed: boolean }>(
      `insert into catalog_status as s (connection_id, tenant_id, state, last_attempt_at, last_success_at, server_name, server_version,
                                        protocol_version, has_sessions, capabilities, instructions)
       values ($1, $2, 'ready', now(), now(), $3, $4, $5, $6, $7, $8)
       on conflict (connection_id) do update set
         state = 'ready', last_error = null, last_attempt_at = now(), last_success_at = now(),
         server_name = excluded.server_name, server_version = excluded.server_version,
         protocol_version = excluded.protocol_version, has_sessions = excluded.has_sessions,
         capabilities = excluded.capabilities, instructions = excluded.instructions,
         seq = case when $9 and s.state = 'ready' and s.protocol_version is not distinct from excluded.protocol_version
                         and s.has_sessions = excluded.has_sessions
                    then s.seq else excluded.seq end
       returning seq = currval('catalog_seq') as changed`,
      [
        connection.id,
        connection.tenant,
        found.serverName ?? null,
        found.serverVersion ?? null,
        found.protocolVersion,
        found.hasSessions,
        JSON.stringify(found.capabilities),
        found.instructions ?? null,
        same,
      ],
    );
    if (changed.rows[0]?.changed === true)
      await client.query("select pg_notify('sallyport_catalog', $1)", [connection.id]);
    await client.query('commit');
  } catch (error) {
    await client.query('rollback').catch(() => {});
    throw error;
  } finally {
    client.release();
  }
}

/** Notes a failure; the tools that were known stay listed, so that an agent's view does not flap. Nothing for a removed connection. */
export async function storeFailure({ pool }: Database, connection: Owner, message: string): Promise<void> {
  const { rows } = await pool.query<{ changed: boolean }>(
    `insert into catalog_status as s (connection_id, tenant_id, state, last_error, last_attempt_at)
     select id, $2, 'unavailable', $3, now() from connections where id = $1 for key share
     on conflict (connection_id) do update set
       state = 'unavailable', last_error = excluded.last_error, last_attempt_at = now(),
       seq = case when s.state = 'unavailable' then s.seq else excluded.seq end
     returning seq = currval('catalog_seq') as changed`,
    [connection.id, connection.tenant, message.slice(0, 1000)],
  );
  if (rows[0]?.changed === true) await pool.query("select pg_notify('sallyport_catalog', $1)", [connection.id]);
}

const digestOf = (definition: string): string => createHash('sha256').update(definition).digest('hex');

/** An upstream that lists a name twice gets its first (names are unique per server, MCP tools). */
function uniqueByName(tools: readonly ListedTool[]): ListedTool[] {
  const seen = new Set<string>();
  return tools.filter(({ name, definition }) => {
    // Postgres text cannot hold U+0000, and a name with one is no name.
    if (seen.has(name) || name.includes('\0') || definition.includes('\0')) return false;
    seen.add(name);
    return true;
  });
}
