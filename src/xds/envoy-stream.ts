import type { ServerDuplexStream } from '@grpc/grpc-js';
import type { Logger } from '../telemetry/log.ts';
import type { DeltaRequest, DeltaResponse } from '../wire.ts';
import type { XdsResource, XdsResources } from './compile.ts';
import { KIND_TYPE, KINDS, type Kind } from './type-urls.ts';

/** A resource that one Envoy refused; it keeps what it had before. */
export interface Rejection {
  readonly node: string;
  readonly kind: Kind;
  readonly typeUrl: string;
  readonly resource: string;
  readonly version: string;
  /** Envoy's own words. */
  readonly error: string;
  readonly at: Date;
}

/** What is known about one kind of resource at one Envoy. */
interface Kindred {
  /** Envoy has asked for this kind on this stream. */
  asked: boolean;
  /** All of them, or those named. */
  wildcard: boolean;
  readonly names: Set<string>;
  /** What Envoy has, as it said or acknowledged: name to version. */
  readonly known: Map<string, string>;
  readonly rejected: Map<string, Rejection>;
  /** Rejected ones that get another try. */
  retry: Set<string>;
  /** At most one response awaits its answer. */
  inFlight:
    | { readonly nonce: string; readonly resources: readonly XdsResource[]; readonly removed: readonly string[] }
    | undefined;
  /** Parts of a batch that was refused, to be sent apart. */
  parts: XdsResource[][];
  /** Something was sent; an Envoy that starts waits even for an empty answer. */
  answered: boolean;
}

/**
 * One Envoy's delta ADS stream. Additions go out kind by kind (secrets, clusters, listeners, routes: whatever is named
 * is there before what names it), each kind after Envoy has answered the one before; removals come last, in reverse.
 *
 * A refused response says that something in it was bad, and nothing in it counts as received. So a refused batch is
 * halved until the bad resource stands alone: that one is remembered as rejected, all others arrive.
 * Secrets go one by one, and a rejected one never again in the same version: Envoy takes one that it has seen before
 * for unchanged, and acknowledges it without a look.
 * Protocol: https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#incremental-xds
 */
export class EnvoyStream {
  node = '';
  envoyVersion = '';
  readonly connectedAt = new Date();
  readonly #call: ServerDuplexStream<DeltaRequest, DeltaResponse>;
  readonly #log: Logger;
  readonly #changed: () => void;
  readonly #kinds: Readonly<Record<Kind, Kindred>> = {
    secrets: newKindred(false),
    clusters: newKindred(true),
    listeners: newKindred(true),
    routes: newKindred(false),
  };
  #published: XdsResources | undefined;
  #nonce = 0;

  constructor(call: ServerDuplexStream<DeltaRequest, DeltaResponse>, log: Logger, changed: () => void) {
    this.#call = call;
    this.#log = log;
    this.#changed = changed;
    call.on('data', (request: DeltaRequest) => this.#receive(request));
  }

  /** The state that this Envoy shall have from now on. Publishing it again gives rejected resources (but secrets) another try. */
  publish(resources: XdsResources): void {
    this.#published = resources;
    for (const kind of KINDS) {
      const state = this.#kinds[kind];
      for (const name of state.rejected.keys()) {
        const version = resources[kind].get(name)?.version;
        // Retired, or what Envoy still has of before is wanted again.
        if (version === undefined || version === state.known.get(name)) state.rejected.delete(name);
      }
      state.retry = new Set(kind === 'secrets' ? [] : state.rejected.keys());
      state.parts = [];
    }
    this.#advance();
  }

  /** Everything published is acknowledged or rejected, and nothing else is left at this Envoy. */
  get settled(): boolean {
    const published = this.#published;
    if (published === undefined) return false;
    const anyRejected = KINDS.some((kind) => this.#kinds[kind].rejected.size > 0);
    return KINDS.every((kind) => {
      const state = this.#kinds[kind];
      if (state.inFlight !== undefined || this.#removable(kind).length > 0) return false;
      return [...published[kind].values()].every(
        (resource) =>
          !isPending(state, resource) ||
          // Envoy asks for what an accepted resource names; whatever a rejected one would have named, it never does.
          (anyRejected && !isWanted(state, resource.name)),
      );
    });
  }

  get rejections(): readonly Rejection[] {
    return KINDS.flatMap((kind) => [...this.#kinds[kind].rejected.values()]);
  }

  /** Name to version of what this Envoy has acknowledged. */
  known(kind: Kind): ReadonlyMap<string, string> {
    return this.#kinds[kind].known;
  }

  #receive(request: DeltaRequest): void {
    if (request.node) {
      this.node = request.node.id;
      const version = request.node.user_agent_build_version?.version;
      this.envoyVersion = version ? `${version.major_number}.${version.minor_number}.${version.patch}` : '';
      this.#log.info({ node: this.node, envoy: this.envoyVersion }, 'an Envoy connected');
    }
    const kind = KINDS.find((candidate) => KIND_TYPE[candidate] === request.type_url);
    // Kinds that we do not have (endpoints, virtual hosts) are never answered: an answer could only remove.
    if (kind === undefined) return;
    this.#subscribe(kind, request);
    if (request.response_nonce !== '') this.#settle(kind, request);
    this.#advance();
    this.#changed();
  }

  #subscribe(kind: Kind, request: DeltaRequest): void {
    const state = this.#kinds[kind];
    if (!state.asked)
      for (const [name, version] of Object.entries(request.initial_resource_versions)) state.known.set(name, version);
    for (const name of request.resource_names_subscribe) {
      if (name === '*') continue;
      // Asking anew means: send it again, whatever was sent before.
      if (state.asked) state.known.delete(name);
      state.names.add(name);
    }
    for (const name of request.resource_names_unsubscribe) {
      state.names.delete(name);
      if (!state.wildcard) state.known.delete(name);
    }
    state.asked = true;
  }

  #settle(kind: Kind, request: DeltaRequest): void {
    const state = this.#kinds[kind];
    const { inFlight } = state;
    if (inFlight === undefined || inFlight.nonce !== request.response_nonce) return;
    state.inFlight = undefined;
    for (const name of inFlight.removed) state.known.delete(name);
    // What was removed may have been in the way, a port for example.
    if (inFlight.removed.length > 0) state.retry = new Set(state.rejected.keys());
    const { resources } = inFlight;
    if (!request.error_detail) {
      for (const { name, version } of resources) {
        state.known.set(name, version);
        state.rejected.delete(name);
      }
    } else if (resources.length > 1) {
      const half = Math.ceil(resources.length / 2);
      state.parts.unshift(resources.slice(0, half), resources.slice(half));
    } else {
      this.#reject(kind, resources[0], request.error_detail.message ?? 'no reason given');
    }
  }

  #reject(kind: Kind, resource: XdsResource | undefined, error: string): void {
    const { node } = this;
    // Nothing but removals, or nothing at all: there is nothing to take back.
    if (resource === undefined) {
      this.#log.warn({ node, kind, error }, 'Envoy refused an update');
      return;
    }
    const { name, version, typeUrl } = resource;
    const state = this.#kinds[kind];
    const known = state.rejected.get(name);
    state.retry.delete(name);
    // A refused secret has replaced the one before all the same.
    if (kind === 'secrets') state.known.delete(name);
    if (known?.version === version && known.error === error) return;
    state.rejected.set(name, { node, kind, typeUrl, resource: name, version, error, at: new Date() });
    this.#log.warn({ node, kind, resource: name, error }, 'Envoy refused a resource');
  }

  #advance(): void {
    const published = this.#published;
    if (published === undefined) return;
    for (const kind of KINDS) {
      const state = this.#kinds[kind];
      if (state.inFlight !== undefined) return;
      if (!state.asked) continue;
      const wanted = nextBatch(state, published[kind]);
      const batch = kind === 'secrets' ? wanted.slice(0, 1) : wanted;
      if (batch.length > 0 || (state.wildcard && !state.answered)) {
        this.#send(kind, batch, []);
        return;
      }
    }
    for (const kind of [...KINDS].reverse()) {
      const removed = this.#removable(kind);
      if (removed.length > 0) {
        this.#send(kind, [], removed);
        return;
      }
    }
  }

  /** Only of kinds that Envoy wants all of. A named resource goes with the last that names it, and until then is missing or late, never gone. */
  #removable(kind: Kind): string[] {
    const { wildcard, known } = this.#kinds[kind];
    return wildcard ? [...known.keys()].filter((name) => this.#published?.[kind].has(name) === false) : [];
  }

  #send(kind: Kind, resources: readonly XdsResource[], removed: readonly string[]): void {
    this.#nonce += 1;
    const nonce = String(this.#nonce);
    const state = this.#kinds[kind];
    state.inFlight = { nonce, resources, removed };
    state.answered = true;
    this.#call.write({
      system_version_info: this.#published?.version ?? '',
      type_url: KIND_TYPE[kind],
      nonce,
      resources: resources.map(({ name, version, typeUrl, bytes }) => ({
        name,
        version,
        resource: { type_url: typeUrl, value: bytes },
      })),
      removed_resources: removed,
    });
  }
}

const newKindred = (wildcard: boolean): Kindred => ({
  asked: false,
  wildcard,
  names: new Set(),
  known: new Map(),
  rejected: new Map(),
  retry: new Set(),
  inFlight: undefined,
  parts: [],
  answered: false,
});

const isWanted = (state: Kindred, name: string): boolean => state.asked && (state.wildcard || state.names.has(name));

const isPending = (state: Kindred, { name, version }: XdsResource): boolean =>
  state.known.get(name) !== version && (state.rejected.get(name)?.version !== version || state.retry.has(name));

function nextBatch(state: Kindred, resources: ReadonlyMap<string, XdsResource>): readonly XdsResource[] {
  const sendable = (resource: XdsResource) => isWanted(state, resource.name) && isPending(state, resource);
  for (let part = state.parts.shift(); part !== undefined; part = state.parts.shift()) {
    const left = part.filter(sendable);
    if (left.length > 0) return left;
  }
  return [...resources.values()].filter(sendable);
}
