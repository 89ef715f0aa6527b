/** Steps: what a request is about, and whether the caller's persona may have it. */
import type { World } from '../../data-plane/world.ts';
import { type Exchange, refuse, type Step, type StepResult, type Target } from '../../exchange/exchange.ts';
import { type Problem, problems } from '../../exchange/problem.ts';
import { type Decision, decide, decideConnection, decideUri, resourceName, ruleText } from '../../policy/decide.ts';
import type { Persona } from '../../snapshot/snapshot.ts';
import { RESOLVERS, shown } from './targets.ts';

/** Requests that are about the session or the namespace as a whole have no target. */
export const resolveTarget: Step<World> = {
  name: 'resolve target',
  needs: ['namespace', 'client'],
  gives: ['target', 'connection'],
  run(exchange, world): StepResult {
    const { envelope } = exchange;
    const resolver = envelope === undefined ? undefined : RESOLVERS[envelope.method];
    if (envelope === undefined || resolver === undefined) return undefined;
    const found = resolver(exchange, envelope, world);
    if (found.kind === 'refuse') return found;
    exchange.target = found;
    exchange.connection = found.connection;
    return undefined;
  },
};

export const authorise: Step<World> = {
  name: 'authorise',
  needs: ['principal', 'target'],
  gives: ['decision'],
  run(exchange): StepResult {
    const { persona, target } = exchange;
    if (target === undefined) return undefined;
    const decision = decideTarget(persona, target);
    exchange.decision = decision;
    return decision.allowed ? undefined : refuse(denied(exchange, target, decision));
  },
};

/** Policy on anything that can be asked for. */
export function decideTarget(persona: Persona | undefined, target: Target): Decision {
  const { connection, kind, wireName, upstreamName, item } = target;
  if (kind === 'tool' || kind === 'prompt') return decide(persona, wireName, connection.name);
  if (kind === 'resource' && item === undefined) return decideUri(persona, connection.name, upstreamName);
  if (kind === 'resource') return decide(persona, resourceName(connection.name, upstreamName), connection.name);
  return decideConnection(persona, connection.name);
}

/** What is denied reads as what does not exist. */
function denied({ client }: Exchange, { kind, wireName }: Target, decision: Decision): Problem {
  const reason = ruleText(decision);
  if (kind === 'tool') return problems.noTool(shown(wireName), reason);
  if (kind === 'prompt') return problems.noPrompt(shown(wireName), reason);
  if (kind === 'resource') return problems.noResource(shown(wireName), client?.era ?? 'legacy', reason);
  return problems.noTask(reason);
}
