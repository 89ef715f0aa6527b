/** Makes a call at its upstream, through egress, on the session that this client has with it. */
import type { IncomingMessage } from 'node:http';
import { upstreamProblem as problemOfAnswer } from '../../data-plane/upstream-problem.ts';
import { EgressError, type EgressResponse } from '../../egress/egress.ts';
import { readAll } from '../../egress/post.ts';
import { UpstreamError } from '../../egress/upstream-client.ts';
import type { Exchange, UpstreamCall, UpstreamSession } from '../../exchange/exchange.ts';
import { type Problem, problems } from '../../exchange/problem.ts';
import { parseResponse } from '../../mcp/response.ts';
import { type OutgoingOptions, outgoing, upstreamHeaders } from '../../routing/outgoing.ts';
import { speaksOfSession } from '../../routing/repeat.ts';
import { upstreamProblem } from '../../routing/route.ts';
import { ownerOf } from '../../sessions/owner.ts';
import { eraTowards } from '../../snapshot/era.ts';
import type { Connection } from '../../snapshot/snapshot.ts';
import { isEventStream } from '../upstream/read-events.ts';
import type { RelayWorld } from '../world.ts';
import { BrokenAnswer, MAX_MESSAGE_BYTES, messagesOf, type Resume, UpstreamAnswer } from './upstream-answer.ts';

export type CallOptions = Omit<OutgoingOptions, 'session' | 'owner'> & {
  /** Waited for before the call is sent; once more where its session had to be replaced. */
  readonly prepare?: (call: UpstreamCall) => Promise<void>;
};

export interface OpenedCall {
  /** As it was sent last. */
  readonly call: UpstreamCall;
  /** The call is sent with the first look at it. */
  readonly answer: UpstreamAnswer;
}

/** What came instead of an answer. */
class RefusedCall extends Error {
  readonly problem: Problem;
  constructor(problem: Problem) {
    super(problem.message);
    this.problem = problem;
  }
}

/** Throws what `failedCall` understands, and so does reading the answer. `signal`: for opening a session. */
export async function openCall(
  exchange: Exchange,
  connection: Connection,
  options: CallOptions,
  world: RelayWorld,
  signal: AbortSignal,
): Promise<OpenedCall> {
  const { client, principal, session: downstream } = exchange;
  if (client === undefined || principal === undefined) throw new Error('a call before its client is known');
  const owner = ownerOf(connection, client, downstream, principal, exchange.at);
  const isModern = eraTowards(connection, client.era) === 'modern';
  const session = isModern ? undefined : await world.upstreamSessions.acquire(connection, owner);
  let call = outgoing(exchange, connection, { ...options, session, owner });
  await options.prepare?.(call);
  signal.throwIfAborted();
  const stop = new AbortController();

  async function* messages(): AsyncGenerator<Buffer, void> {
    for (let isFirst = true; ; isFirst = false) {
      const response = await send(connection, call, world, stop.signal);
      const whole = isStream(response) ? undefined : await readAll(response.body, MAX_MESSAGE_BYTES);
      if (isFirst && call.session !== undefined && isLostSession(response, whole)) {
        const fresh = await world.upstreamSessions.replace(connection, owner, call.session);
        call = { ...call, session: fresh, headers: upstreamHeaders(exchange, connection, fresh) };
        await options.prepare?.(call);
        continue;
      }
      const problem = problemWith(connection, response, whole);
      if (problem !== undefined) throw new RefusedCall(problem);
      const resume = resumption(exchange, connection, call.session, world, stop.signal);
      if (whole === undefined) yield* messagesOf(response.body, resume, stop.signal);
      else yield whole;
      return;
    }
  }
  return {
    get call() {
      return call;
    },
    answer: new UpstreamAnswer(messages(), stop),
  };
}

function send(
  connection: Connection,
  { path, headers, body }: UpstreamCall,
  { egress }: RelayWorld,
  signal: AbortSignal,
): Promise<EgressResponse> {
  return egress.send(connection, {
    method: 'POST',
    path,
    headers: Object.fromEntries(headers),
    body,
    signal,
    stream: true,
  });
}

/** Why a call broke, as its caller should hear it. Throws what is no upstream's fault. */
export function failedCall(connection: Connection, error: unknown): Problem {
  if (error instanceof RefusedCall) return error.problem;
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

const isStream = ({ headers, status }: EgressResponse): boolean => status === 200 && isEventStream(headers);

/** 404 says that the session is gone, before anything ran. Many servers say 400: then the body tells which it is. */
function isLostSession({ status, localReply }: EgressResponse, whole: Buffer | undefined): boolean {
  if (localReply !== undefined || whole === undefined) return false;
  if (status === 404) return true;
  return status === 400 && speaksOfSession(whole);
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
    if (isStream(response)) return response.body;
    response.body.resume();
    return undefined;
  };
}
