/** Batches as a processor hands them over. */
import { problems } from '../../exchange/problem.ts';
import { readBody } from '../body.ts';
import { sendProblem } from '../refusal.ts';
import type { Entry } from '../world.ts';
import { answerBatch } from './batch.ts';

export const batch: Entry = async (request, response, world, ticket) => {
  const limit = world.snapshot()?.settings.maxRequestBytes ?? 0;
  const body = await readBody(request, limit);
  if (body === undefined) sendProblem(response, problems.tooLarge(limit));
  else if (ticket === undefined || ticket.session === null) sendProblem(response, problems.sessionMissing());
  else {
    const { namespace, session } = ticket;
    const { front, pulse } = world;
    await answerBatch({ path: `/${namespace}/mcp`, session, headers: request.headers, body, response, front, pulse });
  }
};
