/** A rule compiled: everything that can be worked out before a call is. */
import type { RuleConfig } from '../config/document.ts';
import type { Json } from '../mcp/exact-json.ts';
import type { Template } from '../sources/source.ts';

/** What paths and conditions see: the same everywhere. */
export interface Root {
  readonly args: Json;
  /** The response as earlier rules left it. */
  readonly response: Json;
  readonly principal: Json;
  readonly tool: Json;
  /** One element, in bindings of a rule with `forEach`. */
  readonly item?: Json;
}

/** A compiled JSONPath. Nothing found: an empty list. */
export interface Path {
  readonly text: string;
  find(root: Json | Root): readonly Json[];
  /** Where: keys and indices from the root. */
  places(root: Json | Root): readonly Place[];
}
export type Place = readonly (string | number)[];

/** Why a condition does not hold; undefined: it does. */
export type Condition = (root: Root) => string | undefined;

export interface CompiledRule {
  /** Row id; of a draft: `draft`. */
  readonly id: string;
  readonly name: string;
  readonly version: number;
  readonly tenant: string;
  readonly config: RuleConfig;
  readonly when: Condition;
  readonly forEach: Path | undefined;
  /** By name of the template; a constant has no path. */
  readonly bindings: ReadonlyMap<string, Path | { readonly constant: Json }>;
  /** With `forEach`: bindings of the element. */
  readonly itemNames: ReadonlySet<string>;
  /** With `forEach`: pairs of a row's column and the binding of the element that it equals. */
  readonly match: readonly (readonly [column: string, binding: string])[];
  readonly request: Request;
  /** Keys of `merge.path`. */
  readonly target: readonly string[];
}

export type Request =
  | { readonly kind: 'source'; readonly source: string; readonly template: Template }
  | { readonly kind: 'tool'; readonly tool: string; readonly template: Template }
  /** Works out its own questions (presets/). */
  | { readonly kind: 'preset'; readonly source: string; readonly preset: 'table_context' | 'query_context' };

/**
 * `merged`; `kept`: something stood there already; `repeated`: the session had been told; `empty`: the source knew nothing;
 * `skipped`: `when` did not hold or a binding found nothing; `failed`; `off`: its error budget is spent.
 */
export const OUTCOMES = ['merged', 'kept', 'repeated', 'empty', 'skipped', 'failed', 'off'] as const;

/** What became of one rule in one call: for the audit, the spans, the metrics and a dry run. */
export interface RuleOutcome {
  readonly rule: string;
  readonly version: number;
  readonly outcome: (typeof OUTCOMES)[number];
  /** Why nothing was added. */
  readonly reason?: string;
  /** `warehouse`, or `tool crm__get_account`. */
  readonly source?: string;
  /** The request with every value in its place. Only kept by a dry run. */
  readonly query?: string;
  readonly cached?: boolean;
  readonly rows?: number;
  readonly truncated?: boolean;
  /** Bytes of JSON added. */
  readonly bytes?: number;
  /** Estimated at four bytes a token. */
  readonly tokensSaved?: number;
  /** Elements enriched, of those found (`forEach`). */
  readonly elements?: readonly [enriched: number, found: number];
  readonly ms: number;
}
