/** Calls to upstreams that speak only HTTP+SSE: the relay stands in their place, and everything else is as for any other. */
import type { World } from '../data-plane/world.ts';
import type { UpstreamCall } from '../exchange/exchange.ts';
import { type Problem, problems } from '../exchange/problem.ts';
import { sealUpstreamTicket, TICKET_HEADER } from '../relay/ticket.ts';
import { RELAY_ROUTE } from '../snapshot/revision.ts';
import type { Connection } from '../snapshot/snapshot.ts';

/** The call with its way to the relay, where it needs one. */
export function byRelay(call: UpstreamCall, connection: Connection, { vault }: World): UpstreamCall {
  if (connection.catalog.transport !== 'sse') return call;
  const ticket = [TICKET_HEADER, sealUpstreamTicket(vault, connection)] as const;
  return { ...call, route: RELAY_ROUTE, headers: [...call.headers, ticket] };
}

export const isOutOfReach = ({ catalog }: Connection, { relay }: World): boolean =>
  catalog.transport === 'sse' && !relay;

export const outOfReach = ({ name }: Connection): Problem =>
  problems.unavailable(
    name,
    'speaks only HTTP+SSE (MCP 2024-11-05), for which this gateway has no relay',
    'Other tools still work; ask the gateway operator.',
  );
