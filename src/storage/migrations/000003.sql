-- Declarative enrichment: sources, rules and what became of them.

create table sources (
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

create table rules (
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

-- Every version a rule ever had. Kept when the rule is removed, so that it can come back.
create table rule_versions (
  tenant_id text not null references tenants (id) on delete cascade,
  rule_name text not null,
  -- Grows by one with each change of what stands under this name.
  version bigint not null,
  config jsonb not null,
  author text not null,
  reason text not null,
  at timestamptz not null default now(),
  primary key (tenant_id, rule_name, version)
);

-- Rules that spent their error budget, by the version that did: a changed rule begins anew.
create table rule_trips (
  rule_id uuid not null references rules (id) on delete cascade,
  version bigint not null,
  reason text not null,
  at timestamptz not null default now(),
  primary key (rule_id, version)
);

-- Secrets towards sources, as `credentials` for connections: a row belongs to either.
alter table credentials
  alter column connection_id drop not null,
  add column source_id uuid unique references sources (id) on delete cascade,
  add constraint credentials_belong check (num_nonnulls(connection_id, source_id) = 1);
