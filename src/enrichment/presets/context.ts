/** What a preset is given. */
import type { Json } from '../../mcp/exact-json.ts';
import type { Rendered, SourceAnswer } from '../../sources/source.ts';
import type { Root } from '../rule.ts';

export interface PresetContext {
  readonly root: Root;
  /** What the rule binds, by name. */
  readonly values: ReadonlyMap<string, readonly Json[]>;
  /** Of the source that `use` names. */
  readonly sourceName: string;
  /** Asks that source, with a request of its kind. Rejects with SourceError. */
  ask(rendered: Rendered): Promise<SourceAnswer>;
}

/** Gives rows to merge; none: there is nothing to say. */
export type Preset = (context: PresetContext) => Promise<readonly Json[]>;
