/**
 * The configuration as people write it (`sallyport.yaml`, the admin API, `export`) after validation:
 * defaults filled in, references to the environment not yet resolved. `schema.ts` holds the zod schemas that
 * produce exactly these shapes; nothing else in the product knows YAML.
 */

/** Where a secret came from: what `export` writes instead of the value. A template is text with `${NAME}` in it. */
export type SecretReference = { readonly env: string } | { readonly file: string } | { readonly template: string };

/**
 * A secret together with its origin. References are resolved by the process that reads the file (for `apply`, the
 * command line), so this is how a secret travels in bodies of the admin API: `{ "value": "s3cret", "ref": { "env": "CRM_TOKEN" } }`.
 */
export interface ResolvedSecret {
  readonly value: string;
  readonly ref?: SecretReference;
}

/** A secret: the value itself, where the process that reads the file finds it, or both. */
export type SecretInput = string | SecretReference | ResolvedSecret;

/** What a secret reads back as; writing it keeps the stored secret. */
export const REDACTED = '[REDACTED]';

export type AuthConfig =
  | { readonly type: 'none' }
  | { readonly type: 'bearer'; readonly token: SecretInput }
  | { readonly type: 'api_key'; readonly header: string; readonly value: SecretInput }
  | { readonly type: 'api_key'; readonly query: string; readonly value: SecretInput }
  | { readonly type: 'basic'; readonly username: string; readonly password: SecretInput };

export interface UpstreamTlsConfig {
  /** PEM text, or a path in a file (resolved by the process that reads it): trusted instead of the public roots. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: SecretInput;
  /** Expected certificate name and SNI; default: the URL's host. */
  readonly serverName?: string;
  /** Accept any certificate. */
  readonly insecure?: boolean;
}

export interface ConnectionConfig {
  readonly enabled: boolean;
  /** http(s) URL of the upstream's MCP endpoint; no user info, no fragment. */
  readonly url: string;
  readonly auth: AuthConfig;
  /** Static outbound headers. A value given by reference is a secret. */
  readonly headers: Readonly<Record<string, SecretInput>>;
  /** Names of the caller's request headers that may pass to the upstream, lower case. */
  readonly forward: readonly string[];
  readonly session: 'auto' | 'stateless' | 'pooled';
  /** Whole-call limit, milliseconds (written `30s`, `800ms`, `2m`). */
  readonly timeoutMs: number;
  /** Catalog refresh interval, milliseconds. */
  readonly refreshMs: number;
  readonly limits: {
    readonly maxConcurrent?: number;
    readonly circuitBreaker?: { readonly consecutiveErrors: number; readonly openForMs: number };
  };
  readonly tls?: UpstreamTlsConfig;
  readonly description?: string;
}

export interface NamespaceConfig {
  /** Connection names or globs (`*`), in the order in which their tools are listed. */
  readonly connections: readonly string[];
  readonly prefix: 'always' | 'collision' | 'never';
  readonly presentation: 'flat';
  readonly description?: string;
}

/** Glob lists: `*` any run of characters, `?` one character, nothing else is special. */
export interface AllowDeny {
  readonly allow: readonly string[];
  readonly deny: readonly string[];
}

export interface PersonaConfig {
  readonly roles: readonly string[];
  readonly subjects: readonly string[];
  /** The highest wins; ties by name, ascending. */
  readonly priority: number;
  /** Over wire names. Nothing is allowed until listed. */
  readonly tools: AllowDeny;
  /** Over connection names. `allow` is `['*']` when not written: the tools list is what opens things. */
  readonly connections: AllowDeny;
  readonly description?: string;
}

/** A key that a configuration file owns. */
export interface ApiKeyConfig {
  readonly name: string;
  /** At least 16 characters once resolved. */
  readonly key: SecretInput;
  readonly roles: readonly string[];
  /** ISO date or date-time. */
  readonly expires?: string;
}

export interface ListenerConfig {
  readonly tls?: { readonly cert: string; readonly key: string; readonly clientCa?: string };
}

export type RecordMode = 'none' | 'digest' | 'redacted' | 'full';

export interface AuditConfig {
  /** Milliseconds (written `90d`). */
  readonly retentionMs: number;
  readonly record: { readonly arguments: RecordMode; readonly results: RecordMode };
  /** Lower-case key names whose values are masked at any depth, besides the built-in ones. */
  readonly redactKeys: readonly string[];
  /** Longer values are cut, bytes. */
  readonly maxValueBytes: number;
}

/** Settings that exist once per deployment. */
export interface SettingsConfig {
  readonly publicUrl?: string;
  readonly listener: ListenerConfig;
  /** Origins besides `publicUrl`'s own that browsers may call from. */
  readonly allowedOrigins: readonly string[];
  /** Present only when written: callers without a key get these roles. */
  readonly anonymous?: { readonly roles: readonly string[] };
  readonly audit: AuditConfig;
  /** Largest request body, bytes; design default 4 MiB. */
  readonly maxRequestBytes: number;
}

/** A whole `sallyport.yaml`. `undefined` sections were not written and are left as they are by `apply`. */
export interface ConfigDocument {
  readonly settings?: SettingsConfig;
  readonly connections?: Readonly<Record<string, ConnectionConfig>>;
  readonly namespaces?: Readonly<Record<string, NamespaceConfig>>;
  readonly personas?: Readonly<Record<string, PersonaConfig>>;
  readonly apiKeys?: readonly ApiKeyConfig[];
}
