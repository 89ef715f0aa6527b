/** The order is the product: read it top to bottom to know what happens to a message. */
import { endSession } from '../answers/end-session.ts';
import { answerAtEdge } from '../answers/lifecycle.ts';
import type { Exchange, Step, StepResult } from '../exchange/exchange.ts';
import { identify } from '../identity/identify.ts';
import { takeMessage } from '../routing/client-message.ts';
import { checkTransport, findEndpoint, limitSize } from '../routing/endpoint.ts';
import { meetClient } from '../routing/meet-client.ts';
import { checkParams } from '../routing/param-headers.ts';
import { parse } from '../routing/parse.ts';
import { authorise, resolveTarget } from '../routing/resolve/resolve.ts';
import { route } from '../routing/route.ts';
import { findSession } from '../sessions/session-step.ts';
import { keepWish } from '../sessions/wish-step.ts';
import type { World } from './world.ts';

/** On the request headers, before a byte of the body is buffered. */
export const onHeaders: readonly Step<World>[] = [findEndpoint, identify, checkTransport, limitSize];

/** On the headers of a DELETE, after `onHeaders`. */
export const onDelete: readonly Step<World>[] = [findSession, endSession];

/** On the whole body of a POST. A request that no step answers or refuses is forwarded by `exchange.upstream`. */
export const onBody: readonly Step<World>[] = [
  limitSize,
  parse,
  meetClient,
  takeMessage,
  answerAtEdge,
  resolveTarget,
  authorise,
  checkParams,
  keepWish,
  // Last, so that no earlier step ever holds a secret.
  route,
];

/** Runs steps until one decides. Synchronous as long as every step is: a promise costs a turn of the loop. */
export function runSteps(
  steps: readonly Step<World>[],
  exchange: Exchange,
  world: World,
  from = 0,
): StepResult | Promise<StepResult> {
  for (let i = from; i < steps.length; i++) {
    const result = (steps[i] as Step<World>).run(exchange, world);
    if (result instanceof Promise) {
      return result.then((settled) => settled ?? runSteps(steps, exchange, world, i + 1));
    }
    if (result !== undefined) return result;
  }
  return undefined;
}
