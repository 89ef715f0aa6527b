-- Everything belongs to a tenant. JSON that must keep its bytes (tool definitions) is text, never jsonb.

create table tenants (
  id text primary key,
  created_at timestamptz not null default now()
);
insert into tenants (id) values ('default');

-- One row: deployment settings as src/config/document.ts SettingsConfig.
create table settings (
  id boolean primary key default true check (id),
  config jsonb not null,
  owner text not null default 'api' check (owner in ('api', 'file'))
);

create table connections (
  id uuid primary key,
  tenant_id text not null references tenants (id) on delete cascade,
  name text not null,
  config jsonb not null,
  owner text not null default 'api' check (owner in ('api', 'file', 'demo')),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  version bigint not null default 1,
  unique (tenant_id, name)
);

-- Secrets towards upstreams. owner_subject '' = shared. ciphertext: AES-256-GCM, see src/credentials/vault.ts.
create table credentials (
  id uuid primary key,
  tenant_id text not null references tenants (id) on delete cascade,
  connection_id uuid not null references connections (id) on delete cascade,
  owner_subject text not null default '',
  ciphertext bytea not null,
  key_id text not null,
  -- JSON pointer → {"env": NAME} | {"file": PATH}: what export writes instead of the value.
  refs jsonb not null default '{}',
  updated_at timestamptz not null default now(),
  unique (connection_id, owner_subject)
);

create table namespaces (
  id uuid primary key,
  tenant_id text not null references tenants (id) on delete cascade,
  name text not null,
  config jsonb not null,
  owner text not null default 'api' check (owner in ('api', 'file', 'demo')),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  version bigint not null default 1,
  unique (tenant_id, name)
);

create table personas (
  id uuid primary key,
  tenant_id text not null references tenants (id) on delete cascade,
  name text not null,
  config jsonb not null,
  owner text not null default 'api' check (owner in ('api', 'file', 'demo')),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  version bigint not null default 1,
  unique (tenant_id, name)
);

-- Keys are read incrementally by every data-plane process: seq grows with each change (all writers hold the
-- configuration lock, so that a lower seq is never committed after a higher one was seen). Rows are not deleted.
create sequence api_key_seq;
create table api_keys (
  id uuid primary key,
  tenant_id text not null references tenants (id) on delete cascade,
  name text not null,
  -- SHA-256 of the key.
  hash bytea not null unique,
  -- First characters of the key, for people to tell keys apart.
  hint text not null,
  roles text[] not null,
  owner text not null default 'api' check (owner in ('api', 'file')),
  -- Null: the gateway made the key. Else a configuration declared it: {"env": NAME}, …, or {} where it stood there itself.
  origin jsonb,
  expires_at timestamptz,
  revoked_at timestamptz,
  created_at timestamptz not null default now(),
  seq bigint not null default nextval('api_key_seq')
);
create unique index api_keys_live_name on api_keys (tenant_id, name) where revoked_at is null;
create index api_keys_seq on api_keys (seq);

-- A revision is compiled and validated before it is stored, in the transaction that changed the rows.
-- Envoy is told first; active_at is set once Envoy has it, and only then do processors switch.
create table revisions (
  id bigint generated always as identity primary key,
  document jsonb not null,
  author text not null,
  reason text not null,
  created_at timestamptz not null default now(),
  active_at timestamptz
);

-- Which revision each data-plane process serves; a row older than 10 s is dead.
create table replicas (
  id text primary key,
  role text not null,
  revision bigint not null,
  seen_at timestamptz not null default now()
);

-- What each upstream offers, as last discovered. seq grows with each change of a connection's catalog.
create sequence catalog_seq;
create table catalog_status (
  connection_id uuid primary key references connections (id) on delete cascade,
  tenant_id text not null references tenants (id) on delete cascade,
  state text not null check (state in ('pending', 'ready', 'unavailable', 'disabled')),
  last_error text,
  last_attempt_at timestamptz,
  last_success_at timestamptz,
  server_name text,
  server_version text,
  protocol_version text,
  -- The upstream mints session ids.
  has_sessions boolean not null default false,
  capabilities jsonb not null default '{}',
  instructions text,
  seq bigint not null default nextval('catalog_seq')
);
create table catalog_tools (
  connection_id uuid not null references connections (id) on delete cascade,
  position integer not null,
  name text not null,
  -- The definition's bytes as the upstream sent them.
  definition text not null,
  -- SHA-256 of the definition, hex.
  digest text not null,
  primary key (connection_id, name)
);

-- Sessions with upstreams that mint ids, one per (downstream session, connection, credential); id sealed.
create table upstream_sessions (
  tenant_id text not null,
  -- SHA-256 over downstream session, connection and credential.
  key bytea primary key,
  -- The downstream session it serves; null when shared (session: pooled).
  session_id uuid,
  connection_id uuid not null references connections (id) on delete cascade,
  sealed_id bytea not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null
);
create index upstream_sessions_session on upstream_sessions (session_id);
create index upstream_sessions_expiry on upstream_sessions (expires_at);

-- Downstream sessions that were ended before their expiry.
create table session_tombstones (
  session_id uuid primary key,
  tenant_id text not null,
  ended_at timestamptz not null default now(),
  expires_at timestamptz not null
);

create table audit_events (
  id uuid not null,
  at timestamptz not null,
  tenant_id text not null,
  namespace text,
  request_id text,
  trace_id text,
  session_id text,
  subject text,
  auth_method text,
  client_name text,
  persona text,
  method text,
  connection text,
  connection_kind text,
  tool text,
  upstream_tool text,
  definition_digest text,
  arguments jsonb,
  arguments_sha256 text,
  -- The upstream's result or error, as audit.record.results says; only of answers that were seen whole.
  result jsonb,
  result_sha256 text,
  verdict text not null check (verdict in ('allowed', 'denied', 'limited', 'blocked', 'failed')),
  rule text,
  pattern text,
  reason text,
  findings jsonb,
  enrichment jsonb,
  credential_id uuid,
  upstream_status integer,
  is_error boolean,
  http_status integer,
  duration_us integer,
  upstream_us integer,
  processor_us integer,
  bytes_in integer,
  bytes_out integer,
  primary key (at, id)
) partition by range (at);
create index audit_events_newest on audit_events (tenant_id, at desc, id desc);
create table audit_events_default partition of audit_events default;
