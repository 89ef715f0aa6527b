/** Why an upstream's answer, or Envoy's in its place, cannot be given to the caller, in words that help. */
import { type Problem, problems } from '../exchange/problem.ts';
import type { Connection } from '../snapshot/snapshot.ts';
import { type HeaderMap, isEventStream } from './headers.ts';

/** From the response headers alone; undefined when the answer can be read. `local`: Envoy's flags and details. */
export function upstreamProblem(
  connection: Connection,
  status: number,
  headers: HeaderMap,
  local: string | undefined,
  hasBody: boolean,
): Problem | undefined {
  if (local !== undefined) return localProblem(connection, status, local);
  if (status === 401 || status === 403) return problems.credential(connection.name, status);
  if ((headers.get('content-encoding') ?? 'identity') !== 'identity') {
    return problems.upstreamError(connection.name, 'it compressed its answer, which nobody asked for');
  }
  if (!hasBody) return problems.upstreamError(connection.name, `it answered HTTP ${status} and nothing more`);
  if (status >= 200 && status < 300) {
    if (status === 200 && (isJson(headers) || isEventStream(headers))) return undefined;
    const type = headers.get('content-type')?.slice(0, 60) ?? 'nothing';
    return problems.upstreamError(connection.name, `it answered HTTP ${status} with ${type}, which is no MCP answer`);
  }
  // Error pages stay with us: nobody knows what they say. A JSON-RPC error is the caller's.
  if (isJson(headers) && status >= 400) return undefined;
  return problems.upstreamError(connection.name, `it answered HTTP ${status}`);
}

export const isJson = (headers: HeaderMap): boolean =>
  /^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i.test(headers.get('content-type') ?? '');

/** What Envoy's flags mean for a caller (docs: "response flags"). */
function localProblem(connection: Connection, status: number, local: string): Problem {
  const retry = 'Other tools still work; try this one again in a few seconds.';
  if (status === 504 || local.startsWith('UT')) {
    const seconds = Math.round(connection.timeoutMs / 100) / 10;
    return problems.unavailable(
      connection.name,
      `did not answer within ${seconds} s`,
      'The call may have had an effect; check before repeating it.',
    );
  }
  if (local.startsWith('UO')) return problems.unavailable(connection.name, 'has too many calls in progress', retry);
  if (local.startsWith('UC')) {
    return problems.unavailable(
      connection.name,
      'closed the connection before it answered',
      'The call may have had an effect; check before repeating it.',
    );
  }
  return problems.unavailable(connection.name, 'cannot be reached', retry);
}
