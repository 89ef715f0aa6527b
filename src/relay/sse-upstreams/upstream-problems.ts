/** Why an HTTP+SSE upstream could not be asked, in words that its callers can use. */
import { upstreamProblem } from '../../data-plane/upstream-problem.ts';
import { EgressError, type EgressResponse } from '../../egress/egress.ts';
import { type Problem, problems } from '../../exchange/problem.ts';
import { EventTooLarge } from '../../mcp/events.ts';
import type { Connection } from '../../snapshot/snapshot.ts';
import { tooMany } from '../limits.ts';

const MAY_HAVE_ACTED = 'The call may have had an effect; check before repeating it.';

/** From the head of what was answered; undefined: it took the request. */
export function problemOf(connection: Connection, { status, localReply }: EgressResponse): Problem | undefined {
  if (localReply !== undefined) return upstreamProblem(connection, status, new Map(), localReply, false);
  // As the upstream's own: whoever called knows what to make of it.
  if (status === 401 || status === 403) return { ...problems.credential(connection.name, status), status };
  return status >= 200 && status < 300
    ? undefined
    : problems.upstreamError(connection.name, `it answered HTTP ${status}`);
}

/** Throws what is no upstream's fault. */
export function unreached({ name }: Connection, error: unknown): Problem {
  if (error instanceof EventTooLarge) return problems.upstreamError(name, `it sent ${error.message}`);
  if (error instanceof EgressError || isBroken(error)) {
    const { message } = error as Error;
    return problems.unavailable(name, `cannot be reached (${message})`, 'Try again in a few seconds.');
  }
  throw error;
}

/** A stream of Node's that was cut, by its other end or by us. */
export const isBroken = (error: unknown): boolean =>
  error instanceof Error && ['ECONNRESET', 'ABORT_ERR', 'ERR_STREAM_PREMATURE_CLOSE', 'EPIPE'].includes(codeOf(error));

const codeOf = (error: Error): string => String((error as { code?: unknown }).code);

export const lost = ({ name }: Connection): Problem =>
  problems.unavailable(name, 'closed its event stream before it answered', MAY_HAVE_ACTED);

export const late = ({ name, timeoutMs }: Connection): Problem => ({
  ...problems.unavailable(name, `did not answer within ${Math.round(timeoutMs / 100) / 10} s`, MAY_HAVE_ACTED),
  status: 504,
});

/** To a request that its own caller has taken back. */
export const cancelled = ({ name }: Connection): Problem => ({
  ...problems.unavailable(name, 'was told to stop', 'The request was cancelled.'),
  status: 200,
  rpcCode: -32000,
});

export const stopping = ({ name }: Connection): Problem => ({
  ...problems.relayAway(),
  message: `The gateway restarts, and the MCP server behind "${name}" had not answered. ${MAY_HAVE_ACTED}`,
});

/** 503: it is no caller's fault. */
export const busy = (what: string): Problem => ({ ...tooMany(`${what}. Try again in a few seconds`), status: 503 });
