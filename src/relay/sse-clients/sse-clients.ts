/**
 * HTTP+SSE clients (MCP 2024-11-05, "HTTP with SSE"): an adapter in front of the streamable HTTP endpoint. A GET opens the
 * client's stream and tells where its messages go; each of them passes the gateway's own front door as if the client
 * had sent it there.
 */
import { type Problem, problems } from '../../exchange/problem.ts';
import { openAddress, sealAddress } from '../address.ts';
import { record, refuse } from '../arrival.ts';
import { TooLarge, TooMuch } from '../batch/allowance.ts';
import { readBody } from '../body.ts';
import { ownerOf, Shares, tooMany } from '../limits.ts';
import type { Entry, RelayRequest, RelayResponse, RelayWorld } from '../world.ts';
import { type Arrival, arriveAt } from './arrival.ts';
import { ClientStream } from './client-stream.ts';

export interface SseClientsOptions {
  /** Streams of this process, and of one principal. Each costs two more connections inside. */
  readonly maxStreams?: number;
  readonly maxStreamsOfOne?: number;
}

/** The entry for both of a client's URLs. */
export function createSseClients({ maxStreams = 2000, maxStreamsOfOne = 100 }: SseClientsOptions = {}): Entry {
  const streams = new Map<string, ClientStream>();
  const shares = new Shares(maxStreamsOfOne);

  function open(request: RelayRequest, response: RelayResponse, world: RelayWorld, arrival: Arrival): void {
    // It would never tell of its end.
    if (response.stream.destroyed) return;
    const { exchange, principal } = arrival;
    const owner = ownerOf(principal);
    if (streams.size >= maxStreams || !shares.take(owner)) {
      refuse(exchange, response, world, tooMany('event streams are open. Close one, or try again later'));
      return;
    }
    const stream = new ClientStream(arrival, request, response, world, () => {
      streams.delete(stream.id);
      shares.give(owner);
    });
    streams.set(stream.id, stream);
    const value = sealAddress(world.vault, addressee(arrival), { relayId: world.relayId, id: stream.id });
    stream.tell(`${arrival.paths.messages}?session=${value}`);
  }

  async function message(
    request: RelayRequest,
    response: RelayResponse,
    world: RelayWorld,
    arrival: Arrival,
  ): Promise<void> {
    const { exchange } = arrival;
    const value = new URLSearchParams(request.url.split('?', 2)[1] ?? '').get('session') ?? '';
    const address = openAddress(world.vault, addressee(arrival), value);
    if (address === undefined) return refuse(exchange, response, world, NO_STREAM);
    const limit = exchange.snapshot.settings.maxRequestBytes;
    if (address.relayId !== world.relayId) {
      const body = await readBody(request, limit);
      if (body === undefined) return refuse(exchange, response, world, problems.tooLarge(limit));
      const how = await world.peers.pass(address.relayId, request, body, response);
      if (how !== 'passed') refuse(exchange, response, world, NO_STREAM);
      return;
    }
    const stream = streams.get(address.id);
    if (stream === undefined) return refuse(exchange, response, world, NO_STREAM);
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

  return async (request, response, world) => {
    const arrival = await arriveAt(request, response, world);
    if (arrival === undefined) return;
    if (request.method === 'GET') open(request, response, world, arrival);
    else await message(request, response, world, arrival);
  };
}

const addressee = ({ tenant, namespace, principal }: Arrival): readonly string[] => [
  'sse-stream',
  tenant,
  namespace,
  principal.binding,
];

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
