/** The rules of one tenant by the tools they fit. */
import { inOrder } from '../config/running-order.ts';
import { type Glob, glob } from '../policy/glob.ts';
import type { CompiledRule } from './rule.ts';

const NONE: readonly CompiledRule[] = [];
/** Tools come from catalogs, but catalogs come from upstreams: no more than this many are remembered. */
const MAX_REMEMBERED = 50_000;

export class RuleBook {
  /** In the order in which they run. */
  readonly rules: readonly CompiledRule[];
  private readonly patterns: readonly { readonly rule: CompiledRule; readonly connection: Glob; readonly tool: Glob }[];
  private readonly remembered = new Map<string, readonly CompiledRule[]>();

  /** In any order; rules that are not enabled are left out. */
  constructor(rules: readonly CompiledRule[]) {
    this.rules = rules.filter(({ config }) => config.enabled).sort(inOrder);
    this.patterns = this.rules.map((rule) => ({
      rule,
      connection: glob(rule.config.connection),
      tool: glob(rule.config.tool),
    }));
  }

  /** `tool`: as its upstream calls it. */
  forTool(connection: string, tool: string): readonly CompiledRule[] {
    if (this.patterns.length === 0) return NONE;
    const key = `${connection} ${tool}`;
    let fitting = this.remembered.get(key);
    if (fitting === undefined) {
      fitting = this.patterns
        .filter((one) => one.connection.matches(connection) && one.tool.matches(tool))
        .map(({ rule }) => rule);
      if (this.remembered.size >= MAX_REMEMBERED) this.remembered.clear();
      this.remembered.set(key, fitting);
    }
    return fitting;
  }
}
