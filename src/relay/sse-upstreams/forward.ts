/** Requests of a session that another relay holds. */
import { problems } from '../../exchange/problem.ts';
import { FORWARDED_HEADER, type Peers } from '../bridge/peers.ts';
import { sendProblem } from '../refusal.ts';
import type { RelayRequest, RelayResponse, RelayWorld } from '../world.ts';

export interface Forwarded {
  readonly request: RelayRequest;
  readonly body: Buffer;
  readonly response: RelayResponse;
  readonly world: RelayWorld;
  /** Of the request, JSON text. */
  readonly id: string;
}

/** Answers, in whatever way it ends. */
export async function forward(peers: Peers, relayId: string, forwarded: Forwarded): Promise<void> {
  const { request, body, response, world, id } = forwarded;
  // What has come this way once goes no further, wherever an old address leads.
  const isSecond = request.headers[FORWARDED_HEADER] !== undefined;
  const address = isSecond ? undefined : await world.store.addressOf(relayId);
  const how = address === undefined ? 'unreached' : await peers.pass(address, request, body, response, { all: true });
  if (how === 'passed') return;
  // Nothing was done there: the caller opens another session and asks again. Else only the caller knows whether it may.
  sendProblem(response, how === 'unreached' ? problems.sessionUnknown('its relay is gone') : problems.relayAway(), id);
}
