/** One rule's question: bound, sent, and its answer as rows. */
import type { Json } from '../mcp/exact-json.ts';
import type { ToolRequest } from '../sources/mcp/template.ts';
import { selectRows } from '../sources/rows.ts';
import {
  type Asked,
  type Bound,
  type Rendered,
  type SourceAnswer,
  type SourceDefinition,
  SourceError,
} from '../sources/source.ts';
import type { CallTool, Sources } from '../sources/sources.ts';
import { type BoundElements, bindElements, bindOnce, MAX_LIST, rowsByKey, Unbound } from './bind.ts';
import { MOST_RESULTS } from './path-search.ts';
import { PRESETS } from './presets/preset.ts';
import type { CompiledRule, Request, Root, RuleOutcome } from './rule.ts';
import type { Budgets, Told } from './world.ts';

/** What rules ask with. */
export interface Asking {
  readonly sources: Sources;
  /** By name. */
  readonly definitions: ReadonlyMap<string, SourceDefinition>;
  /** undefined: tools cannot be called here. */
  readonly callTool: CallTool | undefined;
  /** undefined: failures are not counted. */
  readonly budgets: Budgets | undefined;
  /** undefined: sessions are told everything, and nothing of it is remembered. */
  readonly told: Told | undefined;
  /** Keeps queries for the trace, and sends nothing that may write. */
  readonly isDryRun: boolean;
  /** Times as of `performance.now()`. */
  onOutcome?(outcome: RuleOutcome, began: number, ended: number): void;
}

/** Rows for the response as a whole, or for each group of its elements. */
export interface RuleAnswer {
  readonly rows: readonly Json[];
  readonly elements: { readonly bound: BoundElements; readonly rows: ReadonlyMap<string, readonly Json[]> } | undefined;
  readonly rowCount: number;
  readonly isTruncated: boolean;
  readonly isCached: boolean;
}

interface Bounds {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
}

/** Rejects with SourceError or ValueError. `onQuery`: what is about to be asked, for people. */
export async function askRule(
  rule: CompiledRule,
  root: Root,
  asking: Asking,
  bounds: Bounds,
  onQuery: (shown: string) => void,
): Promise<RuleAnswer | Unbound> {
  const { forEach, request, config } = rule;
  const bound = forEach === undefined ? bindOnce(rule, root) : bindElements(rule, forEach, root);
  if (bound instanceof Unbound) return bound;
  const elements = 'places' in bound ? bound : undefined;
  const values = 'places' in bound ? bound.values : bound;
  const maxRows = elements === undefined ? config.maxRows : Math.min(config.maxRows * elements.places.size, MAX_LIST);
  const asked = new RuleTime(rule, bounds, maxRows);
  try {
    const answer =
      request.kind === 'preset'
        ? await askPreset(request, root, values, asking, asked, onQuery)
        : await askOnce(request, values, asking, asked, onQuery);
    const { rows, isTruncated, isCached } = answer;
    return {
      rows,
      elements: elements && { bound: elements, rows: rowsByKey(rule, rows) },
      rowCount: rows.length,
      // A path finds no more than so many: there were more elements.
      isTruncated: isTruncated || (elements !== undefined && elements.found >= MOST_RESULTS),
      isCached,
    };
  } catch (error) {
    // Whoever was waited for says in its own way that its time was up.
    const isLate = asked.isOver || (error instanceof SourceError && error.kind === 'timeout');
    throw isLate && !bounds.signal.aborted ? asked.lateness() : error;
  } finally {
    asked.release();
  }
}

type Answer = SourceAnswer & { readonly isCached: boolean };

async function askOnce(
  request: Exclude<Request, { kind: 'preset' }>,
  values: ReadonlyMap<string, Bound>,
  asking: Asking,
  asked: RuleTime,
  onQuery: (shown: string) => void,
): Promise<Answer> {
  const rendered = request.template.render(values);
  onQuery(rendered.shown);
  if (request.kind === 'tool') return askTool(request.tool, rendered as ToolRequest, asking, asked);
  if (asking.isDryRun && request.template.mayWrite) {
    throw new SourceError('not sent', 'a dry run sends nothing that may write');
  }
  return asking.sources.ask(definitionOf(asking, request.source), rendered, asked);
}

async function askTool(
  tool: string,
  { args, rows: path }: ToolRequest,
  { callTool }: Asking,
  asked: RuleTime,
): Promise<Answer> {
  if (callTool === undefined) throw new SourceError('not sent', 'tools cannot be called from here');
  const { answer, bytes } = await callTool(tool, args, asked);
  if (bytes > asked.maxBytes) throw new SourceError('too large', `its answer is larger than ${asked.maxBytes} bytes`);
  const rows = selectRows(answer, path);
  return { rows: rows.slice(0, asked.maxRows), isTruncated: rows.length > asked.maxRows, isCached: false };
}

async function askPreset(
  request: Extract<Request, { kind: 'preset' }>,
  root: Root,
  values: ReadonlyMap<string, Bound>,
  asking: Asking,
  asked: RuleTime,
  onQuery: (shown: string) => void,
): Promise<Answer> {
  const { preset } = PRESETS[request.preset];
  const definition = definitionOf(asking, request.source);
  const shown: string[] = [];
  let isCached = true;
  let isTruncated = false;
  const rows = await preset({
    root,
    values: new Map([...values].map(([name, value]) => [name, Array.isArray(value) ? value : [value]])),
    sourceName: request.source,
    async ask(rendered: Rendered) {
      shown.push(rendered.shown);
      onQuery(shown.join('\n'));
      const answer = await asking.sources.ask(definition, rendered, asked);
      isCached &&= answer.isCached;
      isTruncated ||= answer.isTruncated;
      return answer;
    },
  });
  return { rows, isTruncated, isCached: isCached && shown.length > 0 };
}

function definitionOf({ definitions }: Asking, name: string): SourceDefinition {
  const definition = definitions.get(name);
  if (definition === undefined) throw new SourceError('not asked', `there is no source "${name}"`);
  return definition;
}

const sourceOf = ({ request }: CompiledRule): string =>
  request.kind === 'tool' ? `the tool ${request.tool}` : `the source ${request.source}`;

/** What a rule may take. Whether its time is up is watched from the moment somebody asks: an answer from the cache never does. */
class RuleTime implements Asked {
  readonly rule: string;
  readonly timeoutMs: number;
  readonly maxRows: number;
  readonly maxBytes: number;
  readonly cacheMs: number;
  isOver = false;
  private readonly caller: AbortSignal;
  private readonly source: string;
  private controller: AbortController | undefined;
  private timer: NodeJS.Timeout | undefined;

  constructor(rule: CompiledRule, { signal, timeoutMs }: Bounds, maxRows: number) {
    this.rule = rule.name;
    this.timeoutMs = timeoutMs;
    this.maxRows = maxRows;
    this.maxBytes = rule.config.maxBytes;
    this.cacheMs = rule.config.cacheMs;
    this.caller = signal;
    this.source = sourceOf(rule);
  }

  get signal(): AbortSignal {
    this.controller ??= this.start();
    return this.controller.signal;
  }

  lateness(): SourceError {
    return new SourceError('timeout', `${this.source} did not answer within ${Math.ceil(this.timeoutMs)} ms`);
  }

  release(): void {
    clearTimeout(this.timer);
    if (this.controller !== undefined) this.caller.removeEventListener('abort', this.leave);
  }

  private start(): AbortController {
    const controller = new AbortController();
    this.timer = setTimeout(() => {
      this.isOver = true;
      controller.abort(this.lateness());
    }, this.timeoutMs);
    this.caller.addEventListener('abort', this.leave, { once: true });
    return controller;
  }

  private readonly leave = (): void => this.controller?.abort(this.caller.reason);
}
