/** A request that a processor has sent here, as the processor had it when it decided. */
import type { Exchange, Step, StepResult } from '../../exchange/exchange.ts';
import { type Problem, problems } from '../../exchange/problem.ts';
import { clientCapabilities } from '../../mcp/capabilities.ts';
import { parse } from '../../routing/parse.ts';
import { authorise, resolveTarget } from '../../routing/resolve/resolve.ts';
import { eraTowards } from '../../snapshot/era.ts';
import type { Connection } from '../../snapshot/snapshot.ts';
import { exchangeOf } from '../arrival.ts';
import { callerNow } from '../caller.ts';
import type { Ticket } from '../ticket.ts';
import type { Errand, RelayWorld } from '../world.ts';

export interface Restored {
  /** As far as it could be restored: enough to answer. */
  readonly exchange: Exchange;
  /** The configuration has changed since the processor decided, and not in the caller's favour. */
  readonly problem: Problem | undefined;
}

const STEPS: readonly Step<RelayWorld>[] = [parse, resolveTarget, authorise];

/** The same steps on this relay's own snapshot: what is forwarded was judged by what is in force here. */
export function restoreExchange({ ticket, request, body, snapshot, world }: Errand): Restored {
  const { principal, session, client } = ticket;
  const caller = callerNow(ticket, snapshot, world);
  const exchange: Exchange = {
    ...exchangeOf(request, snapshot),
    requestId: ticket.requestId,
    principal,
    session: session ?? undefined,
    body,
    client: {
      era: client.era,
      protocolVersion: client.protocolVersion,
      capabilities: clientCapabilities(client.capabilities),
      clientName: client.clientName,
      logLevel: client.logLevel ?? undefined,
    },
  };
  if (caller === undefined) return { exchange, problem: problems.notFound(`/${ticket.namespace}/mcp`) };
  Object.assign(exchange, caller);
  for (const step of STEPS) {
    // None of these waits for anything.
    const result = step.run(exchange, world) as StepResult;
    if (result?.kind === 'refuse') return { exchange, problem: result.problem };
  }
  return { exchange, problem: problemWith(exchange, ticket, exchange.connection) };
}

function problemWith({ client }: Exchange, ticket: Ticket, connection: Connection | undefined): Problem | undefined {
  // Its owner or its owner's era has changed in between: asked again, the request takes another way.
  if (connection === undefined || client === undefined || connection.name !== ticket.connection) {
    return problems.relayAway();
  }
  if (eraTowards(connection, client.era) === client.era) return problems.relayAway();
  const { fault } = connection.injection;
  return fault === undefined ? undefined : problems.credentialFault(connection.name, fault);
}
