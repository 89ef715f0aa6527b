/** What enrichment keeps between calls, in one process. */
import type { Sources } from '../sources/sources.ts';
import type { CompiledRule } from './rule.ts';

export interface EnrichmentWorld {
  readonly sources: Sources;
  readonly budgets: Budgets;
  readonly told: Told;
}

/** Which rules have failed too often. A trip is stored and told to all processes; it holds for that version of the rule. */
export interface Budgets {
  isOff(rule: CompiledRule): boolean;
  /** Counts a failure; the one that is too many switches the rule off everywhere, with an alert in log and metrics. */
  failed(rule: CompiledRule, reason: string): void;
}

/** What sessions have been told already. */
export interface Told {
  /** A short name for this context (`ctx_` and letters: stable, from its digest) and whether the session has had it. */
  look(sessionId: string, text: string): { readonly name: string; readonly again: boolean };
  /** The same, and notes that it has had it now, here and, by and by, in all processes. */
  tell(sessionId: string, text: string): { readonly name: string; readonly again: boolean };
  forget(sessionId: string): void;
}
