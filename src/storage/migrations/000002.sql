-- Upstreams of both eras, and all four of their lists.

alter table catalog_status
  -- Which family of revisions the upstream speaks (MCP "Versioning"), and when that was last found out.
  add column era text not null default 'legacy' check (era in ('legacy', 'modern')),
  add column era_checked_at timestamptz,
  -- sse: HTTP+SSE (MCP 2024-11-05), for which the relay stands in.
  add column transport text not null default 'http' check (transport in ('http', 'sse')),
  -- What it answers to initialize; null: it has no such thing. A server of both eras is called by each client in its own.
  add column legacy_version text,
  -- How long its lists may be kept, where it says so. Milliseconds.
  add column ttl_ms integer;

create table catalog_items (
  connection_id uuid not null references connections (id) on delete cascade,
  kind text not null check (kind in ('tools', 'prompts', 'resources', 'templates')),
  position integer not null,
  -- Tool or prompt name, resource URI, URI template.
  name text not null,
  -- The definition's bytes as the upstream sent them.
  definition text not null,
  -- SHA-256 of the definition, hex.
  digest text not null,
  primary key (connection_id, kind, name)
);
insert into catalog_items (connection_id, kind, position, name, definition, digest)
  select connection_id, 'tools', position, name, definition, digest from catalog_tools;
drop table catalog_tools;

update catalog_status set legacy_version = protocol_version;

-- What a downstream session has asked for and every replica must know when it talks to an upstream on its behalf.
create table session_log_levels (
  session_id uuid primary key,
  level text not null,
  expires_at timestamptz not null
);
create table session_subscriptions (
  session_id uuid not null,
  connection_id uuid not null references connections (id) on delete cascade,
  -- The upstream's own URI.
  uri text not null,
  expires_at timestamptz not null,
  primary key (session_id, connection_id, uri)
);

-- Sessions whose client has an event stream, and the relay that holds it.
create table session_streams (
  session_id uuid not null,
  relay_id text not null,
  expires_at timestamptz not null,
  primary key (session_id, relay_id)
);

-- Where other replicas reach a relay that holds something of theirs: `unix:PATH` or `HOST:PORT`.
alter table replicas add column address text;
