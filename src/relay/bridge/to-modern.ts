/**
 * A legacy client's call to a modern upstream. What the upstream needs from the client it asks for in its result; here that
 * becomes requests on the call's stream, and their answers another round (MCP 2026-07-28, "Multi Round-Trip Requests").
 */
import { startDeadline } from '../../egress/deadline.ts';
import type { Exchange, Session } from '../../exchange/exchange.ts';
import { type Problem, problems } from '../../exchange/problem.ts';
import { idText } from '../../mcp/envelope.ts';
import type { ResponseEnvelope } from '../../mcp/response.ts';
import { logLevelFor } from '../../routing/route.ts';
import type { Connection } from '../../snapshot/snapshot.ts';
import { type InputRequired, mayBeMade, readInputRequired, retryMembers } from '../../translate/input-required.ts';
import { Translation } from '../../translate/translation.ts';
import type { RelayWorld } from '../world.ts';
import { askClient } from './ask-client.ts';
import { bridgeProblems } from './bridge-problems.ts';
import { failedCall, type OpenedCall, openCall } from './open-call.ts';
import type { Questions } from './questions.ts';
import type { Reply } from './reply.ts';

/** As the official SDK drives it for its own legacy callers. */
const MAX_ROUNDS = 8;
/** What the user may take in all. Seconds. */
const PATIENCE_S = 600;

interface Bridged {
  readonly exchange: Exchange;
  readonly connection: Connection;
  readonly session: Session;
  readonly reply: Reply;
  readonly questions: Questions;
  readonly world: RelayWorld;
  /** Aborted when the client took its request back, or is gone: it could not come back to this stream. */
  readonly ended: AbortSignal;
}

export async function callModern(
  exchange: Exchange,
  connection: Connection,
  reply: Reply,
  questions: Questions,
  world: RelayWorld,
): Promise<void> {
  const { session, envelope } = exchange;
  if (session === undefined || envelope === undefined) throw new Error('a legacy call without its session');
  const ended = new AbortController();
  const end = (): void => ended.abort(new Error('the call was taken back'));
  reply.gone.addEventListener('abort', end, { once: true });
  const landed = world.inFlight.add(session.id, idText(envelope), end);
  try {
    const outcome = await rounds({ exchange, connection, session, reply, questions, world, ended: ended.signal });
    if (Buffer.isBuffer(outcome)) reply.finish(outcome);
    else reply.refuse(outcome);
  } catch (error) {
    if (!ended.signal.aborted) throw error;
    reply.endWithoutAnswer();
  } finally {
    landed();
  }
}

/** Resolves with the answer's bytes; rejects when the client has ended the call. */
async function rounds(bridged: Bridged): Promise<Buffer | Problem> {
  const { connection, ended } = bridged;
  const patience = startDeadline(PATIENCE_S * 1000, ended);
  try {
    let params: string | undefined;
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const outcome = await oneRound(bridged, params);
      if (Buffer.isBuffer(outcome) || 'code' in outcome) return outcome;
      const answers = await answersTo(outcome, bridged, patience.signal);
      if ('code' in answers) return answers;
      params = retryMembers(answers, outcome.state);
    }
    return problems.upstreamError(connection.name, `it asked for input more than ${MAX_ROUNDS} times`);
  } finally {
    patience.release();
  }
}

async function answersTo(
  { requests }: InputRequired,
  bridged: Bridged,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Buffer> | Problem> {
  const { exchange, connection, ended } = bridged;
  if (requests.length === 0) return new Map();
  const capabilities = exchange.client?.capabilities;
  const foreign = requests.find((request) => capabilities === undefined || !mayBeMade(request, capabilities));
  if (foreign !== undefined) return problems.needsInput(connection.name, foreign.method.slice(0, 60));
  try {
    return await askClient(requests, { ...bridged, connection: connection.name }, signal);
  } catch (error) {
    if (ended.aborted || !signal.aborted) throw error;
    return bridgeProblems.noInputInTime(connection.name, PATIENCE_S);
  }
}

/** One request upstream: the answer, or what the upstream needs first. */
async function oneRound(bridged: Bridged, params: string | undefined): Promise<Buffer | Problem | InputRequired> {
  const { exchange, connection, session, world, ended } = bridged;
  const deadline = startDeadline(connection.timeoutMs, ended);
  let opened: OpenedCall | undefined;
  try {
    const options = {
      capabilities: session.capabilities,
      logLevel: await logLevelFor(connection, session.id, world),
      freshId: true,
      ...(params === undefined || params === '' ? {} : { params }),
    };
    opened = await openCall(exchange, connection, options, world, deadline.signal);
    return await answerOf(opened, bridged, deadline.signal);
  } catch (error) {
    opened?.answer.close();
    if (ended.aborted) throw error;
    return failedCall(connection, error);
  } finally {
    deadline.release();
  }
}

async function answerOf(
  { call, answer }: OpenedCall,
  { exchange, connection, reply, world }: Bridged,
  signal: AbortSignal,
): Promise<Buffer | Problem | InputRequired> {
  const translation = new Translation(exchange, call, world.handles, false);
  for (;;) {
    const message = await answer.next(signal);
    if (message === undefined) return problems.upstreamError(connection.name, 'its answer ended before the response');
    const translated = translation.message(message);
    switch (translated.kind) {
      case 'pass':
        await reply.say(translated.bytes);
        break;
      case 'final':
        answer.release();
        return translated.bytes;
      case 'needs input':
        answer.release();
        return needed(connection, translated.message);
      case 'drop':
        world.log.debug({ connection: connection.name, reason: translated.reason }, 'a message was dropped');
    }
  }
}

function needed(connection: Connection, { bytes, kind, outcome }: ResponseEnvelope): InputRequired | Problem {
  // It refuses to be called by such a client at all.
  if (kind === 'error' || outcome === undefined) {
    return problems.needsInput(connection.name, 'something');
  }
  return (
    readInputRequired(bytes, outcome) ??
    problems.upstreamError(connection.name, 'it asked for input in a form that nobody can read')
  );
}
