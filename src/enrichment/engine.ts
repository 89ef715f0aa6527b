/**
 * Runs the rules that fit one call over its result: in order, each seeing what earlier ones added. Whatever goes wrong in
 * a rule is its own: the result goes on, with a warning that the agent can read.
 */

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Json } from '../mcp/exact-json.ts';
import type { Span } from '../mcp/json.ts';
import { type Edit, splice } from '../mcp/splice.ts';
import { SourceError, ValueError } from '../sources/source.ts';
import { addToMerge } from './add.ts';
import { type Asking, askRule, type RuleAnswer } from './ask.ts';
import { Unbound } from './bind.ts';
import { Merge } from './merge.ts';
import type { Note } from './readable.ts';
import { findResponse } from './response.ts';
import { resultEdits } from './result-edits.ts';
import type { CompiledRule, Root, RuleOutcome } from './rule.ts';
import { type Tellings, tellingsOf } from './tellings.ts';

/** All rules of a call together, milliseconds. Far below Envoy's message timer. */
const CALL_MS = 5000;
/** Rules that wait for nothing hold up everybody else: after so many milliseconds of them others come first. */
const SLICE_MS = 10;

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
  if (typeof found === 'string') {
    return { bytes, warnings: [], outcomes: rules.map((rule) => skipped(rule, found)) };
  }
  const run = new Run(what, asking, signal, new Merge(found));
  let sliceEndsAt = performance.now() + SLICE_MS;
  for (const rule of rules) {
    let now = performance.now();
    if (now > sliceEndsAt) {
      await nextTurn();
      now = performance.now();
      sliceEndsAt = now + SLICE_MS;
    }
    // Most rules that fit a tool do not apply to most of its calls: those cost no turn of the loop.
    if (!run.passOver(rule, now)) await run.ask(rule);
  }
  return run.end();
}

class Run {
  private readonly what: Enrichable;
  private readonly asking: Asking;
  private readonly signal: AbortSignal;
  private readonly merge: Merge;
  private readonly endsAt = performance.now() + CALL_MS;
  private readonly outcomes: RuleOutcome[] = [];
  private readonly notes: Note[] = [];
  private readonly warnings: string[] = [];
  private readonly tellings: Tellings | undefined;
  /** What the next rule sees. */
  private root: Root;

  constructor(what: Enrichable, asking: Asking, signal: AbortSignal, merge: Merge) {
    this.what = what;
    this.asking = asking;
    this.signal = signal;
    this.merge = merge;
    this.tellings = tellingsOf(asking.told, what.sessionId);
    this.root = this.rootOf(merge.response);
  }

  /** Whether the rule has nothing to do with this call; says why. Nothing is found out any more once the time is spent. */
  passOver(rule: CompiledRule, now: number): boolean {
    if (this.signal.aborted || now >= this.endsAt) return false;
    const isOff = this.asking.budgets?.isOff(rule) === true;
    const reason = isOff ? 'it failed too often and was switched off' : rule.when(this.root);
    if (reason === undefined) return false;
    const outcome = isOff ? 'off' : 'skipped';
    this.note({ rule: rule.name, version: rule.version, outcome, reason, ms: 0 }, 0, 0);
    return true;
  }

  /** Asks, and merges the answer. */
  async ask(rule: CompiledRule): Promise<void> {
    const began = performance.now();
    const told = await this.outcomeOf(rule, began);
    const ended = performance.now();
    const ms = Math.round((ended - began) * 1000) / 1000;
    this.note({ rule: rule.name, version: rule.version, ...told, ms }, began, ended);
  }

  private note(outcome: RuleOutcome, began: number, ended: number): void {
    this.outcomes.push(outcome);
    this.asking.onOutcome?.(outcome, began, ended);
  }

  private async outcomeOf(rule: CompiledRule, now: number): Promise<Became> {
    const { asking, merge } = this;
    const source = sourceName(rule);
    if (this.signal.aborted) return { outcome: 'skipped', source, reason: GONE };
    const timeoutMs = Math.min(rule.config.timeoutMs, this.endsAt - now);
    if (timeoutMs < 1)
      return this.failed(rule, { source }, `all the ${CALL_MS} ms that rules may take were spent before its turn`);
    let answer: RuleAnswer | Unbound;
    const shown: { query?: string } = {};
    try {
      answer = await askRule(rule, this.root, asking, { signal: this.signal, timeoutMs }, (query) => {
        if (asking.isDryRun) shown.query = query;
      });
    } catch (error) {
      // Other rules took the time that this one may have.
      const isCutShort = timeoutMs < rule.config.timeoutMs;
      return this.outcomeOfError(rule, error, isCutShort, { source, ...shown });
    }
    if (answer instanceof Unbound) return { outcome: 'skipped', source, reason: answer.reason };
    const { isCached, isTruncated, rowCount } = answer;
    const { note, ...added } = addToMerge(rule, answer, merge, this.tellings);
    if (note !== undefined) {
      this.notes.push(note);
      this.root = this.rootOf(merge.response);
    }
    if (isTruncated && added.outcome === 'merged')
      this.warn(rule, `had more than it may add: only the first ${rowCount} rows are here`);
    else if (added.truncated === true)
      this.warn(
        rule,
        `had more than it may add to an element: only the first ${rule.config.maxRows} rows of each are here`,
      );
    const facts = { source, cached: isCached, rows: rowCount, ...shown, ...(isTruncated && { truncated: true }) };
    return { ...facts, ...added };
  }

  private outcomeOfError(rule: CompiledRule, error: unknown, isCutShort: boolean, facts: Partial<Became>): Became {
    if (error instanceof ValueError) return { ...facts, outcome: 'skipped', reason: error.message };
    // What was asked ends with the reason for which the caller left, whatever that is.
    if (this.signal.aborted) return { ...facts, outcome: 'skipped', reason: GONE };
    if (!(error instanceof SourceError)) throw error;
    if (error.kind === 'not sent') return { ...facts, outcome: 'skipped', reason: error.message };
    // Values that a caller chose must not switch a rule off, nor an outage that the circuit breaker sees to, nor other rules.
    const isAnothers = isCutShort && error.kind === 'timeout';
    const counts = error.kind !== 'bad value' && error.kind !== 'not asked' && error.kind !== 'busy';
    if (counts && !isAnothers) this.asking.budgets?.failed(rule, error.message);
    const failed = this.failed(rule, facts, error.message);
    return error.kind === 'bad value' ? { ...failed, reason: withoutQuoted(error.message) } : failed;
  }

  private rootOf(response: Json): Root {
    const { args, principal, tool } = this.what;
    return { args, response, principal, tool };
  }

  private failed(rule: CompiledRule, facts: Partial<Became>, reason: string): Became {
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
    if (!this.signal.aborted) this.tellings?.end();
    return { bytes: splice(what.bytes, edits), outcomes, warnings };
  }
}

/** Sources quote what they could not use. The agent knows its values; the record keeps none that its settings leave out. */
const withoutQuoted = (message: string): string => message.replace(/"[^"]*"|'[^']*'/g, '…');

const GONE = 'nobody waits for it any more';

type Became = Omit<RuleOutcome, 'rule' | 'version' | 'ms'>;

const skipped = ({ name, version }: CompiledRule, reason: string): RuleOutcome => ({
  rule: name,
  version,
  outcome: 'skipped',
  reason,
  ms: 0,
});

const sourceName = ({ request }: CompiledRule): string =>
  request.kind === 'tool' ? `tool ${request.tool}` : request.source;
