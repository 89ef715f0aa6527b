/** Steps: what a legacy session asks for once and for all: its log level, and the resources it wants to hear of. */
import { emptyResult } from '../answers/empty-result.ts';
import type { World } from '../data-plane/world.ts';
import { tell } from '../egress/tell.ts';
import { type Exchange, refuse, type Step, type StepResult } from '../exchange/exchange.ts';
import { problems } from '../exchange/problem.ts';
import { forEachUpstream } from '../routing/client-message.ts';
import { eraTowards } from '../snapshot/era.ts';
import { LOG_LEVELS } from '../translate/log-level.ts';
import { setLevelMessage } from './wishes.ts';

export const keepWish: Step<World> = {
  name: 'keep wish',
  needs: ['envelope', 'session', 'target'],
  gives: [],
  run(exchange, world): StepResult | Promise<StepResult> {
    switch (exchange.envelope?.method) {
      case 'logging/setLevel':
        return setLevel(exchange, world);
      case 'resources/subscribe':
      case 'resources/unsubscribe':
        return subscription(exchange, world);
      default:
        return undefined;
    }
  },
};

/** For the upstreams that this session has met, and in Postgres for those that it will. */
async function setLevel(exchange: Exchange, world: World): Promise<StepResult> {
  const { envelope, session } = exchange;
  const level = envelope?.level;
  if (session === undefined || level === undefined || !LOG_LEVELS.includes(level)) {
    return refuse(problems.badParams(`logging/setLevel needs params.level, one of ${LOG_LEVELS.join(', ')}`));
  }
  await world.sessionStore.setLogLevel(session, level);
  world.logLevels.changed(session.id, level);
  await forEachUpstream(exchange, session, world, (connection, upstream, signal) =>
    connection.catalog.capabilities.logging === undefined
      ? Promise.resolve()
      : tell(world.egress, connection, upstream, setLevelMessage(level), signal),
  );
  return emptyResult(exchange);
}

/** Kept for whichever upstream session comes after this one; a modern upstream is asked by the relay, on a stream. */
async function subscription(exchange: Exchange, world: World): Promise<StepResult> {
  const { envelope, session, target, connection } = exchange;
  if (session === undefined || target === undefined || connection === undefined) return undefined;
  const { sessionStore } = world;
  if (envelope?.method === 'resources/subscribe') {
    const isKept = await sessionStore.subscribe(session, connection.id, target.upstreamName);
    if (!isKept) return refuse(problems.tooManySubscriptions());
  } else {
    await sessionStore.unsubscribe(session.id, connection.id, target.upstreamName);
  }
  return eraTowards(connection, 'legacy') === 'modern' ? emptyResult(exchange) : undefined;
}
