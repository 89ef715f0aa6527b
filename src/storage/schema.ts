import type { ColumnType, Generated } from 'kysely';
import type {
  ConnectionConfig,
  NamespaceConfig,
  PersonaConfig,
  RuleConfig,
  SecretReference,
  SettingsConfig,
  SourceConfig,
} from '../config/document.ts';
import type { Era } from '../mcp/revision.ts';
import type { RevisionDocument } from '../snapshot/revision.ts';
import type { ItemKind, Transport } from '../snapshot/snapshot.ts';

/**
 * Rows as the SQL in migrations/ declares them. `bigint` reads as a number (see database.ts); JSON columns read as
 * values and are written as JSON text, because `pg` would turn an array into a Postgres array.
 */
export interface Tables {
  tenants: { id: string; created_at: Generated<Date> };
  settings: { id: Generated<boolean>; config: Json<SettingsConfig>; owner: Generated<'api' | 'file'> };
  connections: NamedRow<ConnectionConfig>;
  namespaces: NamedRow<NamespaceConfig>;
  personas: NamedRow<PersonaConfig>;
  sources: NamedRow<SourceConfig>;
  rules: NamedRow<RuleConfig>;
  rule_versions: RuleVersionsTable;
  rule_trips: { rule_id: string; version: number; reason: string; at: Generated<Date> };
  credentials: CredentialsTable;
  api_keys: ApiKeysTable;
  revisions: RevisionsTable;
  replicas: { id: string; role: string; revision: number; address: string | null; seen_at: Generated<Date> };
  catalog_status: CatalogStatusTable;
  catalog_items: {
    connection_id: string;
    kind: ItemKind;
    position: number;
    name: string;
    definition: string;
    digest: string;
  };
  session_log_levels: { session_id: string; level: string; expires_at: Date };
  session_streams: { session_id: string; relay_id: string; expires_at: Date };
  session_subscriptions: { session_id: string; connection_id: string; uri: string; expires_at: Date };
  upstream_sessions: UpstreamSessionsTable;
  session_tombstones: { session_id: string; tenant_id: string; ended_at: Generated<Date>; expires_at: Date };
  audit_events: AuditEventsTable;
}

/** A JSON column: read as the value, written as its JSON text. */
export type Json<T> = ColumnType<T, string, string>;

/** Who may change a row: the admin API, a configuration file, or the demo (which the API may change too). */
export type Owner = 'api' | 'file' | 'demo';

/** What connections, namespaces, personas, sources and rules have in common. */
export interface NamedRow<Config> {
  id: string;
  tenant_id: string;
  name: string;
  config: Json<Config>;
  owner: Generated<Owner>;
  created_at: Generated<Date>;
  updated_at: Generated<Date>;
  version: Generated<number>;
}

interface RuleVersionsTable {
  tenant_id: string;
  rule_name: string;
  version: number;
  config: Json<RuleConfig>;
  author: string;
  reason: string;
  at: Generated<Date>;
}

interface CredentialsTable {
  id: string;
  tenant_id: string;
  /** One of these two is there. */
  connection_id: string | null;
  source_id: string | null;
  owner_subject: Generated<string>;
  ciphertext: Buffer;
  key_id: string;
  refs: ColumnType<Record<string, SecretReference>, string | undefined, string>;
  updated_at: Generated<Date>;
}

interface ApiKeysTable {
  id: string;
  tenant_id: string;
  name: string;
  hash: Buffer;
  hint: string;
  roles: string[];
  owner: Generated<'api' | 'file'>;
  origin: ColumnType<SecretReference | Record<string, never> | null, string | null, string | null>;
  expires_at: Date | null;
  revoked_at: Date | null;
  created_at: Generated<Date>;
  seq: Generated<number>;
}

interface RevisionsTable {
  id: Generated<number>;
  document: Json<RevisionDocument>;
  author: string;
  reason: string;
  created_at: Generated<Date>;
  active_at: Date | null;
}

interface CatalogStatusTable {
  connection_id: string;
  tenant_id: string;
  state: 'pending' | 'ready' | 'unavailable' | 'disabled';
  last_error: string | null;
  last_attempt_at: Date | null;
  last_success_at: Date | null;
  server_name: string | null;
  server_version: string | null;
  protocol_version: string | null;
  has_sessions: Generated<boolean>;
  era: Generated<Era>;
  era_checked_at: Date | null;
  transport: Generated<Transport>;
  legacy_version: string | null;
  ttl_ms: number | null;
  capabilities: ColumnType<Record<string, unknown>, string | undefined, string>;
  instructions: string | null;
  seq: Generated<number>;
}

interface UpstreamSessionsTable {
  tenant_id: string;
  key: Buffer;
  connection_id: string;
  sealed_id: Buffer;
  created_at: Generated<Date>;
  expires_at: Date;
}

interface AuditEventsTable {
  id: string;
  at: Date;
  tenant_id: string;
  namespace: string | null;
  request_id: string | null;
  trace_id: string | null;
  session_id: string | null;
  subject: string | null;
  auth_method: string | null;
  client_name: string | null;
  persona: string | null;
  method: string | null;
  connection: string | null;
  connection_kind: string | null;
  tool: string | null;
  upstream_tool: string | null;
  definition_digest: string | null;
  arguments: Json<unknown> | null;
  arguments_sha256: string | null;
  result: Json<unknown> | null;
  result_sha256: string | null;
  verdict: 'allowed' | 'denied' | 'limited' | 'blocked' | 'failed';
  rule: string | null;
  pattern: string | null;
  reason: string | null;
  findings: Json<unknown> | null;
  enrichment: Json<unknown> | null;
  credential_id: string | null;
  upstream_status: number | null;
  is_error: boolean | null;
  http_status: number | null;
  duration_us: number | null;
  upstream_us: number | null;
  processor_us: number | null;
  bytes_in: number | null;
  bytes_out: number | null;
}
