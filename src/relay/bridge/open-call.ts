/** Makes a call at its upstream, through egress, on the session that this client has with it. */
import type { IncomingMessage } from 'node:http';
import { upstreamProblem as problemOfAnswer } from '../../data-plane/upstream-problem.ts';
import { EgressError, type EgressResponse } from '../../egress/egress.ts';
import { readAll } from '../../egress/post.ts';
import { UpstreamError } from '../../egress/upstream-client.ts';
import type { Exchange, UpstreamCall, UpstreamSession } from '../../exchange/exchange.ts';
import { type Problem, problems } from '../../exchange/problem.ts';
import { idText } from '../../mcp/envelope.ts';
import { parseResponse } from '../../mcp/response.ts';
import { cancelUpstream } from '../../routing/cancel.ts';
import { type OutgoingOptions, outgoing, upstreamHeaders } from '../../routing/outgoing.ts';
import { upstreamProblem } from '../../routing/route.ts';
import { ownerOf } from '../../sessions/owner.ts';
import { eraTowards } from '../../snapshot/era.ts';
import type { Connection } from '../../snapshot/snapshot.ts';
import type { RelayWorld } from '../world.ts';
import {
  BrokenAnswer,
  MAX_MESSAGE_BYTES,
  messagesOf,
  oneMessage,
  type Resume,
  UpstreamAnswer,
} from './upstream-answer.ts';

export interface OpenedCall {
  readonly call: UpstreamCall;
  readonly answer: UpstreamAnswer;
}

/** `signal`: until the answer has begun; from then on the call ends with `answer.close()`. */
export async function openCall(
  exchange: Exchange,
  connection: Connection,
  options: Omit<OutgoingOptions, 'session' | 'owner'>,
  world: RelayWorld,
  signal: AbortSignal,
): Promise<OpenedCall | Problem> {
  const stop = new AbortController();
  let sent: UpstreamCall | undefined;
  const give = (): void => stop.abort(signal.reason);
  if (signal.aborted) give();
  signal.addEventListener('abort', give, { once: true });
  try {
    return await open(exchange, connection, options, world, stop, (call) => {
      sent = call;
    });
  } catch (error) {
    stop.abort();
    if (signal.aborted && sent !== undefined) cancelUpstream(exchange, sent, world, 'the request was ended');
    if (signal.aborted) throw signal.reason;
    return failedCall(connection, error);
  } finally {
    signal.removeEventListener('abort', give);
  }
}

/** Why a call broke, as its caller should hear it. Throws what is no upstream's fault. */
export function failedCall(connection: Connection, error: unknown): Problem {
  if (error instanceof EgressError || error instanceof UpstreamError) return upstreamProblem(connection, error);
  if (error instanceof BrokenAnswer) return problems.upstreamError(connection.name, error.message);
  if (error instanceof DOMException && error.name === 'TimeoutError') {
    return problems.unavailable(
      connection.name,
      `did not answer within ${Math.round(connection.timeoutMs / 100) / 10} s`,
      'The call may have had an effect; check before repeating it.',
    );
  }
  throw error;
}

async function open(
  exchange: Exchange,
  connection: Connection,
  options: Omit<OutgoingOptions, 'session' | 'owner'>,
  world: RelayWorld,
  stop: AbortController,
  onSend: (call: UpstreamCall) => void,
): Promise<OpenedCall | Problem> {
  const { client, principal, session: downstream } = exchange;
  if (client === undefined || principal === undefined) throw new Error('a call before its client is known');
  const owner = ownerOf(connection, client, downstream, principal, exchange.at);
  const isModern = eraTowards(connection, client.era) === 'modern';
  let session = isModern ? undefined : await world.upstreamSessions.acquire(connection, owner);
  for (let isFirst = true; ; isFirst = false) {
    const call = outgoing(exchange, connection, { ...options, session, owner });
    const { path, body } = call;
    const headers = Object.fromEntries(call.headers);
    onSend(call);
    const response = await world.egress.send(connection, {
      method: 'POST',
      path,
      headers,
      body,
      signal: stop.signal,
      stream: true,
    });
    const whole = isEventStream(response) ? undefined : await readAll(response.body, MAX_MESSAGE_BYTES);
    if (isFirst && session !== undefined && isLostSession(response, whole)) {
      session = await world.upstreamSessions.replace(connection, owner, session);
      continue;
    }
    const problem = problemWith(connection, response, whole);
    if (problem !== undefined) return problem;
    const resume = resumption(exchange, connection, session, world, stop.signal);
    const messages = whole === undefined ? messagesOf(response.body, resume, stop.signal) : oneMessage(whole);
    return { call, answer: new UpstreamAnswer(messages, stop) };
  }
}

const isEventStream = ({ headers, status }: EgressResponse): boolean =>
  status === 200 && /^text\/event-stream\s*(?:;|$)/i.test(headers['content-type'] ?? '');

/** 404 says that the session is gone, before anything ran. Many servers say 400: then the body tells which it is. */
function isLostSession({ status, localReply }: EgressResponse, whole: Buffer | undefined): boolean {
  if (localReply !== undefined || whole === undefined) return false;
  if (status === 404) return true;
  if (status !== 400) return false;
  const error = parseResponse(whole);
  return /session/i.test(whole.toString('utf8', 0, 4096)) || (error?.kind === 'error' && idText(error) === 'null');
}

function problemWith(connection: Connection, response: EgressResponse, whole: Buffer | undefined): Problem | undefined {
  const { status, headers, localReply } = response;
  const map = new Map(
    Object.entries(headers).flatMap(([name, value]) => (typeof value === 'string' ? [[name, value] as const] : [])),
  );
  const problem = problemOfAnswer(connection, status, map, localReply, whole === undefined || whole.length > 0);
  if (problem !== undefined || status < 300 || whole === undefined) return problem;
  // An error page with a result in it is no answer.
  return parseResponse(whole)?.kind === 'error'
    ? undefined
    : problems.upstreamError(connection.name, `it answered HTTP ${status}`);
}

function resumption(
  exchange: Exchange,
  connection: Connection,
  session: UpstreamSession | undefined,
  world: RelayWorld,
  signal: AbortSignal,
): Resume | undefined {
  if (session === undefined) return undefined;
  return async (lastEventId): Promise<IncomingMessage | undefined> => {
    const { 'content-type': _, ...headers } = Object.fromEntries(upstreamHeaders(exchange, connection, session));
    const response = await world.egress.send(connection, {
      method: 'GET',
      path: connection.path,
      headers: { ...headers, accept: 'text/event-stream', 'last-event-id': lastEventId },
      signal,
      stream: true,
    });
    if (isEventStream(response)) return response.body;
    response.body.resume();
    return undefined;
  };
}
