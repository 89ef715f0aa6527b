/** What the relay's entries are given, and may ask beside what every step may. */
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import type { World } from '../data-plane/world.ts';
import type { Snapshot } from '../snapshot/snapshot.ts';
import type { Front } from './front.ts';
import type { Peers } from './peers.ts';
import type { Pulse } from './pulse.ts';
import type { RelayStore } from './relay-store.ts';
import type { Ticket } from './ticket.ts';
import type { WatchList } from './watched.ts';

/** One request of Envoy's; Node's HTTP/2 in the form that resembles `node:http`. */
export type RelayRequest = Http2ServerRequest;
export type RelayResponse = Http2ServerResponse;

export interface RelayWorld extends World {
  /** Of this process, as other replicas find it in `replicas`. */
  readonly relayId: string;
  readonly front: Front;
  readonly peers: Peers;
  readonly store: RelayStore;
  readonly pulse: Pulse;
  readonly watched: WatchList;
  /** Aborted from the moment the relay was told to stop: what would live long is not begun any more. */
  readonly stopping: AbortSignal;
}

/** Serves a request that comes straight from a client, to its end. */
export type Entry = (request: RelayRequest, response: RelayResponse, world: RelayWorld) => Promise<void> | void;

/** A request with a processor's decision. */
export interface Errand {
  readonly request: RelayRequest;
  readonly response: RelayResponse;
  readonly ticket: Ticket;
  /** Empty unless it is a POST. */
  readonly body: Buffer;
  readonly snapshot: Snapshot;
  readonly world: RelayWorld;
}

/** Serves one to its end. */
export type WorkEntry = (errand: Errand) => Promise<void> | void;
