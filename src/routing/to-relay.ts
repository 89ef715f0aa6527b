/** What one edit of a request and its response cannot do goes to the relay, with a ticket that says what was decided. */
import type { World } from '../data-plane/world.ts';
import type { Exchange, UpstreamCall } from '../exchange/exchange.ts';
import { sealTicket, TICKET_HEADER, type Work } from '../relay/ticket.ts';
import { eraTowards } from '../snapshot/era.ts';
import { RELAY_ROUTE } from '../snapshot/revision.ts';

/** Requests in whose middle an upstream may ask the client something (MCP 2026-07-28, "Supported Requests" of MRTR). */
const ASKING = new Set(['tools/call', 'prompts/get', 'resources/read']);

/** undefined: the request can go straight to its upstream. */
export function relayWork(
  { envelope, client, connection, question, isBatch }: Exchange,
  world: World,
): Work | undefined {
  if (isBatch === true) return 'batch';
  if (question !== undefined) return 'answer';
  if (envelope?.method === 'subscriptions/listen') return 'listen';
  if (!world.relay || connection === undefined || client === undefined || envelope === undefined) return undefined;
  const crossesEras = client.era !== eraTowards(connection, client.era);
  return crossesEras && client.capabilities.answers.size > 0 && ASKING.has(envelope.method) ? 'call' : undefined;
}

/** What a batch's messages still need to be requests of their own. */
const BATCH_HEADERS = ['authorization', 'mcp-session-id', 'mcp-protocol-version', 'origin'];

export function relayCall(exchange: Exchange, work: Work, world: World): UpstreamCall {
  const { tenant, namespace, principal, client, session, connection, question, head, body } = exchange;
  if (tenant === undefined || namespace === undefined || principal === undefined || client === undefined)
    throw new Error('relay before identify');
  const ticket = sealTicket(
    world.vault,
    {
      work,
      requestId: exchange.requestId,
      tenant: tenant.id,
      namespace: namespace.name,
      principal,
      session: session ?? null,
      client: {
        era: client.era,
        protocolVersion: client.protocolVersion,
        capabilities: client.capabilities.text,
        clientName: client.clientName,
        logLevel: client.logLevel ?? null,
      },
      connection: connection?.name ?? null,
      question: question ?? null,
    },
    Date.now(),
  );
  const kept =
    work === 'batch'
      ? new Set([...BATCH_HEADERS, ...namespace.connections.flatMap(({ forward }) => [...forward])])
      : work === 'call'
        ? (connection?.forward ?? [])
        : [];
  return {
    route: RELAY_ROUTE,
    via: 'relay',
    path: '/relay',
    headers: [
      [TICKET_HEADER, ticket],
      ['content-type', 'application/json'],
      ['accept', head.header('accept') ?? 'application/json, text/event-stream'],
      ...[...kept].flatMap((name) => {
        const value = head.header(name);
        return value === undefined ? [] : [[name, value] as const];
      }),
    ],
    body: body as Buffer,
    bodyChanged: false,
    session: undefined,
    owner: undefined,
    mintedId: undefined,
    mintedToken: undefined,
  };
}
