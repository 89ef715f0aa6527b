import type { SecretSources } from '../config/resolve.ts';
import type { Vault } from '../credentials/vault.ts';
import type { Era } from '../mcp/revision.ts';
import type { Transport } from '../snapshot/snapshot.ts';
import type { Database } from '../storage/database.ts';
import type { Logger } from '../telemetry/log.ts';
import type { AdsState } from '../xds/ads.ts';
import type { ConfigurationWriter } from './change.ts';

/** What the admin API's rooms work with; made once per control plane. */
export interface AdminContext {
  readonly database: Database;
  readonly vault: Vault;
  readonly writer: ConfigurationWriter;
  /** The tenant that the admin token administers. */
  readonly tenant: string;
  /** What references in API bodies may name: the environment less our own variables, and no files. */
  readonly secretSources: SecretSources;
  readonly catalog: CatalogDoor;
  readonly gateway: GatewayDoor;
  readonly log: Logger;
}

/** The catalog sync, as far as the API drives it. */
export interface CatalogDoor {
  /** Reads a connection's catalog now; its row then says what was found, or why nothing was. */
  refresh(connectionId: string): Promise<void>;
  /** Tries a connection as it is being served, without storing anything. */
  test(tenant: string, connection: string): Promise<TestResult>;
}

/** What trying a connection gave. */
export interface TestResult {
  readonly ok: boolean;
  /** Why it failed; of a success, why a list is missing. */
  readonly error?: string;
  readonly era?: Era;
  readonly transport?: Transport;
  readonly protocolVersion?: string;
  readonly serverName?: string;
  readonly serverVersion?: string;
  readonly tools?: number;
  readonly prompts?: number;
  readonly resources?: number;
  readonly templates?: number;
  /** Milliseconds. */
  readonly durationMs: number;
}

/** What is known of Envoy and of the way to the MCP listener. */
export interface GatewayDoor {
  /** Envoys that are connected and what each has; undefined before anything was published. */
  ads(): AdsState;
  /** Every resource as Envoy is told it, private keys withheld. */
  dump(): Readonly<Record<string, unknown>> | undefined;
  /** Base URL of the MCP listener as this process reaches it. */
  mcpUrl(): string;
  /** Why the newest revision is not served, if it is not. */
  publicationFault(): string | undefined;
  /** Why the configuration files, as they are now, are not applied; undefined if they are. */
  configFileFault(): string | undefined;
  /** Where processor workers of this machine have their sockets. */
  readonly runtimeDir: string;
}
