/** The feed's SQL: each query is answered by an index and returns nothing when nothing has changed. */
import type { KeyRecord } from '../identity/key-ring.ts';
import type { Era } from '../mcp/revision.ts';
import type { Database } from '../storage/database.ts';
import type { RevisionDocument } from './revision.ts';
import type { Catalog, CatalogItem, ItemKind, Transport } from './snapshot.ts';

/** Rows are asked for again this far back, so that one committed late is not missed. Milliseconds. */
const OVERLAP_MS = 10_000;

/** The newest active revision, if it is newer than `known`. */
export async function activeRevision(
  { pool }: Database,
  known: number,
): Promise<{ id: number; document: RevisionDocument } | undefined> {
  const { rows } = await pool.query<{ id: number; document: RevisionDocument }>(
    'select id, document from revisions where active_at is not null and id > $1 order by id desc limit 1',
    [known],
  );
  return rows[0];
}

export async function keysSince(
  { pool }: Database,
  seq: number,
): Promise<{ seq: number; hash: Buffer; record: KeyRecord }[]> {
  const { rows } = await pool.query<{
    id: string;
    tenant_id: string;
    name: string;
    hash: Buffer;
    roles: string[];
    expires_at: Date | null;
    revoked_at: Date | null;
    seq: number;
  }>('select id, tenant_id, name, hash, roles, expires_at, revoked_at, seq from api_keys where seq > $1 order by seq', [
    seq,
  ]);
  return rows.map((row) => ({
    seq: row.seq,
    hash: row.hash,
    record: {
      id: row.id,
      tenant: row.tenant_id,
      name: row.name,
      roles: row.roles,
      expiresAt: row.expires_at?.getTime(),
      revoked: row.revoked_at !== null,
    },
  }));
}

export async function tombstonesSince(
  { pool }: Database,
  since: Date,
): Promise<{ ended: { id: string; expiresAt: number }[]; until: Date }> {
  const { rows } = await pool.query<{ session_id: string; expires_at: Date; ended_at: Date }>(
    'select session_id, expires_at, ended_at from session_tombstones where ended_at > $1 and expires_at > now()',
    [since],
  );
  const newest = rows.reduce((max, row) => Math.max(max, row.ended_at.getTime() - OVERLAP_MS), since.getTime());
  return {
    ended: rows.map((row) => ({ id: row.session_id, expiresAt: row.expires_at.getTime() })),
    until: new Date(newest),
  };
}

/** Catalogs that changed after `seq`, whole, and the highest seq seen. */
export async function catalogsSince(
  { pool }: Database,
  seq: number,
): Promise<{ changed: { connectionId: string; catalog: Catalog }[]; seq: number }> {
  const { rows } = await pool.query<StatusRow>(
    `select connection_id, state, last_error, era, transport, legacy_version, has_sessions, protocol_version, capabilities, instructions, ttl_ms, seq
     from catalog_status where seq > $1`,
    [seq],
  );
  if (rows.length === 0) return { changed: [], seq };
  const items = await pool.query<ItemRow>(
    `select connection_id, kind, name, definition, digest
     from catalog_items where connection_id = any($1) order by connection_id, kind, position`,
    [rows.map((row) => row.connection_id)],
  );
  const lists = new Map<string, CatalogItem[]>();
  for (const { connection_id: id, kind, name, definition, digest } of items.rows) {
    const list = lists.get(`${id} ${kind}`);
    if (list === undefined) lists.set(`${id} ${kind}`, [{ name, definition, digest }]);
    else list.push({ name, definition, digest });
  }
  const changed = rows.map((row) => {
    const list = (kind: ItemKind): readonly CatalogItem[] => lists.get(`${row.connection_id} ${kind}`) ?? [];
    return {
      connectionId: row.connection_id,
      catalog: {
        state: row.state,
        lastError: row.last_error ?? undefined,
        era: row.era,
        transport: row.transport,
        legacyVersion: row.legacy_version ?? undefined,
        hasSessions: row.has_sessions,
        protocolVersion: row.protocol_version ?? undefined,
        capabilities: row.capabilities,
        instructions: row.instructions ?? undefined,
        ttlMs: row.ttl_ms ?? undefined,
        tools: list('tools'),
        prompts: list('prompts'),
        resources: list('resources'),
        templates: list('templates'),
      },
    };
  });
  return { changed, seq: rows.reduce((max, row) => Math.max(max, row.seq), seq) };
}

interface StatusRow {
  readonly connection_id: string;
  readonly state: Catalog['state'];
  readonly last_error: string | null;
  readonly era: Era;
  readonly transport: Transport;
  readonly legacy_version: string | null;
  readonly has_sessions: boolean;
  readonly protocol_version: string | null;
  readonly capabilities: Record<string, unknown>;
  readonly instructions: string | null;
  readonly ttl_ms: number | null;
  readonly seq: number;
}

interface ItemRow extends CatalogItem {
  readonly connection_id: string;
  readonly kind: ItemKind;
}

export async function announceReplica(
  { pool }: Database,
  replica: { id: string; role: string; address?: string },
  revision: number,
): Promise<void> {
  await pool.query(
    `insert into replicas (id, role, revision, address, seen_at) values ($1, $2, $3, $4, now())
     on conflict (id) do update set role = excluded.role, revision = excluded.revision, seen_at = now()`,
    [replica.id, replica.role, revision, replica.address ?? null],
  );
}

export async function forgetReplica({ pool }: Database, replica: { id: string }): Promise<void> {
  await pool.query('delete from replicas where id = $1', [replica.id]);
}
