import type {
  ConnectionConfig,
  NamespaceConfig,
  PersonaConfig,
  RuleConfig,
  SettingsConfig,
  SourceConfig,
} from '../config/document.ts';

/**
 * What one configuration revision says, as stored in `revisions.document` (JSON, no secret inside) and as every
 * data-plane process loads it. Secrets are `[REDACTED]` here; the values are in `credentials`.
 */
export interface RevisionDocument {
  readonly settings: SettingsConfig;
  readonly tenants: readonly TenantRevision[];
}

export interface TenantRevision {
  readonly id: string;
  readonly connections: readonly ConnectionRevision[];
  readonly namespaces: readonly ({ readonly name: string } & NamespaceConfig)[];
  readonly personas: readonly ({ readonly name: string } & PersonaConfig)[];
  /** Missing in revisions from before there were any. */
  readonly sources?: readonly SourceRevision[];
  readonly rules?: readonly RuleRevision[];
}

export interface SourceRevision {
  readonly id: string;
  readonly name: string;
  /** Secrets inside are `[REDACTED]`. */
  readonly config: SourceConfig;
  /** Row of `credentials` that holds its secrets. */
  readonly credentialId: string | null;
}

export interface RuleRevision {
  readonly id: string;
  readonly name: string;
  readonly version: number;
  readonly config: RuleConfig;
}

export interface ConnectionRevision {
  /** Stable row id (uuid); survives renames of nothing, dies with the connection. */
  readonly id: string;
  readonly name: string;
  /** Secrets inside are `[REDACTED]`. */
  readonly config: ConnectionConfig;
  /** Row of `credentials` that holds this connection's secrets as a JSON object, JSON pointer → value. */
  readonly credentialId: string | null;
}

/** Envoy's name for a connection: its cluster, and the value of the route header. */
export const routeName = (tenant: string, connection: string): string => `${tenant}/${connection}`;

/** The header that chooses a connection's route. Stripped from whatever a client sends. */
export const ROUTE_HEADER = 'x-sallyport-route';

/** The route that leads to the processors' own HTTP service instead of a connection. Those hold a slash. */
export const EDGE_ROUTE = 'edge';

/** The route that leads to the relay. */
export const RELAY_ROUTE = 'relay';

/**
 * Says that Envoy itself answered, and why: `FLAGS details` (`UF upstream_reset_before_response_started{…}`). Nothing that
 * comes from an upstream carries it.
 */
export const LOCAL_REPLY_HEADER = 'x-sallyport-local-reply';

/** By which a relay tells the processor, and nobody else, how it really judged what it answers. */
export const JUDGEMENT_HEADER = 'x-sallyport-judgement';
