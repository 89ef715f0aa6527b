/** Step: the body's JSON-RPC envelope, read once for all later steps. */
import type { World } from '../data-plane/world.ts';
import { refuse, type Step, type StepResult } from '../exchange/exchange.ts';
import { problems } from '../exchange/problem.ts';
import { EnvelopeError, parseEnvelope } from '../mcp/envelope.ts';

export const parse: Step<World> = {
  name: 'parse envelope',
  needs: ['body'],
  gives: ['envelope', 'isBatch'],
  run(exchange): StepResult {
    try {
      exchange.envelope = parseEnvelope(exchange.body as Buffer);
      return undefined;
    } catch (error) {
      if (!(error instanceof EnvelopeError)) throw error;
      // Whether a batch is welcome depends on the session it comes on.
      exchange.isBatch = error.code === 'batch';
      if (exchange.isBatch) return undefined;
      return refuse(error.code === 'parse' ? problems.notJson(error.message) : problems.invalidRequest(error.message));
    }
  },
};
