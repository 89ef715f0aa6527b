/** The catalog's only SQL: what upstreams offered when last asked. */
import { createHash } from 'node:crypto';
import type { PoolClient } from 'pg';
import type { ListedItem } from '../egress/lists.ts';
import type { Era } from '../mcp/revision.ts';
import type { CatalogItem, ItemKind, Transport } from '../snapshot/snapshot.ts';
import type { Database } from '../storage/database.ts';
import { type CatalogResult, KINDS } from './read.ts';

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
    const same = await storeLists(client, connection.id, found);
    const changed = await client.query<{ changed: boolean }>(
      `insert into catalog_status as s (connection_id, tenant_id, state, last_error, last_attempt_at, last_success_at, server_name,
                                        server_version, protocol_version, has_sessions, capabilities, instructions, era,
                                        era_checked_at, ttl_ms, legacy_version, transport)
       values ($1, $2, 'ready', $9, now(), now(), $3, $4, $5, $6, $7, $8, $10, $11, $12, $14, $15)
       on conflict (connection_id) do update set
         state = 'ready', last_error = excluded.last_error, last_attempt_at = now(), last_success_at = now(),
         server_name = excluded.server_name, server_version = excluded.server_version,
         protocol_version = excluded.protocol_version, has_sessions = excluded.has_sessions,
         capabilities = excluded.capabilities, instructions = excluded.instructions, era = excluded.era,
         era_checked_at = coalesce(excluded.era_checked_at, s.era_checked_at), ttl_ms = excluded.ttl_ms,
         legacy_version = excluded.legacy_version, transport = excluded.transport,
         seq = case when $13 and (s.state, s.last_error, s.protocol_version, s.has_sessions, s.capabilities, s.instructions, s.era, s.ttl_ms, s.legacy_version, s.transport)
                         is not distinct from
                         (excluded.state, excluded.last_error, excluded.protocol_version, excluded.has_sessions, excluded.capabilities,
                          excluded.instructions, excluded.era, excluded.ttl_ms, excluded.legacy_version, excluded.transport)
                    then s.seq else excluded.seq end
       returning seq = currval('catalog_seq') as changed`,
      [
        connection.id,
        connection.tenant,
        found.serverName ?? null,
        found.serverVersion ?? null,
        found.protocolVersion,
        found.era === 'legacy' ? found.sessionId !== undefined : found.legacy?.hasSessions === true,
        JSON.stringify(found.capabilities),
        found.instructions ?? null,
        found.fault?.replaceAll('\0', '').slice(0, 1000) ?? null,
        found.era,
        found.eraCheckedAt === undefined ? null : new Date(found.eraCheckedAt),
        found.ttlMs ?? null,
        same,
        (found.era === 'legacy' ? found.protocolVersion : found.legacy?.protocolVersion) ?? null,
        found.transport,
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

/** Writes the lists that differ from what is known; a list that could not be read stays as it was. Returns whether none differed. */
async function storeLists(client: PoolClient, connectionId: string, { lists }: CatalogResult): Promise<boolean> {
  const known = await client.query<{ kind: ItemKind; name: string; digest: string }>(
    'select kind, name, digest from catalog_items where connection_id = $1 order by kind, position',
    [connectionId],
  );
  let same = true;
  for (const kind of KINDS) {
    const list = lists[kind];
    if (list === undefined) continue;
    const items: CatalogItem[] = unique(list).map((item) => ({ ...item, digest: digestOf(item.definition) }));
    const before = known.rows.filter((row) => row.kind === kind);
    const isSame =
      before.length === items.length &&
      before.every((row, i) => row.name === items[i]?.name && row.digest === items[i]?.digest);
    if (isSame) continue;
    same = false;
    await client.query('delete from catalog_items where connection_id = $1 and kind = $2', [connectionId, kind]);
    await client.query(
      `insert into catalog_items (kind, connection_id, position, name, definition, digest)
       select $2, $1, (ordinality - 1)::int, name, definition, digest
       from unnest($3::text[], $4::text[], $5::text[]) with ordinality as t(name, definition, digest, ordinality)`,
      [connectionId, kind, items.map((i) => i.name), items.map((i) => i.definition), items.map((i) => i.digest)],
    );
  }
  return same;
}

/** Notes a failure; what was known stays listed, so that an agent's view does not flap. Nothing for a removed connection. */
export async function storeFailure(
  { pool }: Database,
  connection: Owner,
  message: string,
  { era, transport }: { readonly era: Era; readonly transport: Transport },
): Promise<void> {
  const { rows } = await pool.query<{ changed: boolean }>(
    `insert into catalog_status as s (connection_id, tenant_id, state, last_error, last_attempt_at, era, transport)
     select id, $2, 'unavailable', $3, now(), $4, $5 from connections where id = $1 for key share
     on conflict (connection_id) do update set
       state = 'unavailable', last_error = excluded.last_error, last_attempt_at = now(), era = excluded.era,
       transport = excluded.transport,
       seq = case when s.state = 'unavailable' and s.era = excluded.era and s.transport = excluded.transport then s.seq else excluded.seq end
     returning seq = currval('catalog_seq') as changed`,
    [connection.id, connection.tenant, message.replaceAll('\0', '').slice(0, 1000), era, transport],
  );
  if (rows[0]?.changed === true) await pool.query("select pg_notify('sallyport_catalog', $1)", [connection.id]);
}

const digestOf = (definition: string): string => createHash('sha256').update(definition).digest('hex');

/** An upstream that lists a name twice gets its first (names and URIs are unique per server, MCP). */
function unique(items: readonly ListedItem[]): ListedItem[] {
  const seen = new Set<string>();
  return items.filter(({ name, definition }) => {
    // Postgres text cannot hold U+0000 nor half a character, and a name with one is no name.
    if (seen.has(name) || name.includes('\0') || definition.includes('\0') || !isWellFormed(name)) return false;
    seen.add(name);
    return true;
  });
}

const isWellFormed = (text: string): boolean => Buffer.from(text).toString('utf8') === text;
