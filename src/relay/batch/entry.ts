/** Batches as a processor hands them over. */
import { problems } from '../../exchange/problem.ts';
import { sendProblem } from '../refusal.ts';
import type { WorkEntry } from '../world.ts';
import { answerBatch } from './batch.ts';

export const batch: WorkEntry = async ({ request, response, ticket, body, world }) => {
  const { namespace, session } = ticket;
  const { front, pulse } = world;
  if (session === null) sendProblem(response, problems.sessionMissing());
  else
    await answerBatch({ path: `/${namespace}/mcp`, session, headers: request.headers, body, response, front, pulse });
};
