/** Step: DELETE ends the session, here and at every replica, and what was open upstream for it. */
import type { World } from '../data-plane/world.ts';
import type { Step, StepResult } from '../exchange/exchange.ts';

export const endSession: Step<World> = {
  name: 'end session',
  needs: ['session'],
  gives: [],
  async run(exchange, world): Promise<StepResult> {
    if (exchange.session !== undefined) await world.endSession(exchange.session);
    return { kind: 'answer', status: 204, headers: [], body: [] };
  },
};
