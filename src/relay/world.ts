/** What the relay's entries may ask, beside what every step may. */
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import type { World } from '../data-plane/world.ts';
import type { Front } from './front.ts';
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
  readonly store: RelayStore;
  readonly pulse: Pulse;
  readonly watched: WatchList;
  /** Aborted from the moment the relay was told to stop: what would live long is not begun any more. */
  readonly stopping: AbortSignal;
}

/** Serves one request to its end. `ticket`: the processor's decision on a POST to the MCP endpoint. */
export type Entry = (
  request: RelayRequest,
  response: RelayResponse,
  world: RelayWorld,
  ticket: Ticket | undefined,
) => Promise<void> | void;
