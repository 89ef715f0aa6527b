/** The tree of a CEL expression as the library evaluates it, macros expanded, and what we set into it. */
import { MOST_WORK, type Work, weightOf } from './cel-values.ts';
import { compilePattern, MOST_PATTERN_WORK } from './pattern.ts';

export interface CelNode {
  readonly op: string;
  readonly args: unknown;
  /** Offset into the text, UTF-16. */
  readonly pos: number;
  readonly meta: {
    /** What a macro became. */
    readonly alternate?: CelNode;
    readonly macro?: { readonly args?: readonly CelNode[] };
    readonly evaluate: Evaluate;
  };
  setMeta(key: 'evaluate', value: Evaluate): unknown;
}

type Evaluate = (evaluator: Evaluator, node: CelNode, context: Context) => unknown;
interface Evaluator {
  run(node: CelNode, context: Context): unknown;
}
interface Context {
  /** Within a macro: the element. */
  readonly iterValue?: unknown;
}

/** What the running expression has left; set anew for each run. */
export interface Running {
  work: Work;
}

/** Something that CEL has and we do not. */
export class Refusal extends Error {
  readonly pos: number;
  constructor(pos: number, message: string) {
    super(message);
    this.pos = pos;
  }
}

/** So many of a pattern's steps are one of ours: the largest that a pattern allows is all that there is. */
const PATTERN_STEPS = MOST_PATTERN_WORK / MOST_WORK;

/** Calendar functions with a time zone take 20 µs and more. */
const CALENDAR_WORK = 1_000;

/** Makes what can take long count its work. To be called once, after the type check and before the first run. */
export function guard(root: CelNode, running: Running): void {
  for (const node of nodesOf(root)) {
    if (node.op === 'comprehension') countRounds(node.args as Comprehension, running);
    if (node.op !== 'rcall') continue;
    const [name, receiver, args] = node.args as [string, CelNode, readonly CelNode[]];
    if (name === 'bind' && receiver.op === 'id' && receiver.args === 'cel') {
      throw new Refusal(node.pos, '`cel.bind` is not available; write the value where it is used');
    }
    if (name === 'matches') useRe2(node, receiver, args[0], running);
    if (name.startsWith('get') && args.length > 0) {
      const { evaluate } = node.meta;
      node.setMeta('evaluate', (evaluator, self, context) => {
        running.work.spend(CALENDAR_WORK);
        return evaluate(evaluator, self, context);
      });
    }
  }
}

interface Comprehension {
  readonly iterable: CelNode;
  readonly step: CelNode;
  /** Of `exists` and `all`: whether to go on with this interim result. They go on after errors, too. */
  readonly condition?: (interim: boolean) => boolean;
}

/** Each round costs as much as its step has nodes, times the weight of the texts that they have at hand. */
function countRounds({ step, condition }: Comprehension, running: Running): void {
  const size = [...nodesOf(step)].length;
  const { evaluate } = step.meta;
  step.setMeta('evaluate', (evaluator, self, context) => {
    const { work } = running;
    const { weight } = work;
    work.weight = Math.max(weight, weightOf(context.iterValue));
    try {
      work.spend(size * work.weight);
      return evaluate(evaluator, self, context);
    } catch (error) {
      // The result that ends the rounds; the run as a whole has failed whatever comes of it.
      if (work.isSpent && condition !== undefined) return !condition(true);
      throw error;
    } finally {
      work.weight = weight;
    }
  });
}

function useRe2(node: CelNode, receiver: CelNode, argument: CelNode | undefined, running: Running): void {
  if (argument?.op !== 'value' || typeof argument.args !== 'string') {
    throw new Refusal(
      argument?.pos ?? node.pos,
      'the pattern of `matches` is a text in quotes, known when it is saved',
    );
  }
  const pattern = compilePattern(argument.args);
  if ('fault' in pattern) throw new Refusal(argument.pos, pattern.fault);
  const { evaluate } = node.meta;
  node.setMeta('evaluate', (evaluator, self, context) => {
    const text = evaluator.run(receiver, context);
    // For the error that the library has for it.
    if (typeof text !== 'string') return evaluate(evaluator, self, context);
    running.work.spend(Math.ceil(pattern.work(text) / PATTERN_STEPS));
    return pattern.test(text) === true;
  });
}

/** Each node that may be evaluated. */
function* nodesOf(root: CelNode): Generator<CelNode> {
  const node = root.meta.alternate ?? root;
  yield node;
  yield* nodesWithin(node.meta.macro?.args ?? node.args);
}

function* nodesWithin(value: unknown): Generator<CelNode> {
  if (Array.isArray(value)) for (const element of value) yield* nodesWithin(element);
  else if (isNode(value)) yield* nodesOf(value);
  else if (isComprehension(value)) {
    yield* nodesOf(value.iterable);
    yield* nodesOf(value.step);
  }
}

function isNode(value: unknown): value is CelNode {
  return typeof value === 'object' && value !== null && 'op' in value && 'meta' in value;
}

function isComprehension(value: unknown): value is Comprehension {
  return typeof value === 'object' && value !== null && 'iterable' in value && 'step' in value;
}
