/** Ready-made rules: what a call is about, and the questions that follow, are worked out by code. */
import type { SourceType } from '../../config/document.ts';
import type { Preset } from './context.ts';
import { queryContext } from './query-context.ts';
import { tableContext } from './table-context.ts';

export interface KnownPreset {
  readonly preset: Preset;
  /** What it asks. */
  readonly sourceType: SourceType;
  /** What may be bound; nothing must be. */
  readonly names: ReadonlySet<string>;
}

export const PRESETS: Readonly<Record<'table_context' | 'query_context', KnownPreset>> = {
  table_context: {
    preset: tableContext,
    sourceType: 'datahub',
    names: new Set(['tables', 'catalog', 'schema', 'platform', 'instance', 'env']),
  },
  query_context: {
    preset: queryContext,
    sourceType: 'trino',
    names: new Set(['platform', 'instance', 'catalog']),
  },
};
