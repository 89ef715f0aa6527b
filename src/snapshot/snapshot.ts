import type { AuditConfig } from '../config/document.ts';
import type { Glob } from '../policy/glob.ts';

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
  readonly hasSessions: boolean;
  readonly protocolVersion: string | undefined;
  readonly tools: readonly CatalogTool[];
}

export interface CatalogTool {
  readonly name: string;
  /** The definition's JSON text as the upstream sent it. */
  readonly definition: string;
  readonly digest: string;
}

export interface Namespace {
  readonly name: string;
  readonly tenant: string;
  /** Every tool of every connection of this namespace, by wire name. */
  readonly tools: ReadonlyMap<string, NamespaceTool>;
  readonly connections: readonly Connection[];
}

export interface NamespaceTool {
  readonly wireName: string;
  readonly connection: Connection;
  readonly tool: CatalogTool;
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
