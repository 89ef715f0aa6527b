import type { Vault } from '../credentials/vault.ts';
import type { RevisionDocument } from '../snapshot/revision.ts';
import type { Database } from '../storage/database.ts';
import type { Logger } from '../telemetry/log.ts';
import type { AdsServer } from '../xds/ads.ts';
import { withPrevious, type XdsResources } from '../xds/compile.ts';
import { watchFiles } from './file-watch.ts';
import { activateRevision, activeRevisionId, findRevision, liveReplicas, newestRevisionId } from './store.ts';
import { compileForEnvoy, listenerFiles, type XdsPlace } from './xds-input.ts';

/** How long an Envoy that does not answer may hold a revision back: its processors would wait as long. */
const ACK_MS = 3_000;
/** How long a processor that does not switch may keep old resources in Envoy. */
const SWITCH_MS = 5_000;
const LOOK_MS = 50;
/** How often Envoy is offered again what it refused. */
const RETRY_MS = 5_000;

/** Brings revisions to Envoy and to the processors, each step after the one it stands on. */
export interface Publication {
  /** Something was stored (or may have been): look. Looks while one is under way are one more look. */
  wake(): void;
  /** Resolves when the first revision has been published. */
  readonly ready: Promise<void>;
  /** What keeps the newest revision from being served, if anything does. */
  fault(): string | undefined;
  /** The revision that Envoy was told last. */
  current(): { readonly id: number; readonly document: RevisionDocument; readonly resources: XdsResources } | undefined;
  close(): Promise<void>;
}

export interface PublicationOptions {
  readonly database: Database;
  readonly vault: Vault;
  readonly ads: AdsServer;
  readonly place: XdsPlace;
  readonly log: Logger;
}

/**
 * The order of every change: what is new goes to Envoy, beside what is there; once Envoy has it, the revision becomes
 * active and processors switch; once they have, Envoy is told to forget what is old. A newer revision interrupts the
 * waiting, never the order: whatever may still be in use stays until all processors have moved on.
 */
export function startPublication(options: PublicationOptions): Publication {
  const publisher = new Publisher(options);
  publisher.wake();
  return publisher;
}

class Publisher implements Publication {
  readonly ready: Promise<void>;
  readonly #options: PublicationOptions;
  #becomeReady: () => void = () => {};
  #running: Promise<void> | undefined;
  #again = false;
  #closed = false;
  #fault: string | undefined;
  /** What Envoy was told last: the current revision, and with it whatever older ones still need. */
  #held: XdsResources | undefined;
  #current: ReturnType<Publication['current']>;
  #publishedAt = 0;
  #switchBy = 0;
  #filesChanged = false;
  #watching: { readonly files: string; close(): void } | undefined;

  constructor(options: PublicationOptions) {
    this.#options = options;
    this.ready = new Promise((resolve) => {
      this.#becomeReady = resolve;
    });
  }

  wake(): void {
    this.#again = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  fault(): string | undefined {
    return this.#fault;
  }

  current(): ReturnType<Publication['current']> {
    return this.#current;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#watching?.close();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#again && !this.#closed) {
      this.#again = false;
      try {
        await this.#look();
        this.#fault = undefined;
      } catch (error) {
        const { message } = error as Error;
        if (message !== this.#fault)
          this.#options.log.error(
            { error: message },
            'the newest revision is not published; the last one keeps serving',
          );
        this.#fault = message;
      }
    }
  }

  async #look(): Promise<void> {
    const { database, ads } = this.#options;
    const id = await newestRevisionId(database.kysely);
    if (id === undefined) return;
    if (id !== this.#current?.id || this.#filesChanged) await this.#publish(id);
    const current = this.#current;
    if (current !== undefined && this.#held !== current.resources && (await this.#switched(current.id))) {
      this.#held = current.resources;
      ads.publish(this.#held);
    }
    // What Envoy refused may be possible by now: a port that was taken, say.
    const held = this.#held;
    if (held !== undefined && ads.state().rejections.length > 0 && Date.now() - this.#publishedAt > RETRY_MS) {
      this.#publishedAt = Date.now();
      ads.publish(held);
    }
  }

  async #publish(id: number): Promise<void> {
    const { database, vault, place, ads, log } = this.#options;
    const revision = await findRevision(database.kysely, id);
    if (revision === undefined) return;
    this.#watch(revision.document);
    const resources = await compileForEnvoy(database.kysely, vault, place, revision.document);
    this.#filesChanged = false;
    if (id === this.#current?.id && resources.version === this.#current.resources.version) return;
    this.#held ??= await this.#leftBehind(id);
    this.#held = this.#held === undefined ? resources : withPrevious(resources, this.#held);
    this.#current = { id, document: revision.document, resources };
    this.#publishedAt = Date.now();
    ads.publish(this.#held);
    this.#becomeReady();

    const answer = await ads.acked(this.#held.version, ACK_MS);
    for (const { resource, error } of answer.rejections)
      log.error({ revision: id, resource, error }, 'Envoy refused a resource');
    if (answer.late.length > 0) log.warn({ revision: id, nodes: answer.late }, 'an Envoy has not answered yet');
    if (revision.active_at === null) await activateRevision(database.kysely, id);
    log.info({ revision: id, reason: revision.reason }, 'revision is active');
    this.#switchBy = Date.now() + SWITCH_MS;
  }

  /** A control plane that died between telling Envoy and telling the processors left them on the active revision. */
  async #leftBehind(newest: number): Promise<XdsResources | undefined> {
    const { database, vault, place, log } = this.#options;
    const active = await activeRevisionId(database.kysely);
    if (active === undefined || active === newest) return undefined;
    const revision = await findRevision(database.kysely, active);
    try {
      return revision && (await compileForEnvoy(database.kysely, vault, place, revision.document));
    } catch (error) {
      log.warn({ revision: active, error: (error as Error).message }, 'the active revision does not compile any more');
      return undefined;
    }
  }

  /** Waits for every live processor; false if something newer came first, which then takes this one's place. */
  async #switched(revision: number): Promise<boolean> {
    const { database, log } = this.#options;
    while (!this.#closed && !this.#filesChanged) {
      const behind = (await liveReplicas(database.kysely)).filter((replica) => replica.revision < revision);
      if (behind.length === 0) return true;
      if (Date.now() > this.#switchBy) {
        const replicas = behind.map(({ id }) => id);
        log.warn({ revision, replicas }, 'a processor has not switched; what only it needs goes now');
        return true;
      }
      if (this.#again && (await newestRevisionId(database.kysely)) !== revision) return false;
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    return false;
  }

  #filesRenewed(): void {
    this.#filesChanged = true;
    this.wake();
  }

  /** A renewed certificate reaches Envoy without a revision. */
  #watch({ settings }: RevisionDocument): void {
    const files = listenerFiles(settings.listener);
    if (this.#watching?.files === files.join('\n')) return;
    this.#watching?.close();
    this.#watching = { files: files.join('\n'), ...watchFiles(files, () => this.#filesRenewed()) };
  }
}
