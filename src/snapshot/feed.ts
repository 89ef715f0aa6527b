/**
 * Keeps one process's snapshot, keys and tombstones current: told by NOTIFY, and looking by itself every second in
 * case a notification was lost. While Postgres is away the last snapshot keeps serving.
 */

import { joinSecrets } from '../config/secrets.ts';
import { brokenInjection, injectionOf } from '../credentials/injection.ts';
import { type SecretValues, secretsOf } from '../credentials/store.ts';
import type { Vault } from '../credentials/vault.ts';
import type { KeyRing } from '../identity/key-ring.ts';
import type { Tombstones } from '../sessions/tombstones.ts';
import { definitionOf } from '../sources/definition.ts';
import type { SourceDefinition } from '../sources/source.ts';
import type { Database } from '../storage/database.ts';
import { listen } from '../storage/listen.ts';
import type { Logger } from '../telemetry/log.ts';
import { compileSnapshot } from './compile.ts';
import * as reading from './feed-store.ts';
import type { RevisionDocument } from './revision.ts';
import type { Catalog, Injection, Snapshot } from './snapshot.ts';

const POLL_MS = 1000;
/** A replica that was silent for 10 s counts as gone (control plane). */
const HEARTBEAT_MS = 3000;
/** Without a successful look for so long, keys revoked meanwhile still work, and somebody should know. */
const STALE_MS = 10_000;

export interface FeedOptions {
  readonly database: Database;
  readonly databaseUrl: string;
  readonly vault: Vault;
  readonly keys: KeyRing;
  readonly tombstones: Tombstones;
  readonly onSessionEnded: (sessionId: string) => void;
  readonly onSnapshot?: (snapshot: Snapshot) => void;
  /** Channels that carry a message of their own, which is for whoever listens at that moment. */
  readonly notices?: Readonly<Record<string, (payload: string) => void>>;
  readonly log: Logger;
  /** Announced to the control plane, which waits for it before old Envoy resources go. */
  readonly replica?: { readonly id: string; readonly role: string; readonly address?: string };
  /** Age from which on the log warns; 10 s by default. */
  readonly staleMs?: number;
}

export interface Feed {
  snapshot(): Snapshot | undefined;
  /** Resolves once there is a snapshot. */
  readonly ready: Promise<void>;
  /** Since the last successful look began, in ms: whatever changed before then is served. Under 2 s in health. */
  feedAgeMs(): number;
  close(): Promise<void>;
}

export function startFeed(options: FeedOptions): Feed {
  const state = new FeedState(options);
  const listener = listen(
    options.databaseUrl,
    [
      'sallyport_revision',
      'sallyport_catalog',
      'sallyport_keys',
      'sallyport_session',
      ...Object.keys(options.notices ?? {}),
    ],
    (channel, payload) => {
      const notice = options.notices?.[channel];
      if (notice === undefined) state.wake();
      // `poll` is the look after a silence: a notice that was lost stays lost.
      else if (payload !== 'poll') notice(payload);
    },
    { pollMs: POLL_MS },
  );
  const heartbeat = setInterval(() => state.announce(), HEARTBEAT_MS);
  const watch = setInterval(() => state.warnIfStale(), POLL_MS);
  state.wake();
  return {
    snapshot: () => state.snapshot,
    ready: state.ready,
    feedAgeMs: () => state.ageMs(),
    async close() {
      clearInterval(watch);
      clearInterval(heartbeat);
      listener.close();
      await state.stop();
    },
  };
}

class FeedState {
  snapshot: Snapshot | undefined;
  readonly ready: Promise<void>;
  private readonly options: FeedOptions;
  private becomeReady: () => void = () => {};
  private running: Promise<void> | undefined;
  private again = false;
  private stopped = false;
  private failing = false;
  private warned = false;
  /** When the last look that succeeded began; the clock never goes back. */
  private freshAt = performance.now();

  private revision = 0;
  private document: RevisionDocument | undefined;
  private injections: ReadonlyMap<string, Injection> = new Map();
  private sources: ReadonlyMap<string, SourceDefinition> = new Map();
  private readonly catalogs = new Map<string, Catalog>();
  private catalogSeq = 0;
  private keySeq = 0;
  private tombstonesSince = new Date(0);

  constructor(options: FeedOptions) {
    this.options = options;
    this.ready = new Promise((resolve) => {
      this.becomeReady = resolve;
    });
  }

  /** Looks for changes now; wakes during a look are one more look. */
  wake(): void {
    this.again = true;
    this.running ??= this.run().finally(() => {
      this.running = undefined;
    });
  }

  announce(): void {
    const { replica, database } = this.options;
    if (replica === undefined || this.snapshot === undefined || this.stopped) return;
    reading.announceReplica(database, replica, this.revision).catch(() => {});
  }

  ageMs(): number {
    return performance.now() - this.freshAt;
  }

  warnIfStale(): void {
    const ageMs = Math.round(this.ageMs());
    if (this.warned || ageMs <= (this.options.staleMs ?? STALE_MS)) return;
    this.warned = true;
    this.options.log.warn(
      { ageMs },
      'Postgres has not answered for a while: changes of the configuration and revoked keys are not known here until it does',
    );
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await this.running;
    const { replica, database } = this.options;
    if (replica !== undefined) await reading.forgetReplica(database, replica).catch(() => {});
  }

  private async run(): Promise<void> {
    while (this.again && !this.stopped) {
      this.again = false;
      const begun = performance.now();
      try {
        await this.look();
        this.freshAt = begun;
        if (this.failing || this.warned) this.options.log.info('Postgres answers again; the configuration is current');
        this.failing = false;
        this.warned = false;
      } catch (error) {
        if (!this.failing) {
          this.options.log.warn(
            { error: (error as Error).message },
            'the configuration could not be read; the last one keeps serving',
          );
        }
        this.failing = true;
      }
    }
  }

  private async look(): Promise<void> {
    const { database } = this.options;
    await this.readKeys();
    await this.readTombstones();
    const changedRevision = await this.readRevision();
    const catalogs = await reading.catalogsSince(database, this.catalogSeq);
    for (const { connectionId, catalog } of catalogs.changed) this.catalogs.set(connectionId, catalog);
    this.catalogSeq = catalogs.seq;
    if (this.document === undefined || (!changedRevision && catalogs.changed.length === 0)) return;
    this.snapshot = compileSnapshot({
      revision: this.revision,
      document: this.document,
      catalogs: this.catalogs,
      injections: this.injections,
      sources: this.sources,
      onBadRule: (rule, faults) =>
        this.options.log.error({ rule, faults }, 'a stored rule cannot be used as it is: save it again'),
    });
    this.becomeReady();
    this.options.onSnapshot?.(this.snapshot);
    if (changedRevision) {
      this.options.log.info({ revision: this.revision }, 'serving revision');
      this.announce();
    }
  }

  private async readRevision(): Promise<boolean> {
    const { database } = this.options;
    const newest = await reading.activeRevision(database, this.revision);
    if (newest === undefined) return false;
    const rows = newest.document.tenants.flatMap((tenant) => tenant.connections);
    const injections = new Map<string, Injection>();
    for (const { id, name, config, credentialId } of rows) {
      const secrets = await this.secretsOf(credentialId, { connection: name });
      if (typeof secrets === 'string') injections.set(id, brokenInjection(credentialId ?? '', secrets));
      else injections.set(id, injectionOf(joinSecrets(config, secrets), credentialId ?? undefined));
    }
    const sources = new Map<string, SourceDefinition>();
    for (const tenant of newest.document.tenants) {
      for (const source of tenant.sources ?? []) {
        const secrets = await this.secretsOf(source.credentialId, { source: source.name });
        sources.set(source.id, definitionOf(tenant.id, source, secrets));
      }
    }
    this.revision = newest.id;
    this.document = newest.document;
    this.injections = injections;
    this.sources = sources;
    return true;
  }

  /** `whose` is for the log. */
  private secretsOf(id: string | null, whose: Readonly<Record<string, string>>): Promise<SecretValues | string> {
    const { database, vault, log } = this.options;
    return secretsOf(database.kysely, vault, id, (error) =>
      log.error({ ...whose, error }, 'a credential cannot be opened; what needs it is refused'),
    );
  }

  private async readKeys(): Promise<void> {
    for (const { seq, hash, record } of await reading.keysSince(this.options.database, this.keySeq)) {
      this.options.keys.put(hash, record);
      this.keySeq = Math.max(this.keySeq, seq);
    }
  }

  private async readTombstones(): Promise<void> {
    const { tombstones, onSessionEnded, database } = this.options;
    const { ended, until } = await reading.tombstonesSince(database, this.tombstonesSince);
    for (const { id, expiresAt } of ended) {
      if (tombstones.has(id)) continue;
      tombstones.add(id, expiresAt);
      onSessionEnded(id);
    }
    this.tombstonesSince = until;
    tombstones.sweep(Date.now());
  }
}
