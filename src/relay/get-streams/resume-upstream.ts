/**
 * The stream of a call broke, and its upstream numbers its events: the client comes back with the last one it saw, and the
 * upstream itself goes on from there (MCP 2025-11-25 transports, "Resumability and Redelivery").
 */
import { answerUpstream } from '../../egress/tell.ts';
import type { Exchange } from '../../exchange/exchange.ts';
import { clientCapabilities } from '../../mcp/capabilities.ts';
import { formatEvent } from '../../mcp/events.ts';
import { JsonError } from '../../mcp/json.ts';
import { parseResponse } from '../../mcp/response.ts';
import { splice } from '../../mcp/splice.ts';
import { decideConnection } from '../../policy/decide.ts';
import type { Persona, Snapshot } from '../../snapshot/snapshot.ts';
import { mayHearOf } from '../../translate/hearing.ts';
import type { Names } from '../../translate/names.ts';
import { nameEdits } from '../../translate/names.ts';
import { unrelatedMessage } from '../../translate/unrelated.ts';
import { keptHead, record } from '../arrival.ts';
import { callerAgain } from '../caller.ts';
import { EventStream } from '../stream.ts';
import { openGet } from '../upstream/follow-get.ts';
import { isEventStream, readEvents } from '../upstream/read-events.ts';
import type { RelayResponse, RelayWorld } from '../world.ts';

/** False: there is nothing to go on with, and nothing has been answered. */
export async function resumeUpstream(
  exchange: Exchange,
  response: RelayResponse,
  world: RelayWorld,
  connectionName: string,
  lastEventId: string,
): Promise<boolean> {
  const { session, namespace, persona, principal } = exchange;
  const connection = namespace?.connections.find(({ name }) => name === connectionName);
  if (session === undefined || connection === undefined || principal === undefined) return false;
  if (!decideConnection(persona, connection.name).allowed) return false;
  const open = await world.upstreamSessions.open(session.id);
  const upstream = open.find(({ connectionId }) => connectionId === connection.id)?.session;
  if (upstream === undefined) return false;
  const gone = new AbortController();
  response.stream.once('close', () => gone.abort());
  if (response.stream.destroyed) return true;
  const answer = await openGet(world.egress, connection, upstream, gone.signal, lastEventId).catch(() => undefined);
  if (answer === undefined) return gone.signal.aborted;
  if (answer.status !== 200 || answer.localReply !== undefined || !isEventStream(answer.headers)) {
    answer.body.resume();
    return false;
  }
  const names: Names = {
    handles: world.handles,
    connection,
    uris: (namespace as NonNullable<typeof namespace>).uris,
    owner: principal.binding,
  };
  const asked = { sessionId: session.id, capabilities: clientCapabilities(session.capabilities), names };
  const wrapId = (id: string | undefined): string | undefined =>
    id === undefined || id === '' ? undefined : world.handles.wrap('event', session.id, [connection.name, id]);
  const head = keptHead(exchange.head);
  const stream = new EventStream(response, world.pulse, () => {
    world.watched.remove(watched);
    record(exchange, world, { verdict: 'allowed', httpStatus: 200, bytesOut: stream.bytesOut });
  });
  const watched = {
    sessionId: session.id,
    expiresAt: session.expiresAt,
    look: (now: Snapshot) => {
      if (callerAgain(head, principal.binding, now, world) === undefined) stream.end();
    },
    end: () => stream.end(),
    drain: () => stream.end({ retryMs: 1000 }),
  };
  world.watched.add(watched);
  try {
    for await (const { data, id, retryMs } of readEvents(answer.body)) {
      const retry = retryMs === undefined ? undefined : String(retryMs);
      if (data === undefined) {
        if (id !== undefined) stream.write(formatEvent(Buffer.alloc(0), { id: wrapId(id), retry }));
        continue;
      }
      const heard = unrelatedMessage(data, asked, true);
      if (heard.kind === 'reply') answerUpstream(world, connection, upstream, heard.message);
      if (heard.kind !== 'pass' || !mayPass(data, connection.name, persona)) continue;
      stream.write(formatEvent(withNames(heard.bytes, names), { id: wrapId(id), retry }));
      await stream.drained();
    }
  } catch (error) {
    if (!gone.signal.aborted)
      world.log.debug({ connection: connection.name, error: String(error) }, 'a resumed stream broke off');
  }
  stream.end();
  return true;
}

/** What is told of a resource is told to those who may read it. */
function mayPass(data: Buffer, connection: string, persona: Persona | undefined): boolean {
  const message = parseResponse(data);
  return message?.method !== 'notifications/resources/updated' || mayHearOf(message, connection, persona);
}

/** Of a response; everything else has been renamed already. */
function withNames(bytes: Buffer, names: Names): Buffer {
  try {
    const message = parseResponse(bytes);
    if (message === undefined || message.kind === 'message' || message.outcome === undefined) return bytes;
    return splice(bytes, nameEdits(bytes, message.outcome, message.kind, names));
  } catch (error) {
    if (error instanceof JsonError) return bytes;
    throw error;
  }
}
