import { chmodSync, rmSync } from 'node:fs';
import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import type { Logger } from '../telemetry/log.ts';
import { adsService, type DeltaRequest, type DeltaResponse } from '../wire.ts';
import type { XdsResources } from './compile.ts';
import { EnvoyStream, type Rejection } from './envoy-stream.ts';
import { KINDS, type Kind } from './type-urls.ts';

export type { Rejection } from './envoy-stream.ts';

/** The control plane's xDS server: delta ADS for any number of Envoys. */
export interface AdsServer {
  /**
   * The state that every Envoy shall have. New and changed resources go out at once, in an order in which nothing
   * names what is not there; resources that `resources` lacks are removed afterwards. So, to change revisions without
   * a gap: publish `withPrevious(next, previous)`, wait for `acked`, let the processors switch, publish `next`.
   * Nothing is ever answered before the first call: an Envoy would take an empty answer for an order to remove
   * everything. Publishing the same again retries what was rejected, secrets excepted.
   */
  publish(resources: XdsResources): void;
  /**
   * Waits until every connected Envoy has acknowledged or rejected everything of `version`, at most `timeoutMs`.
   * Fewer Envoys than `atLeast` (default 0) are waited for too; one that comes later gets the state when it comes.
   * Never rejects.
   */
  acked(version: string, timeoutMs: number, atLeast?: number): Promise<Acknowledgement>;
  state(): AdsState;
  close(): Promise<void>;
}

export interface Acknowledgement {
  /** Envoys that have everything they accepted. */
  readonly nodes: readonly string[];
  /** Envoys that had not answered in time, or all of them if another version was published meanwhile. */
  readonly late: readonly string[];
  readonly rejections: readonly Rejection[];
}

export interface AdsState {
  /** Of what was published last; undefined before the first time. */
  readonly version: string | undefined;
  readonly nodes: readonly {
    readonly id: string;
    readonly envoyVersion: string;
    readonly connectedAt: Date;
    /** Has everything of `version`, rejections aside. */
    readonly settled: boolean;
    /** Acknowledged resources by kind: name to version. */
    readonly acknowledged: Readonly<Record<Kind, Readonly<Record<string, string>>>>;
  }[];
  readonly rejections: readonly Rejection[];
}

/** Serves on a unix socket that only this uid can open. A socket file left by a dead process is replaced. */
export async function startAds({ socketPath, log }: { socketPath: string; log: Logger }): Promise<AdsServer> {
  const streams = new Set<EnvoyStream>();
  const waiting = new Set<() => void>();
  let published: XdsResources | undefined;
  const changed = () => {
    for (const check of [...waiting]) check();
  };

  const server = new Server();
  server.addService(adsService, {
    DeltaAggregatedResources(call: ServerDuplexStream<DeltaRequest, DeltaResponse>) {
      const stream = new EnvoyStream(call, log, changed);
      streams.add(stream);
      if (published !== undefined) stream.publish(published);
      const gone = () => {
        if (!streams.delete(stream)) return;
        log.info({ node: stream.node }, 'an Envoy disconnected');
        changed();
      };
      call.on('end', () => call.end());
      for (const event of ['close', 'cancelled', 'error', 'end']) call.on(event, gone);
    },
  });
  rmSync(socketPath, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${socketPath}`, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(new Error(`The xDS socket ${socketPath} cannot be opened: ${error.message}`)),
    );
  });
  chmodSync(socketPath, 0o600);

  const rejections = () => [...streams].flatMap((stream) => stream.rejections);
  return {
    publish(resources) {
      published = resources;
      for (const stream of streams) stream.publish(resources);
      changed();
    },
    acked(version, timeoutMs, atLeast = 0) {
      return new Promise((resolve) => {
        const check = () => {
          const superseded = published?.version !== version;
          const late = [...streams].filter((stream) => superseded || !stream.settled);
          if (superseded || (late.length === 0 && streams.size >= atLeast)) finish(late);
        };
        const finish = (late: readonly EnvoyStream[]) => {
          clearTimeout(timer);
          waiting.delete(check);
          const nodes = [...streams].filter((stream) => !late.includes(stream)).map(({ node }) => node);
          resolve({ nodes, late: late.map(({ node }) => node), rejections: rejections() });
        };
        const timer = setTimeout(() => finish([...streams].filter((stream) => !stream.settled)), timeoutMs);
        waiting.add(check);
        check();
      });
    },
    state() {
      const nodes = [...streams].map((stream) => ({
        id: stream.node,
        envoyVersion: stream.envoyVersion,
        connectedAt: stream.connectedAt,
        settled: stream.settled,
        acknowledged: Object.fromEntries(KINDS.map((kind) => [kind, Object.fromEntries(stream.known(kind))])) as Record<
          Kind,
          Record<string, string>
        >,
      }));
      return { version: published?.version, nodes, rejections: rejections() };
    },
    async close() {
      server.forceShutdown();
      rmSync(socketPath, { force: true });
      changed();
    },
  };
}
