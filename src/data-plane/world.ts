/** Everything a step may ask; made once per process (run.ts), passed by reference. */
import type { AuditQueue } from '../audit/queue.ts';
import type { Vault } from '../credentials/vault.ts';
import type { Egress } from '../egress/egress.ts';
import type { EnrichmentWorld } from '../enrichment/world.ts';
import type { KeyRing } from '../identity/key-ring.ts';
import type { Handles } from '../sessions/handles.ts';
import type { InFlight } from '../sessions/in-flight.ts';
import type { LogLevels } from '../sessions/log-levels.ts';
import type { SessionIds } from '../sessions/session-id.ts';
import type { SessionStore } from '../sessions/stored-session.ts';
import type { Tombstones } from '../sessions/tombstones.ts';
import type { UpstreamSessions } from '../sessions/upstream-sessions.ts';
import type { Snapshot } from '../snapshot/snapshot.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Meters } from '../telemetry/meters.ts';
import type { Tracing } from '../telemetry/tracing.ts';

export interface World {
  /** The newest snapshot; undefined until the first is loaded. An exchange keeps the one it began with. */
  snapshot(): Snapshot | undefined;
  readonly vault: Vault;
  readonly keys: KeyRing;
  readonly handles: Handles;
  readonly sessionIds: SessionIds;
  readonly tombstones: Tombstones;
  /** Ends a downstream session everywhere. */
  endSession(session: { id: string; tenant: string; expiresAt: number }): Promise<void>;
  /** A legacy client calls a modern upstream: whether that speaks the client's era too is worth finding out. */
  wantLegacy(connectionId: string): void;
  readonly upstreamSessions: UpstreamSessions;
  readonly sessionStore: SessionStore;
  /** Calls that are being answered in this process. */
  readonly inFlight: InFlight;
  readonly logLevels: LogLevels;
  readonly egress: Egress;
  readonly enrichment: EnrichmentWorld;
  readonly audit: AuditQueue;
  readonly meters: Meters;
  readonly tracing: Tracing;
  readonly log: Logger;
  /** Of the product, as clients see it. */
  readonly version: string;
  /** Hosts (without port, lower case) that name the listener itself; `*` = any IP literal. */
  readonly ownHosts: ReadonlySet<string>;
  /** Answers above this many bytes leave by the edge service; undefined where the Envoy is not ours. */
  readonly edgeThresholdBytes: number | undefined;
  /** A route to a relay exists: so where the Envoy is ours. */
  readonly relay: boolean;
}
