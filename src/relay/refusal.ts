/** Problems as the relay's clients get them: the same JSON-RPC errors as the processor's. */
import { judgementOf } from '../exchange/judgement.ts';
import { type Problem, problemBody } from '../exchange/problem.ts';
import { JUDGEMENT_HEADER } from '../snapshot/revision.ts';
import { TICKET_HEADER } from './ticket.ts';
import type { RelayResponse } from './world.ts';

/** Answers and ends. Returns how many bytes the body had. `id`: text of the request's id. */
export function sendProblem(response: RelayResponse, problem: Problem, id = 'null'): number {
  const { status, body } = problemBody(problem, id, false, 'legacy');
  if (response.headersSent || response.stream.destroyed) return 0;
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': body.length,
    ...Object.fromEntries(problem.headers),
    // With a ticket, the answer goes to a processor, which audits; without one, to a client, whom it does not concern.
    ...(response.req.headers[TICKET_HEADER] === undefined ? {} : { [JUDGEMENT_HEADER]: judgementOf(problem) }),
  });
  response.end(body);
  return body.length;
}
