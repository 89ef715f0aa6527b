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

/** What every source has besides its own keys. */
interface AnySource {
  readonly enabled: boolean;
  readonly description?: string;
  /** Requests in flight at most, per process; more wait within their rule's time. */
  readonly maxConcurrent: number;
  readonly circuitBreaker: { readonly consecutiveErrors: number; readonly openForMs: number };
}

/** Where rules get what they add from. */
export type SourceConfig = TrinoSource | PostgresSource | DataHubSource | HttpSource;
export type SourceType = SourceConfig['type'];

export interface TrinoSource extends AnySource {
  readonly type: 'trino';
  /** http(s) URL of the coordinator. */
  readonly url: string;
  readonly user: string;
  /** HTTP basic authentication; https only. */
  readonly password?: SecretInput;
  /** A JWT or OAuth access token; https only. */
  readonly token?: SecretInput;
  readonly catalog?: string;
  readonly schema?: string;
  /** Trino session properties, `name` or `catalog.name`. */
  readonly session: Readonly<Record<string, string>>;
  readonly tls?: { readonly ca?: string; readonly insecure?: boolean };
}

export interface PostgresSource extends AnySource {
  readonly type: 'postgres';
  /** `postgres://user:password@host:port/database?…`: a secret as a whole. */
  readonly url: SecretInput;
  readonly tls?: { readonly ca?: string; readonly insecure?: boolean };
}

export interface DataHubSource extends AnySource {
  readonly type: 'datahub';
  /** Of the metadata service (GMS); its GraphQL is at `/api/graphql`. */
  readonly url: string;
  readonly token?: SecretInput;
}

export interface HttpSource extends AnySource {
  readonly type: 'http';
  /** Base URL: a rule's path is appended, so no other host and no other prefix can be reached. */
  readonly url: string;
  readonly headers: Readonly<Record<string, SecretInput>>;
}

/** A value of the call by its path (`$.args.…`, `$.response.…`, `$.principal.…`, `$.tool.…`, `$.item.…`), or a constant. */
export type Binding = string | number | boolean | null;
export type Bindings = Readonly<Record<string, Binding>>;

/** What a rule asks; which of them fits follows from the type of the source that `use` names. */
export type RuleSource =
  /** trino, postgres: one SELECT with `:name` where values go. */
  | { readonly use: string; readonly query: string; readonly bind: Bindings; readonly match?: Match }
  /** http: `GET /accounts/:id?fields=:fields`; `body` is JSON in which a string `:name` is a value. */
  | {
      readonly use: string;
      readonly request: string;
      readonly body?: unknown;
      /** Path into the answer (root: the answer itself) of what becomes rows; default: the answer. */
      readonly rows?: string;
      readonly bind: Bindings;
      readonly match?: Match;
    }
  | {
      readonly use: string;
      readonly operation: 'entity' | 'search' | 'glossary_term' | 'lineage';
      readonly bind: Bindings;
      readonly match?: Match;
    }
  /** A tool by its name in the caller's namespace, called as the caller. */
  | { readonly tool: string; readonly rows?: string; readonly bind: Bindings; readonly match?: Match }
  /** Ready-made: what the catalogue knows of the tables a call is about; whether what the catalogue names can be queried. */
  | { readonly use: string; readonly preset: 'table_context' | 'query_context'; readonly bind: Bindings };

/** Of a rule with `forEach`: which column of a row equals which binding of the element. */
export type Match = Readonly<Record<string, string>>;

/** All that are written must hold. */
export interface WhenConfig {
  /** Each path finds something other than null. */
  readonly exists?: readonly string[];
  /** Path → constant that it finds. */
  readonly equals?: Readonly<Record<string, Binding>>;
  /** Path → regular expression (RE2) that what it finds contains a match of. */
  readonly matches?: Readonly<Record<string, string>>;
  /** CEL over `args`, `response`, `principal`, `tool`. */
  readonly cel?: string;
}

/** A declarative enrichment rule: when → source → merge. */
export interface RuleConfig {
  readonly enabled: boolean;
  readonly description?: string;
  /** Connections by name or pattern. */
  readonly connection: string;
  /** Tools by the names their upstream gives them; name or pattern. */
  readonly tool: string;
  readonly when?: WhenConfig;
  /** Path of elements of the response (`$.response.orders[*]`) that are each enriched, with one request for all. */
  readonly forEach?: string;
  readonly source: RuleSource;
  readonly merge: {
    /** Where it goes in the response (or in each element): keys joined by dots. */
    readonly path: string;
    readonly onConflict: 'keep' | 'replace' | 'array';
    /** `auto`: one row becomes an object, several an array. */
    readonly as: 'auto' | 'object' | 'array';
    /**
     * What becomes of the text: `append` adds a readable block; `splice` writes into the JSON of the text itself; `keep`
     * leaves it. The structured content carries it in every case.
     */
    readonly text: 'append' | 'splice' | 'keep';
  };
  /** What a session has been told already: sent again (`none`), referred to, or summed up. */
  readonly repeat: 'none' | 'reference' | 'summary';
  /** The highest runs first, ties by name; a rule sees what earlier ones added. */
  readonly priority: number;
  /** Milliseconds. */
  readonly timeoutMs: number;
  readonly maxRows: number;
  readonly maxBytes: number;
  /** Milliseconds; 0: every call asks anew. */
  readonly cacheMs: number;
  /** More failures than this within that time (milliseconds) switch the rule off until somebody changes it or switches it on. */
  readonly errorBudget: { readonly failures: number; readonly perMs: number };
}

/** A whole `sallyport.yaml`. `undefined` sections were not written and are left as they are by `apply`. */
export interface ConfigDocument {
  readonly settings?: SettingsConfig;
  readonly connections?: Readonly<Record<string, ConnectionConfig>>;
  readonly namespaces?: Readonly<Record<string, NamespaceConfig>>;
  readonly personas?: Readonly<Record<string, PersonaConfig>>;
  readonly apiKeys?: readonly ApiKeyConfig[];
  readonly sources?: Readonly<Record<string, SourceConfig>>;
  /** `enrichment` in the file, a list whose items have a name. */
  readonly rules?: Readonly<Record<string, RuleConfig>>;
}
