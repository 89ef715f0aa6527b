/** Ready-made rules: what a call is about, and the questions that follow, are worked out by code. */
import type { SourceType } from '../../config/document.ts';
import type { Json } from '../../mcp/exact-json.ts';
import type { Rendered, SourceAnswer } from '../../sources/source.ts';
import type { Root } from '../rule.ts';
import { queryContext } from './query-context.ts';
import { tableContext } from './table-context.ts';

export interface PresetContext {
  readonly root: Root;
  /** What the rule binds, by name. */
  readonly values: ReadonlyMap<string, readonly Json[]>;
  /** Of the source that `use` names. */
  readonly sourceType: SourceType;
  readonly sourceName: string;
  /** Asks that source, with a request of its kind. Rejects with SourceError. */
  ask(rendered: Rendered): Promise<SourceAnswer>;
}

/** Gives rows to merge; none: there is nothing to say. */
export type Preset = (context: PresetContext) => Promise<readonly Json[]>;

export interface KnownPreset {
  readonly preset: Preset;
  /** What it asks. */
  readonly sourceType: SourceType;
  /** What may be bound; nothing must be. */
  readonly names: ReadonlySet<string>;
  /** Where its rows go unless the rule says otherwise. */
  readonly path: string;
}

export const PRESETS: Readonly<Record<'table_context' | 'query_context', KnownPreset>> = {
  table_context: {
    preset: tableContext,
    sourceType: 'datahub',
    names: new Set(['tables', 'catalog', 'schema', 'platform', 'instance', 'env']),
    path: 'semantic_context',
  },
  query_context: {
    preset: queryContext,
    sourceType: 'trino',
    names: new Set(['platform', 'instance', 'catalog']),
    path: 'query_context',
  },
};
