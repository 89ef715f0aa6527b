/** Makes a call again, through egress, after its upstream session was lost. */
import type { World } from '../data-plane/world.ts';
import { startDeadline } from '../egress/deadline.ts';
import { EgressError } from '../egress/egress.ts';
import { post } from '../egress/post.ts';
import { UpstreamError } from '../egress/upstream-client.ts';
import type { Exchange, UpstreamCall } from '../exchange/exchange.ts';
import { type Problem, problems } from '../exchange/problem.ts';
import { idText } from '../mcp/envelope.ts';
import { parseResponse } from '../mcp/response.ts';
import type { Connection } from '../snapshot/snapshot.ts';
import { upstreamHeaders } from './outgoing.ts';
import { upstreamProblem } from './route.ts';

const MAX_ANSWER_BYTES = 16 << 20;

/**
 * Whether what an upstream said under HTTP 400 is about the session and not the call, which then did not run. Many servers
 * answer a lost session so, where 404 is asked for (MCP 2025-11-25 transports, "Session Management").
 */
export function speaksOfSession(body: Buffer): boolean {
  const error = parseResponse(body);
  return /session/i.test(body.toString('utf8', 0, 4096)) || (error?.kind === 'error' && idText(error) === 'null');
}

export type Repeated =
  | { readonly status: number; readonly body: Buffer }
  | { readonly problem: Problem; readonly status: number };

/** `firstStatus`: what the upstream answered to the call on the lost session. */
export async function repeatCall(
  exchange: Exchange,
  connection: Connection,
  call: UpstreamCall,
  firstStatus: number,
  world: World,
  abandoned: AbortSignal,
): Promise<Repeated> {
  if (call.owner === undefined || call.session === undefined) throw new Error('no session to replace');
  const deadline = startDeadline(connection.timeoutMs, abandoned);
  try {
    const fresh = await world.upstreamSessions.replace(connection, call.owner, call.session);
    // A cancellation is for the session that has the call now.
    exchange.upstream = { ...call, session: fresh };
    const answer = await post(world.egress, connection, call.body, {
      extraHeaders: upstreamHeaders(exchange, connection, fresh),
      path: call.path,
      maxBytes: MAX_ANSWER_BYTES,
      signal: deadline.signal,
    });
    if (answer.response !== undefined) return { status: answer.status, body: answer.response.bytes };
    // A fresh session was refused as well: it was not the session.
    const status = answer.localReply === undefined ? answer.status : firstStatus;
    return { problem: problems.upstreamError(connection.name, `it answered HTTP ${status}`), status };
  } catch (error) {
    if (!(error instanceof EgressError) && !(error instanceof UpstreamError)) throw error;
    return { problem: upstreamProblem(connection, error), status: firstStatus };
  } finally {
    deadline.release();
  }
}
