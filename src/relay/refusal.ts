/** Problems as the relay's clients get them: the same JSON-RPC errors as the processor's. */
import type { Problem } from '../exchange/problem.ts';
import type { RelayResponse } from './world.ts';

/** Answers and ends. Returns how many bytes the body had. `id`: text of the request's id. */
export function sendProblem(response: RelayResponse, problem: Problem, id = 'null'): number {
  const error = `{"code":${problem.rpcCode},"message":${JSON.stringify(problem.message)}}`;
  const body = Buffer.from(`{"jsonrpc":"2.0","id":${id},"error":${error}}`);
  if (response.headersSent || response.stream.destroyed) return 0;
  response.writeHead(problem.status, {
    'content-type': 'application/json',
    'content-length': body.length,
    ...Object.fromEntries(problem.headers),
  });
  response.end(body);
  return body.length;
}
