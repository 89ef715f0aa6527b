/**
 * HTTP+SSE clients (MCP 2024-11-05, "HTTP with SSE"): an adapter in front of the streamable HTTP endpoint. A GET opens the
 * client's stream and tells where its messages go; each of them passes the gateway's own front door as if the client
 * had sent it there.
 */
import { type Problem, problems } from '../../exchange/problem.ts';
import { record } from '../arrival.ts';
import { TooLarge, TooMuch } from '../batch/allowance.ts';
import type { Entry, RelayRequest, RelayResponse, RelayWorld } from '../world.ts';
import { type Arrival, arrive, refuse } from './arrival.ts';
import { ClientStream } from './client-stream.ts';
import { openAddress, sealAddress } from './endpoint-value.ts';
import { createPeers } from './peers.ts';

export interface SseClientsOptions {
  /** Streams of this process, and of one principal. Each costs two more connections inside. */
  readonly maxStreams?: number;
  readonly maxStreamsOfOne?: number;
}

/** The entry for both of a client's URLs, and for messages that another relay passes on. */
export function createSseClients({ maxStreams = 2000, maxStreamsOfOne = 100 }: SseClientsOptions = {}): Entry {
  const streams = new Map<string, { readonly stream: ClientStream; readonly binding: string }>();
  const peers = createPeers();

  function open(request: RelayRequest, response: RelayResponse, world: RelayWorld, arrival: Arrival): void {
    // It would never tell of its end.
    if (response.stream.destroyed) return;
    const { exchange, principal } = arrival;
    const { binding } = principal;
    let own = 0;
    for (const other of streams.values()) if (other.binding === binding) own++;
    if (streams.size >= maxStreams || own >= maxStreamsOfOne) {
      refuse(exchange, response, world, tooMany('event streams are open. Close one, or try again later'));
      return;
    }
    const stream = new ClientStream(arrival, request, response, world, () => streams.delete(stream.id));
    streams.set(stream.id, { stream, binding });
    const value = sealAddress(world.vault, arrival, { relayId: world.relayId, streamId: stream.id });
    stream.tell(`${arrival.paths.messages}?session=${value}`);
  }

  async function message(
    request: RelayRequest,
    response: RelayResponse,
    world: RelayWorld,
    arrival: Arrival,
    isPassed: boolean,
  ): Promise<void> {
    const { exchange } = arrival;
    const address = openAddress(world.vault, arrival, request.url);
    if (address === undefined) return refuse(exchange, response, world, NO_STREAM);
    if (address.relayId !== world.relayId) {
      // What has come this way once goes no further, wherever an old address leads.
      const goesOn = !isPassed && (await peers.pass(address.relayId, { request, response, arrival, world }));
      if (!goesOn) refuse(exchange, response, world, NO_STREAM);
      return;
    }
    const stream = streams.get(address.streamId)?.stream;
    if (stream === undefined) return refuse(exchange, response, world, NO_STREAM);
    const limit = exchange.snapshot.settings.maxRequestBytes;
    const body = await readFor(stream, request, limit);
    if (body === undefined)
      return record(exchange, world, { verdict: 'failed', reason: 'the client went away', httpStatus: 0, bytesOut: 0 });
    if (!Buffer.isBuffer(body)) return refuse(exchange, response, world, body);
    try {
      const posted = await stream.deliver(request.headers, body);
      if (posted === undefined) refuse(exchange, response, world, tooMany('requests of yours wait for an answer'));
      else if (!response.stream.destroyed) response.writeHead(posted.status, posted.headers).end(posted.body);
    } finally {
      stream.allowance.give(body.length);
    }
  }

  return async (request, response, world, ticket) => {
    const arrival = await arrive(request, response, world);
    if (arrival === undefined) return;
    if (request.method === 'GET') open(request, response, world, arrival);
    else await message(request, response, world, arrival, ticket !== undefined);
  };
}

/** The body, whose bytes are taken from the stream's allowance; or why it is not read to its end. undefined: it broke off. */
async function readFor(
  stream: ClientStream,
  request: RelayRequest,
  limit: number,
): Promise<Buffer | Problem | undefined> {
  if (Number(request.headers['content-length'] ?? 0) > limit) return problems.tooLarge(limit);
  try {
    return await stream.allowance.read(request, limit);
  } catch (error) {
    if (error instanceof TooLarge) return problems.tooLarge(limit);
    if (error instanceof TooMuch) return tooMany('bytes of yours are waiting. Send less at a time');
    if (request.stream.destroyed) return undefined;
    throw error;
  }
}

const NO_STREAM: Problem = {
  ...problems.sessionUnknown('no event stream of this caller under this value'),
  message: 'There is no event stream of yours for this URL: it has ended. Connect again with GET.',
};

const tooMany = (what: string): Problem => ({
  ...problems.starting(),
  code: 'too_many',
  status: 429,
  rpcCode: -32000,
  verdict: 'limited',
  message: `Too many ${what}.`,
});
