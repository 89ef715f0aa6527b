/** Step: the call as the upstream will get it. Only names and ids are replaced in the bytes; headers start from nothing. */
import type { World } from '../data-plane/world.ts';
import { EgressError } from '../egress/egress.ts';
import { UpstreamError } from '../egress/upstream-client.ts';
import { type Exchange, refuse, type Step, type StepResult, type UpstreamSession } from '../exchange/exchange.ts';
import { problems } from '../exchange/problem.ts';
import type { Edit } from '../mcp/splice.ts';
import { splice } from '../mcp/splice.ts';
import type { Connection } from '../snapshot/snapshot.ts';

export const route: Step<World> = {
  name: 'route',
  needs: ['envelope', 'target', 'connection', 'session', 'decision'],
  gives: ['upstream'],
  run(exchange, world): StepResult | Promise<StepResult> {
    const { connection, session } = exchange;
    if (connection === undefined || session === undefined) throw new Error('route before resolve');
    const { fault } = connection.injection;
    if (fault !== undefined) return refuse(problems.credentialFault(connection.name, fault));
    const acquired = world.upstreamSessions.acquire(connection, session);
    if (!(acquired instanceof Promise)) return prepare(exchange, connection, acquired);
    return acquired.then(
      (upstream) => prepare(exchange, connection, upstream),
      (error: unknown) => refuse(upstreamProblem(connection, error)),
    );
  },
};

function prepare(exchange: Exchange, connection: Connection, session: UpstreamSession | undefined): undefined {
  const { envelope, target, body } = exchange;
  if (envelope === undefined || target === undefined || body === undefined) throw new Error('route before parse');
  const edits: Edit[] = [...target.edits];
  // Callers that share an upstream session may use the same ids: each call gets its own.
  const mintedId = connection.session === 'pooled' && session !== undefined ? nextId() : undefined;
  if (mintedId !== undefined && envelope.id !== undefined) edits.push({ ...envelope.id, with: mintedId });
  exchange.upstream = {
    path: connection.path,
    headers: upstreamHeaders(exchange, connection, session),
    body: splice(body, edits),
    bodyChanged: edits.length > 0,
    session,
    mintedId,
  };
  return undefined;
}

/** Everything an upstream is told, last word to the operator's own headers (design rule 4). */
export function upstreamHeaders(
  exchange: Exchange,
  connection: Connection,
  session: UpstreamSession | undefined,
): (readonly [string, string])[] {
  const headers: (readonly [string, string])[] = [
    ['accept', 'application/json, text/event-stream'],
    // Ours, not the client's: a charset of its choice would make the upstream read other words than we judged.
    ['content-type', 'application/json'],
  ];
  const version = session?.protocolVersion ?? connection.catalog.protocolVersion;
  if (version !== undefined) headers.push(['mcp-protocol-version', version]);
  if (session !== undefined) headers.push(['mcp-session-id', session.id]);
  for (const name of connection.forward) {
    const value = exchange.head.header(name);
    if (value !== undefined) headers.push([name, value]);
  }
  headers.push(...connection.injection.headers);
  return headers;
}

const process8 = Math.random().toString(36).slice(2, 10);
let minted = 0;

/** A JSON string no other call on a shared session has: unique across workers and restarts. */
const nextId = (): string => `"sp-${process8}-${++minted}"`;

/** Why an upstream could not be used, as the caller should hear it. */
export function upstreamProblem(connection: Connection, error: unknown): ReturnType<typeof problems.unavailable> {
  const retry = 'Other tools still work; try this one again in a few seconds.';
  if (error instanceof UpstreamError) {
    if (error.status === 401 || error.status === 403) return problems.credential(connection.name, error.status);
    return problems.unavailable(connection.name, error.message, retry);
  }
  if (error instanceof EgressError)
    return problems.unavailable(connection.name, `cannot be reached (${error.message})`, retry);
  throw error;
}
