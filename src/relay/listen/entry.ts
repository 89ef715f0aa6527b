/** `subscriptions/listen` as a processor hands it over. */
import { problems } from '../../exchange/problem.ts';
import { idText, parseEnvelope } from '../../mcp/envelope.ts';
import { callerNow } from '../caller.ts';
import { hasRoom, noRoom, ownerOf, Shares, tooMany } from '../limits.ts';
import { sendProblem } from '../refusal.ts';
import type { WorkEntry } from '../world.ts';
import { honour, readFilter } from './filter.ts';
import { Listen } from './listen.ts';

/** Of one principal, each with a stream to each of its upstreams. */
const MAX_LISTENS = 200;

/** The entry; `maxOfOne`: listens of one principal that are open. */
export function createListen(maxOfOne = MAX_LISTENS): WorkEntry {
  const shares = new Shares(maxOfOne);
  return ({ response, ticket, body, snapshot, world }) => {
    const { principal } = ticket;
    // A processor has read it before.
    const envelope = parseEnvelope(body);
    const id = idText(envelope);
    const filter = readFilter(envelope);
    const caller = callerNow(ticket, snapshot, world);
    const owner = ownerOf(principal);
    // It would never tell of its end.
    if (response.stream.destroyed) return;
    if (typeof filter === 'string') sendProblem(response, problems.badParams(filter), id);
    else if (caller === undefined) sendProblem(response, problems.notFound(ticket.namespace), id);
    else if (!hasRoom(world)) sendProblem(response, noRoom(), id);
    else if (!shares.take(owner)) {
      sendProblem(
        response,
        tooMany(`subscriptions/listen are open: at most ${maxOfOne} of one caller. End one first`),
        id,
      );
    } else {
      response.stream.once('close', () => shares.give(owner));
      const honoured = honour(filter, caller.namespace, caller.persona);
      new Listen(response, world, { principal, caller, id, honoured });
    }
  };
}
