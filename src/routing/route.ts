/** Step: where the request goes, and as what: to its upstream, or to the relay with a ticket. */
import type { World } from '../data-plane/world.ts';
import { EgressError } from '../egress/egress.ts';
import { UpstreamError } from '../egress/upstream-client.ts';
import { type Exchange, refuse, type Step, type StepResult } from '../exchange/exchange.ts';
import { problems } from '../exchange/problem.ts';
import { ownerOf } from '../sessions/owner.ts';
import { eraTowards } from '../snapshot/era.ts';
import type { Connection } from '../snapshot/snapshot.ts';
import { byRelay, isOutOfReach, outOfReach } from './by-relay.ts';
import { type OutgoingOptions, outgoing } from './outgoing.ts';
import { relayCall, relayWork } from './to-relay.ts';

export const route: Step<World> = {
  name: 'route',
  needs: ['client', 'principal'],
  gives: ['upstream'],
  run(exchange, world): StepResult | Promise<StepResult> {
    const { connection } = exchange;
    const fault = connection?.injection.fault;
    if (connection !== undefined && fault !== undefined) {
      return refuse(problems.credentialFault(connection.name, fault));
    }
    if (connection !== undefined && isOutOfReach(connection, world)) return refuse(outOfReach(connection));
    if (
      connection !== undefined &&
      exchange.client?.era === 'legacy' &&
      eraTowards(connection, 'legacy') === 'modern'
    ) {
      world.wantLegacy(connection.id);
    }
    const work = relayWork(exchange, world);
    if (work === 'listen' && !world.relay) return refuse(problems.unknownMethod('subscriptions/listen', 'modern'));
    if (work !== undefined) {
      exchange.upstream = relayCall(exchange, work, world);
      return undefined;
    }
    if (connection === undefined) throw new Error('route before resolve');
    return direct(exchange, connection, world);
  },
};

/** Straight to the upstream, on the session that this client has with it. */
export function direct(exchange: Exchange, connection: Connection, world: World): StepResult | Promise<StepResult> {
  const { client, principal, session } = exchange;
  if (client === undefined || principal === undefined) throw new Error('route before its client is known');
  const send = (options: OutgoingOptions): undefined => {
    exchange.upstream = byRelay(outgoing(exchange, connection, options), connection, world);
  };
  // A modern upstream has no sessions, so there is nobody to work one out for.
  if (eraTowards(connection, client.era) === 'modern') {
    const logLevel = session === undefined ? undefined : logLevelFor(connection, session.id, world);
    const told = (level: string | undefined): undefined =>
      send({ session: undefined, owner: undefined, logLevel: level });
    return logLevel instanceof Promise ? logLevel.then(told) : told(logLevel);
  }
  const owner = ownerOf(connection, client, session, principal, exchange.at);
  const acquired = world.upstreamSessions.acquire(connection, owner);
  if (!(acquired instanceof Promise)) return send({ session: acquired, owner });
  return acquired.then(
    (upstream) => send({ session: upstream, owner }),
    (error: unknown) => refuse(upstreamProblem(connection, error)),
  );
}

/** What a modern upstream is told with each call of a legacy session, which said it once. */
export function logLevelFor(
  connection: Connection,
  sessionId: string,
  world: World,
): string | undefined | Promise<string | undefined> {
  return eraTowards(connection, 'legacy') === 'modern' && connection.catalog.capabilities.logging !== undefined
    ? world.logLevels.of(sessionId)
    : undefined;
}

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
