/** Steps: which connection a tools/call is for, and whether the caller's persona may make it. */
import type { World } from '../data-plane/world.ts';
import { refuse, type Step, type StepResult } from '../exchange/exchange.ts';
import { problems } from '../exchange/problem.ts';
import { decide, ruleText } from '../policy/decide.ts';

export const resolveTool: Step<World> = {
  name: 'resolve tool',
  needs: ['namespace', 'envelope'],
  gives: ['target', 'connection'],
  run(exchange): StepResult {
    const { envelope, namespace } = exchange;
    if (envelope?.name === undefined) return refuse(problems.badParams('tools/call needs params.name, a string'));
    const argumentsStart = envelope.arguments?.start;
    if (argumentsStart !== undefined && envelope.bytes[argumentsStart] !== 0x7b) {
      return refuse(problems.badParams('params.arguments must be an object'));
    }
    const tool = namespace?.tools.get(envelope.name);
    if (tool === undefined) return refuse(problems.noTool(shown(envelope.name), 'no such tool in this namespace'));
    exchange.connection = tool.connection;
    exchange.target = {
      connection: tool.connection,
      kind: 'tool',
      wireName: tool.wireName,
      upstreamName: tool.item.name,
      item: tool.item,
      edits:
        tool.item.name === tool.wireName || envelope.nameSpan === undefined
          ? []
          : [{ ...envelope.nameSpan, with: JSON.stringify(tool.item.name) }],
    };
    return undefined;
  },
};

export const authorise: Step<World> = {
  name: 'authorise',
  needs: ['principal', 'target', 'connection'],
  gives: ['decision'],
  run(exchange): StepResult {
    const { persona, target: tool, connection } = exchange;
    if (tool === undefined || connection === undefined) throw new Error('authorise before resolve');
    const decision = decide(persona, tool.wireName, connection.name);
    exchange.decision = decision;
    return decision.allowed ? undefined : refuse(problems.noTool(shown(tool.wireName), ruleText(decision)));
  },
};

/** A name in a message: bounded, without control characters. */
const shown = (name: string): string => name.slice(0, 100).replace(/[\x00-\x1f\x7f]/g, '?');
