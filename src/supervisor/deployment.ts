import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from '../telemetry/log.ts';
import { type Child, type ChildSpec, supervise } from './child.ts';
import type { OpenedDatabase } from './database.ts';
import { drainEnvoy } from './envoy-admin.ts';

/** How long each stage of an orderly stop may take, in ms; together less than 5 s. */
const STOP = { relay: 1_100, drain: 1_200, envoy: 500, processors: 1_000, others: 700, database: 800 };

/** Everything that runs for one `up`, and the order in which it ends. */
export class Deployment {
  #stopping = false;
  readonly #children = new Map<string, Child>();
  readonly #pids: Record<string, number> = {};
  readonly #pidFile: string;
  #database: Promise<OpenedDatabase> | undefined;

  readonly #envoyAdmin: string;
  readonly #log: Logger;

  constructor(runtimeDir: string, envoyAdmin: string, log: Logger) {
    this.#pidFile = join(runtimeDir, 'children.json');
    this.#envoyAdmin = envoyAdmin;
    this.#log = log;
  }

  /** True once it ends: whatever is still starting should give up. */
  get stopping(): boolean {
    return this.#stopping;
  }

  /** Starts a child and keeps it running. */
  add(spec: Omit<ChildSpec, 'onPid' | 'log'>): Child {
    const child = supervise({ ...spec, log: this.#log, onPid: (pid) => this.notePid(spec.name, pid) });
    this.#children.set(spec.name, child);
    return child;
  }

  /** Takes over the database, though it may still be starting, to stop it last. */
  adopt(opening: Promise<OpenedDatabase>): Promise<OpenedDatabase> {
    this.#database = opening;
    return opening;
  }

  /** `children.json` is for `doctor`: which process is what. */
  notePid(name: string, pid: number | undefined): void {
    if (pid === undefined) delete this.#pids[name];
    else this.#pids[name] = pid;
    writeFileSync(`${this.#pidFile}.new`, `${JSON.stringify(this.#pids)}\n`, { mode: 0o600 });
    renameSync(`${this.#pidFile}.new`, this.#pidFile);
  }

  /**
   * No new requests; the relay ends its event streams, which would never end by themselves; then the answers in flight,
   * then what they left behind (audit rows), then the database.
   */
  async stop(): Promise<void> {
    this.#stopping = true;
    const envoy = this.#children.get('envoy');
    if (envoy) {
      const relays = this.#stopAll((name) => name.startsWith('relay-'), STOP.relay);
      await Promise.all([drainEnvoy(this.#envoyAdmin, STOP.drain), relays]);
      await envoy.stop(STOP.envoy);
    }
    await this.#stopAll((name) => name.startsWith('processor-'), STOP.processors);
    await this.#stopAll((name) => name !== 'envoy' && !name.startsWith('processor-'), STOP.others);
    await this.#stopDatabase(STOP.database);
  }

  /** At once: nothing is flushed, but nothing is left behind either. */
  async kill(): Promise<void> {
    this.#stopping = true;
    for (const child of this.#children.values()) child.kill();
    await this.#stopDatabase(0);
  }

  /** One that is still starting, or never did, is left to its wrapper: it ends when this process does. */
  async #stopDatabase(withinMs: number): Promise<void> {
    const tooLate = new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), withinMs).unref());
    const database = await Promise.race([this.#database, tooLate]).catch(() => undefined);
    await database?.stop(withinMs);
  }

  async #stopAll(which: (name: string) => boolean, withinMs: number): Promise<void> {
    const chosen = [...this.#children].filter(([name]) => which(name));
    await Promise.all(chosen.map(([, child]) => child.stop(withinMs)));
  }
}
