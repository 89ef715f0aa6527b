import type { AuditConfig } from '../config/document.ts';
import type { RuleBook } from '../enrichment/rule-book.ts';
import type { Era } from '../mcp/revision.ts';
import type { Glob } from '../policy/glob.ts';
import type { SourceDefinition } from '../sources/source.ts';

/**
 * The compiled, typed, immutable world that one exchange sees: one configuration revision together with the
 * catalogs as last discovered. The data plane reads nothing else. Swapped as a whole, never changed.
 */
export interface Snapshot {
  /** Row of `revisions`. */
  readonly revision: number;
  readonly tenants: ReadonlyMap<string, Tenant>;
  readonly settings: SnapshotSettings;
}

export interface SnapshotSettings {
  readonly publicUrl: string | undefined;
  /** Lower-case hosts (without port) that a request may name besides loopback on loopback. */
  readonly allowedHosts: ReadonlySet<string>;
  readonly allowedOrigins: ReadonlySet<string>;
  readonly anonymousRoles: readonly string[] | undefined;
  readonly audit: AuditConfig;
  readonly maxRequestBytes: number;
}

export interface Tenant {
  readonly id: string;
  readonly connections: ReadonlyMap<string, Connection>;
  readonly namespaces: ReadonlyMap<string, Namespace>;
  /** Highest priority first, then by name. */
  readonly personas: readonly Persona[];
  readonly sources: ReadonlyMap<string, SourceDefinition>;
  readonly rules: RuleBook;
}

export interface Connection {
  readonly id: string;
  readonly name: string;
  readonly tenant: string;
  /** Value of the route header; Envoy's cluster name. */
  readonly route: string;
  readonly url: URL;
  /** `:path` towards the upstream. */
  readonly path: string;
  readonly session: 'auto' | 'stateless' | 'pooled';
  readonly timeoutMs: number;
  /** How often its catalog is read again. */
  readonly refreshMs: number;
  /** Request headers of the caller that may pass, lower case. */
  readonly forward: ReadonlySet<string>;
  /** Outbound headers and query additions with secrets already resolved; see credentials/injection.ts. */
  readonly injection: Injection;
  readonly catalog: Catalog;
}

/** What the gateway adds to each request towards one upstream. Never logged, never serialised. */
export interface Injection {
  /** Why the secrets could not be read; a connection with a fault is never called (fail closed). */
  readonly fault: string | undefined;
  readonly credentialId: string | undefined;
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** `name=value`, already percent-encoded. */
  readonly query: string | undefined;
}

export interface Catalog {
  readonly state: 'pending' | 'ready' | 'unavailable' | 'disabled';
  readonly lastError: string | undefined;
  /** Which family of revisions the upstream speaks, as last probed; the newer where it speaks both. */
  readonly era: Era;
  /** `sse`: it has no streamable HTTP, and the relay stands in its place (relay/sse-upstreams). */
  readonly transport: Transport;
  /** What it answers to `initialize`; undefined: it speaks no legacy revision. */
  readonly legacyVersion: string | undefined;
  /** It mints session ids (for legacy clients). */
  readonly hasSessions: boolean;
  readonly protocolVersion: string | undefined;
  /** The upstream's `capabilities`, parsed. */
  readonly capabilities: Readonly<Record<string, unknown>>;
  readonly instructions: string | undefined;
  /** How long its lists may be kept, where it says so (modern `ttlMs`, the smallest of them). Milliseconds. */
  readonly ttlMs: number | undefined;
  readonly tools: readonly CatalogItem[];
  readonly prompts: readonly CatalogItem[];
  readonly resources: readonly CatalogItem[];
  readonly templates: readonly CatalogItem[];
}

/** Streamable HTTP, or HTTP+SSE as up to 2024-11-05. */
export type Transport = 'http' | 'sse';

/** The four lists of MCP, by their key in a list result but for `resourceTemplates`. */
export type ItemKind = 'tools' | 'prompts' | 'resources' | 'templates';

/** One definition of an upstream's. */
export interface CatalogItem {
  /** Tool or prompt name, resource URI, URI template. */
  readonly name: string;
  /** The definition's JSON text as the upstream sent it. */
  readonly definition: string;
  readonly digest: string;
}

export interface Namespace {
  readonly name: string;
  readonly tenant: string;
  readonly connections: readonly Connection[];
  /** Everything of every connection of this namespace, by wire name (or wire URI, or wire template). */
  readonly tools: ReadonlyMap<string, NamespaceItem>;
  readonly prompts: ReadonlyMap<string, NamespaceItem>;
  readonly resources: ReadonlyMap<string, NamespaceItem>;
  readonly templates: ReadonlyMap<string, NamespaceItem>;
  readonly uris: UriSpace;
}

export interface NamespaceItem {
  /** What clients of the namespace call it. */
  readonly wireName: string;
  readonly connection: Connection;
  readonly item: CatalogItem;
  /** What clients get to see in place of the upstream's definition, where something is added to the tool's results. */
  readonly definition?: string;
}

/** Resource URIs of several upstreams in one space, without state: what goes out can be found again when it comes back. */
export interface UriSpace {
  /** No URI differs between the two sides: nothing needs to be rewritten. */
  readonly isIdentity: boolean;
  /** An upstream's URI or URI template as clients of the namespace see it. */
  toWire(connection: Connection, uri: string): string;
  /** Whose it is, and what its owner calls it; undefined: nobody's, or more than one could own it. */
  fromWire(uri: string): { readonly connection: Connection; readonly uri: string } | undefined;
}

export interface Persona {
  readonly name: string;
  readonly tenant: string;
  readonly roles: ReadonlySet<string>;
  readonly subjects: ReadonlySet<string>;
  readonly priority: number;
  readonly tools: CompiledAllowDeny;
  readonly connections: CompiledAllowDeny;
}

export interface CompiledAllowDeny {
  readonly allow: readonly Glob[];
  readonly deny: readonly Glob[];
}
