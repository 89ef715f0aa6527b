/** Step: messages that expect no answer: what a client notifies of, and what it answers to an upstream's request. */
import type { World } from '../data-plane/world.ts';
import { startDeadline } from '../egress/deadline.ts';
import { tell } from '../egress/tell.ts';
import type { Answer, Exchange, Session, Step, StepResult, UpstreamSession } from '../exchange/exchange.ts';
import { refuse } from '../exchange/exchange.ts';
import { problems } from '../exchange/problem.ts';
import type { Envelope } from '../mcp/envelope.ts';
import { stringAt, walkObject } from '../mcp/json.ts';
import type { Connection } from '../snapshot/snapshot.ts';

export const takeMessage: Step<World> = {
  name: 'take message',
  needs: ['envelope', 'client'],
  gives: ['target', 'connection', 'question'],
  run(exchange, world): StepResult | Promise<StepResult> {
    const { envelope, session, client } = exchange;
    if (envelope === undefined || envelope.kind === 'request') return undefined;
    // Modern clients say everything with requests; what they notify of is accepted and means nothing here.
    if (client?.era !== 'legacy' || session === undefined) return ACCEPTED;
    if (envelope.kind === 'response') return answerToUpstream(exchange, session, envelope, world);
    switch (envelope.method) {
      case 'notifications/cancelled':
        return cancel(session, envelope, world);
      case 'notifications/roots/list_changed':
        return tellUpstreams(exchange, session, envelope, world);
      case 'notifications/progress':
        return progress(exchange, session, envelope, world);
      default:
        return ACCEPTED;
    }
  },
};

const ACCEPTED: Answer = { kind: 'answer', status: 202, headers: [], body: [] };

/** The id says who asked: an upstream on this session, or a relay on an upstream's behalf. */
function answerToUpstream(exchange: Exchange, session: Session, envelope: Envelope, world: World): StepResult {
  const { bytes, id } = envelope;
  const handle = id !== undefined && bytes[id.start] === 0x22 ? stringAt(bytes, id.start, id.end) : '';
  const parts = world.handles.unwrap('request', session.id, handle);
  // To a request that was never made, or of another session.
  if (parts === undefined || id === undefined) return refuse(problems.unknownQuestion());
  const [connectionName = '', original = '', question = ''] = parts;
  if (connectionName === '') {
    exchange.question = [original, question];
    return undefined;
  }
  return toConnection(exchange, connectionName, handle, original, [{ ...id, with: original }]);
}

/** Progress on an upstream's own request; its token was wrapped on the way out. */
function progress(exchange: Exchange, session: Session, envelope: Envelope, world: World): StepResult {
  const { bytes, progressToken: span } = envelope;
  const handle = span !== undefined && bytes[span.start] === 0x22 ? stringAt(bytes, span.start, span.end) : '';
  const [connectionName, original] = world.handles.unwrap('progress', session.id, handle) ?? [];
  if (connectionName === undefined || original === undefined || span === undefined) return ACCEPTED;
  return toConnection(exchange, connectionName, handle, original, [{ ...span, with: original }]);
}

function toConnection(
  exchange: Exchange,
  name: string,
  wireName: string,
  upstreamName: string,
  edits: readonly { start: number; end: number; with: string }[],
): StepResult {
  const connection = exchange.namespace?.connections.find((one) => one.name === name);
  if (connection === undefined) return refuse(problems.unknownQuestion());
  exchange.connection = connection;
  exchange.target = { connection, kind: 'session', wireName, upstreamName, item: undefined, edits };
  return undefined;
}

/** To the one upstream that has the call, wherever that call is being answered; an unknown one is ignored (MCP cancellation). */
function cancel(session: Session, envelope: Envelope, world: World): Answer | Promise<Answer> {
  const { bytes, cancels: span } = envelope;
  if (span === undefined) return ACCEPTED;
  const id = bytes.toString('utf8', span.start, span.end).slice(0, 200);
  const reason = reasonOf(envelope);
  if (world.inFlight.cancel(session.id, id, reason)) return ACCEPTED;
  return world.sessionStore.broadcastCancel({ sessionId: session.id, id, reason }).then(
    () => ACCEPTED,
    (error: unknown) => {
      world.log.warn({ error: String(error) }, 'a cancellation did not reach the other processes');
      return ACCEPTED;
    },
  );
}

/** The client's words, bounded: it travels in a NOTIFY. */
function reasonOf({ bytes, params }: Envelope): string | undefined {
  let reason: string | undefined;
  if (params === undefined) return undefined;
  walkObject(bytes, params.start, 1, (key, start, end) => {
    if (key === 'reason' && bytes[start] === 0x22) reason = stringAt(bytes, start, end).slice(0, 500);
  });
  return reason;
}

/** To every upstream that this session has talked to. The client need not wait for them. */
async function tellUpstreams(exchange: Exchange, session: Session, envelope: Envelope, world: World): Promise<Answer> {
  const message = envelope.bytes.toString('utf8');
  void forEachUpstream(exchange, session, world, (connection, upstream, signal) =>
    tell(world.egress, connection, upstream, message, signal),
  );
  return ACCEPTED;
}

const TELL_MS = 5000;

/** Does something with every upstream session that is open for a downstream one; failures are for the log. */
export async function forEachUpstream(
  { tenant }: Exchange,
  session: Session,
  { upstreamSessions, log }: World,
  work: (connection: Connection, upstream: UpstreamSession, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const connections = new Map([...(tenant?.connections.values() ?? [])].map((one) => [one.id, one]));
  const deadline = startDeadline(TELL_MS);
  try {
    const open = await upstreamSessions.open(session.id);
    await Promise.all(
      open.map(async ({ connectionId, session: upstream }) => {
        const connection = connections.get(connectionId);
        if (connection === undefined) return;
        await work(connection, upstream, deadline.signal).catch((error: unknown) =>
          log.debug({ connection: connection.name, error: String(error) }, 'an upstream was not told'),
        );
      }),
    );
  } catch (error) {
    log.warn({ error: String(error), session: session.id }, 'the upstreams of a session could not be told');
  } finally {
    deadline.release();
  }
}
