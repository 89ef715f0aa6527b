/** The flags of `sallyport up`, resolved from command line and environment. */
export interface UpOptions {
  /** Where the MCP listener listens. */
  readonly host: string;
  /** 0 picks a free port. */
  readonly port: number;
  /** Where the portal and the admin API listen; loopback unless the operator says otherwise. */
  readonly adminHost: string;
  readonly adminPort: number;
  readonly dataDir: string;
  readonly config?: string | undefined;
  readonly mcpConfig?: string | undefined;
  /** Processor processes. */
  readonly workers: number;
  /** Relay processes. */
  readonly relays: number;
  /**
   * Envoy's worker threads; by default as many as processors. A call costs Envoy and a processor about the same
   * CPU time, so neither waits for the other.
   */
  readonly envoyConcurrency?: number | undefined;
  /** Print the report as JSON instead of the greeting. */
  readonly json?: boolean | undefined;
}
