/** `subscriptions/listen` as a processor hands it over. */
import { problems } from '../../exchange/problem.ts';
import { idText, parseEnvelope } from '../../mcp/envelope.ts';
import { callerNow } from '../caller.ts';
import { hasRoom, noRoom } from '../limits.ts';
import { sendProblem } from '../refusal.ts';
import type { WorkEntry } from '../world.ts';
import { honour, readFilter } from './filter.ts';
import { Listen } from './listen.ts';

export const listen: WorkEntry = ({ response, ticket, body, snapshot, world }) => {
  // A processor has read it before.
  const envelope = parseEnvelope(body);
  const id = idText(envelope);
  const filter = readFilter(envelope);
  const caller = callerNow(ticket, snapshot, world);
  if (typeof filter === 'string') sendProblem(response, problems.badParams(filter), id);
  else if (caller === undefined) sendProblem(response, problems.notFound(ticket.namespace), id);
  else if (!hasRoom(world)) sendProblem(response, noRoom(), id);
  else {
    const honoured = honour(filter, caller.namespace, caller.persona);
    new Listen(response, world, { principal: ticket.principal, caller, id, honoured });
  }
};
