/** Rows → Snapshot: names resolved, globs compiled, wire names given. Pure; the same input gives the same world. */
import type { AllowDeny, ConnectionConfig, SettingsConfig } from '../config/document.ts';
import { compileRule } from '../enrichment/compile.ts';
import type { CompiledRule } from '../enrichment/rule.ts';
import { RuleBook } from '../enrichment/rule-book.ts';
import { glob } from '../policy/glob.ts';
import type { SourceDefinition, TemplateFault } from '../sources/source.ts';
import { type ConnectionRevision, type RevisionDocument, routeName, type TenantRevision } from './revision.ts';
import type {
  Catalog,
  CompiledAllowDeny,
  Connection,
  Injection,
  Namespace,
  NamespaceItem,
  Persona,
  Snapshot,
  SnapshotSettings,
  Tenant,
  UriSpace,
} from './snapshot.ts';
import { uriSpace } from './uris.ts';
import { widened } from './widened.ts';
import { type Prefixing, wireNames } from './wire-names.ts';

export interface SnapshotInput {
  readonly revision: number;
  readonly document: RevisionDocument;
  /** By connection id; a connection without one has not been reached yet. */
  readonly catalogs: ReadonlyMap<string, Catalog>;
  /** By connection id. */
  readonly injections: ReadonlyMap<string, Injection>;
  /** By source id; without secrets where nothing will be asked. */
  readonly sources?: ReadonlyMap<string, SourceDefinition>;
  /** Told of each rule that was stored and does not compile: one written for an older version of this product. */
  readonly onBadRule?: (name: string, faults: readonly TemplateFault[]) => void;
}

const NOTHING_INJECTED: Injection = { fault: undefined, credentialId: undefined, headers: [], query: undefined };

export const EMPTY_CATALOG: Catalog = {
  state: 'pending',
  lastError: undefined,
  era: 'legacy',
  transport: 'http',
  legacyVersion: undefined,
  hasSessions: false,
  protocolVersion: undefined,
  capabilities: {},
  instructions: undefined,
  ttlMs: undefined,
  tools: [],
  prompts: [],
  resources: [],
  templates: [],
};

export function compileSnapshot(input: SnapshotInput): Snapshot {
  const tenants = new Map<string, Tenant>();
  for (const tenant of input.document.tenants) tenants.set(tenant.id, compileTenant(tenant, input));
  return { revision: input.revision, tenants, settings: compileSettings(input.document.settings) };
}

function compileTenant(tenant: TenantRevision, input: SnapshotInput): Tenant {
  const connections = new Map<string, Connection>();
  for (const row of tenant.connections) {
    if (row.config.enabled) connections.set(row.name, compileConnection(tenant.id, row, input));
  }
  const rules = compileRules(tenant, input);
  const namespaces = new Map<string, Namespace>();
  for (const row of tenant.namespaces) {
    const members = membersOf(row.connections, [...connections.values()]);
    namespaces.set(row.name, compileNamespace(tenant.id, row.name, members, row.prefix, rules));
  }
  const sources = new Map<string, SourceDefinition>();
  for (const { id, name } of tenant.sources ?? []) {
    const definition = input.sources?.get(id);
    if (definition !== undefined) sources.set(name, definition);
  }
  const personas: Persona[] = tenant.personas.map((row) => ({
    name: row.name,
    tenant: tenant.id,
    roles: new Set(row.roles),
    subjects: new Set(row.subjects),
    priority: row.priority,
    tools: compileLists(row.tools),
    connections: compileLists(row.connections),
  }));
  personas.sort((a, b) => b.priority - a.priority || (a.name < b.name ? -1 : 1));
  return { id: tenant.id, connections, namespaces, personas, sources, rules };
}

/** A revision's rules are compiled once, however often its catalogs change. */
const books = new WeakMap<TenantRevision, RuleBook>();

function compileRules(tenant: TenantRevision, { onBadRule }: SnapshotInput): RuleBook {
  let book = books.get(tenant);
  if (book !== undefined) return book;
  const types = new Map((tenant.sources ?? []).map(({ name, config }) => [name, config.type]));
  const compiled: CompiledRule[] = [];
  for (const rule of tenant.rules ?? []) {
    const result = compileRule({ ...rule, tenant: tenant.id }, types);
    if ('faults' in result) onBadRule?.(rule.name, result.faults);
    else compiled.push(result);
  }
  book = new RuleBook(compiled);
  books.set(tenant, book);
  return book;
}

function compileConnection(tenant: string, row: ConnectionRevision, input: SnapshotInput): Connection {
  const config: ConnectionConfig = row.config;
  const url = new URL(config.url);
  const injection = input.injections.get(row.id) ?? NOTHING_INJECTED;
  const catalog = input.catalogs.get(row.id) ?? EMPTY_CATALOG;
  const query = [url.search.slice(1), injection.query].filter((part) => part !== undefined && part !== '').join('&');
  return {
    id: row.id,
    name: row.name,
    tenant,
    route: routeName(tenant, row.name),
    url,
    path: query === '' ? url.pathname : `${url.pathname}?${query}`,
    // What speaks HTTP+SSE answers on the stream of a session, and nowhere else.
    session: catalog.transport === 'sse' && config.session === 'stateless' ? 'auto' : config.session,
    timeoutMs: config.timeoutMs,
    refreshMs: config.refreshMs,
    forward: new Set(config.forward),
    injection,
    catalog,
  };
}

/** Connections that the patterns name, in the patterns' order, each once; within a glob by name. */
function membersOf(patterns: readonly string[], all: readonly Connection[]): Connection[] {
  const byName = [...all].sort((a, b) => (a.name < b.name ? -1 : 1));
  const members = new Set<Connection>();
  for (const pattern of patterns) {
    const compiled = glob(pattern);
    for (const connection of byName) if (compiled.matches(connection.name)) members.add(connection);
  }
  return [...members];
}

function compileNamespace(
  tenant: string,
  name: string,
  connections: readonly Connection[],
  prefixing: Prefixing,
  rules: RuleBook,
): Namespace {
  const uris = uriSpace(connections, prefixing);
  return {
    name,
    tenant,
    connections,
    tools: widened(named(connections, 'tools', prefixing), rules),
    prompts: named(connections, 'prompts', prefixing),
    resources: located(connections, 'resources', uris),
    templates: located(connections, 'templates', uris),
    uris,
  };
}

function named(
  connections: readonly Connection[],
  kind: 'tools' | 'prompts',
  prefixing: Prefixing,
): Map<string, NamespaceItem> {
  const all = connections.flatMap((connection) =>
    connection.catalog[kind].map((item) => ({
      connection: connection.name,
      item: item.name,
      value: { connection, item },
    })),
  );
  const items = new Map<string, NamespaceItem>();
  for (const [wireName, entry] of wireNames(all, prefixing)) items.set(wireName, { wireName, ...entry.value });
  return items;
}

/** Where nothing is rewritten two members may offer the same URI: then the first one's is it (uris.ts). */
function located(
  connections: readonly Connection[],
  kind: 'resources' | 'templates',
  uris: UriSpace,
): Map<string, NamespaceItem> {
  const items = new Map<string, NamespaceItem>();
  for (const connection of connections) {
    for (const item of connection.catalog[kind]) {
      const wireName = uris.toWire(connection, item.name);
      if (!items.has(wireName)) items.set(wireName, { wireName, connection, item });
    }
  }
  return items;
}

const compileLists = (lists: AllowDeny): CompiledAllowDeny => ({
  allow: lists.allow.map(glob),
  deny: lists.deny.map(glob),
});

function compileSettings(settings: SettingsConfig): SnapshotSettings {
  const origins = settings.allowedOrigins.map((origin) => origin.toLowerCase());
  const hosts: string[] = [];
  if (settings.publicUrl !== undefined) {
    const url = new URL(settings.publicUrl);
    origins.push(url.origin.toLowerCase());
    hosts.push(url.hostname.toLowerCase());
  }
  return {
    publicUrl: settings.publicUrl,
    allowedHosts: new Set(hosts),
    allowedOrigins: new Set(origins),
    anonymousRoles: settings.anonymous?.roles,
    audit: settings.audit,
    maxRequestBytes: settings.maxRequestBytes,
  };
}
