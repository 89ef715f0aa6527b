/**
 * Runs the rules that fit one call over its result: in order, each seeing what earlier ones added. Whatever goes wrong in
 * a rule is its own: the result goes on, with a warning that the agent can read.
 */

import type { Json } from '../mcp/exact-json.ts';
import type { Span } from '../mcp/json.ts';
import { type Edit, splice } from '../mcp/splice.ts';
import { SourceError, ValueError } from '../sources/source.ts';
import { addToMerge } from './add.ts';
import { type Asking, askRule, type RuleAnswer } from './ask.ts';
import { Unbound } from './bind.ts';
import { Merge } from './merge.ts';
import { findResponse } from './response.ts';
import { type Note, resultEdits } from './result-edits.ts';
import type { CompiledRule, Root, RuleOutcome } from './rule.ts';

/** All rules of a call together, milliseconds. Far below Envoy's message timer. */
const CALL_MS = 5000;

/** A result to be enriched. */
export interface Enrichable {
  /** The whole message. */
  readonly bytes: Buffer;
  /** Of its `result`. */
  readonly result: Span;
  /** In the order in which they run. */
  readonly rules: readonly CompiledRule[];
  readonly args: Json;
  readonly principal: Json;
  readonly tool: Json;
  /** Of the downstream session; undefined: nobody remembers what it was told. */
  readonly sessionId: string | undefined;
}

export interface Enriched {
  /** The message with everything that was added; the same buffer where nothing was. */
  readonly bytes: Buffer;
  /** One for each rule. */
  readonly outcomes: readonly RuleOutcome[];
  /** What the agent is told about rules that failed. */
  readonly warnings: readonly string[];
}

/** Never rejects but for a bug. `signal`: nobody waits for the result any more. */
export async function enrich(what: Enrichable, asking: Asking, signal: AbortSignal): Promise<Enriched> {
  const { bytes, result, rules } = what;
  const found = findResponse(bytes, result);
  if (found === undefined) {
    return { bytes, warnings: [], outcomes: rules.map((rule) => skipped(rule, NO_RESPONSE)) };
  }
  const run = new Run(what, asking, signal, new Merge(found));
  for (const rule of rules) await run.rule(rule);
  return run.end();
}

const NO_RESPONSE = 'the result holds no structured content and no text that is JSON';

class Run {
  private readonly what: Enrichable;
  private readonly asking: Asking;
  private readonly signal: AbortSignal;
  private readonly merge: Merge;
  private readonly endsAt = performance.now() + CALL_MS;
  private readonly outcomes: RuleOutcome[] = [];
  private readonly notes: Note[] = [];
  private readonly warnings: string[] = [];

  constructor(what: Enrichable, asking: Asking, signal: AbortSignal, merge: Merge) {
    this.what = what;
    this.asking = asking;
    this.signal = signal;
    this.merge = merge;
  }

  async rule(rule: CompiledRule): Promise<void> {
    const began = performance.now();
    const outcome = await this.outcomeOf(rule, began);
    const ended = performance.now();
    const told = { ...outcome, rule: rule.name, version: rule.version, ms: Math.round((ended - began) * 1000) / 1000 };
    this.outcomes.push(told);
    this.asking.onOutcome?.(told, began, ended);
  }

  private async outcomeOf(rule: CompiledRule, now: number): Promise<Told> {
    const { asking, merge, what } = this;
    if (asking.budgets?.isOff(rule) === true)
      return { outcome: 'off', reason: 'it failed too often and was switched off' };
    const { args, principal, tool, sessionId } = what;
    const root: Root = { args, response: merge.response, principal, tool };
    const against = rule.when(root);
    if (against !== undefined) return { outcome: 'skipped', reason: against };
    const source = sourceName(rule);
    const timeoutMs = Math.min(rule.config.timeoutMs, this.endsAt - now);
    if (this.signal.aborted) return { outcome: 'skipped', source, reason: 'the client went away' };
    if (timeoutMs < 1)
      return this.failed(rule, { source }, `all the ${CALL_MS} ms that rules may take were spent before its turn`);
    let answer: RuleAnswer | Unbound;
    const shown: { query?: string } = {};
    try {
      answer = await askRule(rule, root, asking, { signal: this.signal, timeoutMs }, (query) => {
        if (asking.isDryRun) shown.query = query;
      });
    } catch (error) {
      if (error instanceof ValueError) return { outcome: 'skipped', source, reason: error.message, ...shown };
      if (!(error instanceof SourceError)) throw error;
      if (this.signal.aborted) return { outcome: 'skipped', source, reason: 'the client went away', ...shown };
      if (error.kind === 'not sent') return { outcome: 'skipped', source, reason: error.message, ...shown };
      if (error.kind !== 'bad value') asking.budgets?.failed(rule, error.message);
      return this.failed(rule, { source, ...shown }, error.message);
    }
    if (answer instanceof Unbound) return { outcome: 'skipped', source, reason: answer.reason };
    const { isCached, isTruncated, rowCount } = answer;
    const facts = { source, cached: isCached, rows: rowCount, ...shown, ...(isTruncated && { truncated: true }) };
    const added = addToMerge(rule, answer, merge, { told: asking.told, sessionId });
    if (added.note !== undefined) this.notes.push(added.note);
    if (isTruncated && added.outcome === 'merged')
      this.warn(rule, `had more than it may add: only the first ${rowCount} rows are here`);
    const { note: _, ...outcome } = added;
    return { ...facts, ...outcome };
  }

  private failed(rule: CompiledRule, facts: Partial<Told>, reason: string): Told {
    this.warn(rule, `added nothing: ${reason}. The result itself is complete`);
    return { ...facts, outcome: 'failed', reason };
  }

  private warn({ name }: CompiledRule, what: string): void {
    this.warnings.push(`The enrichment rule "${name}" ${what}.`);
  }

  end(): Enriched {
    const { what, outcomes, warnings, notes, merge } = this;
    if (warnings.length > 0) notes.push({ kind: 'warning', text: warnings.join('\n') });
    const edits: Edit[] = notes.length === 0 ? [] : resultEdits(what.bytes, what.result, merge, notes);
    return { bytes: splice(what.bytes, edits), outcomes, warnings };
  }
}

type Told = Omit<RuleOutcome, 'rule' | 'version' | 'ms'>;

const skipped = ({ name, version }: CompiledRule, reason: string): RuleOutcome => ({
  rule: name,
  version,
  outcome: 'skipped',
  reason,
  ms: 0,
});

const sourceName = ({ request }: CompiledRule): string =>
  request.kind === 'tool' ? `tool ${request.tool}` : request.source;
