/**
 * What rules add to a tool's results, its output schema must allow. Worked out for whoever looks: with thousands of tools
 * and rules it takes longer than all the rest, and a snapshot is compiled whenever any catalog changes.
 */
import type { CompiledRule } from '../enrichment/rule.ts';
import type { RuleBook } from '../enrichment/rule-book.ts';
import { widenSchema } from '../enrichment/widen.ts';
import type { CatalogItem, NamespaceItem } from './snapshot.ts';

/** The same map, its tools with the definitions that clients get to see. */
export function widened(tools: Map<string, NamespaceItem>, rules: RuleBook): Map<string, NamespaceItem> {
  if (rules.rules.length === 0) return tools;
  for (const [wireName, { connection, item }] of tools) {
    tools.set(wireName, {
      wireName,
      connection,
      item,
      get definition() {
        return wideDefinition(item, rules.forTool(connection.name, item.name));
      },
    });
  }
  return tools;
}

/** Kept as long as the rules are the same. */
const wide = new WeakMap<CatalogItem, { readonly rules: readonly CompiledRule[]; readonly definition: string }>();

function wideDefinition(item: CatalogItem, rules: readonly CompiledRule[]): string {
  if (rules.length === 0) return item.definition;
  let known = wide.get(item);
  if (known?.rules !== rules) {
    const targets = rules.map(({ config, target }) => ({
      forEach: config.forEach,
      path: target,
      onConflict: config.merge.onConflict,
    }));
    known = { rules, definition: widenSchema(item.definition, targets) };
    wide.set(item, known);
  }
  return known.definition;
}
