/** `subscriptions/listen` as a processor hands it over. */
import { problems } from '../../exchange/problem.ts';
import { idText, parseEnvelope } from '../../mcp/envelope.ts';
import { readBody } from '../body.ts';
import { hasRoom, noRoom } from '../limits.ts';
import { sendProblem } from '../refusal.ts';
import type { Entry } from '../world.ts';
import { callerNow } from './caller.ts';
import { honour, readFilter } from './filter.ts';
import { Listen } from './listen.ts';

export const listen: Entry = async (request, response, world, ticket) => {
  const snapshot = world.snapshot();
  if (ticket === undefined || snapshot === undefined) {
    sendProblem(response, problems.starting());
    return;
  }
  const { maxRequestBytes } = snapshot.settings;
  const body = await readBody(request, maxRequestBytes);
  if (body === undefined) {
    sendProblem(response, problems.tooLarge(maxRequestBytes));
    return;
  }
  // A processor has read it before.
  const envelope = parseEnvelope(body);
  const id = idText(envelope);
  const filter = readFilter(envelope);
  const caller = callerNow(ticket.principal, ticket.namespace, snapshot, world);
  if (typeof filter === 'string') sendProblem(response, problems.badParams(filter), id);
  else if (caller === undefined) sendProblem(response, problems.notFound(ticket.namespace), id);
  else if (!hasRoom(world)) sendProblem(response, noRoom(), id);
  else {
    const honoured = honour(filter, caller.namespace, caller.persona);
    new Listen(response, world, { principal: ticket.principal, caller, id, honoured });
  }
};
