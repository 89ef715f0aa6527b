/** Step: what the gateway answers by itself, from the view: no upstream is contacted, nothing is serialised twice. */
import type { World } from '../data-plane/world.ts';
import { type Exchange, refuse, type Step, type StepResult } from '../exchange/exchange.ts';
import { problems } from '../exchange/problem.ts';
import type { Era } from '../mcp/revision.ts';
import { emptyResult } from './empty-result.ts';
import { discover, initialize } from './greeting.ts';
import { list } from './lists.ts';

type Handler = (exchange: Exchange, world: World) => StepResult;

/** Goes on to the steps that find out whose it is. */
const pass: Handler = () => undefined;

/** Every request that a client may make, with the eras that have it; anything else is an unknown method. */
const METHODS: ReadonlyMap<string, { readonly eras: 'both' | Era; readonly handle: Handler }> = new Map(
  Object.entries({
    initialize: { eras: 'legacy', handle: initialize },
    ping: { eras: 'legacy', handle: emptyResult },
    'server/discover': { eras: 'modern', handle: discover },
    'tools/list': { eras: 'both', handle: (exchange, world) => list(exchange, 'tools', world) },
    'prompts/list': { eras: 'both', handle: (exchange, world) => list(exchange, 'prompts', world) },
    'resources/list': { eras: 'both', handle: (exchange, world) => list(exchange, 'resources', world) },
    'resources/templates/list': { eras: 'both', handle: (exchange, world) => list(exchange, 'templates', world) },
    'tools/call': { eras: 'both', handle: pass },
    'prompts/get': { eras: 'both', handle: pass },
    'resources/read': { eras: 'both', handle: pass },
    'completion/complete': { eras: 'both', handle: pass },
    'resources/subscribe': { eras: 'legacy', handle: pass },
    'resources/unsubscribe': { eras: 'legacy', handle: pass },
    'logging/setLevel': { eras: 'legacy', handle: pass },
    'subscriptions/listen': { eras: 'modern', handle: pass },
    'tasks/get': { eras: 'both', handle: pass },
    'tasks/cancel': { eras: 'both', handle: pass },
    'tasks/result': { eras: 'legacy', handle: pass },
    'tasks/update': { eras: 'modern', handle: pass },
  } satisfies Record<string, { eras: 'both' | Era; handle: Handler }>),
);

export const answerAtEdge: Step<World> = {
  name: 'answer at the edge',
  needs: ['namespace', 'principal', 'envelope'],
  gives: [],
  run(exchange, world): StepResult {
    const { envelope } = exchange;
    if (envelope?.kind !== 'request') return undefined;
    const era = exchange.client?.era ?? 'legacy';
    const method = METHODS.get(envelope.method);
    if (method === undefined || (method.eras !== 'both' && method.eras !== era)) {
      return refuse(problems.unknownMethod(envelope.method.slice(0, 100), era));
    }
    return method.handle(exchange, world);
  },
};
