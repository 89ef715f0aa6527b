/** What a rule asks of a tool: each binding is the argument of its name. */
import { isItemPath } from '../../enrichment/item-path.ts';
import { compilePath } from '../../enrichment/paths.ts';
import type { Path } from '../../enrichment/rule.ts';
import { type Json, type JsonObject, jsonText, parseJson } from '../../mcp/exact-json.ts';
import type { CatalogItem } from '../../snapshot/snapshot.ts';
import { shownText } from '../shown-text.ts';
import type { Bound, Compiled, Rendered } from '../source.ts';

export interface ToolRequest extends Rendered {
  readonly args: JsonObject;
  /** What of the answer becomes rows; undefined: the answer itself (rows.ts). */
  readonly rows: Path | undefined;
}

export function compileTool(source: {
  readonly tool: string;
  readonly rows?: string;
  readonly bind: Readonly<Record<string, unknown>>;
}): Compiled {
  const rows = source.rows === undefined ? undefined : compilePath(source.rows, { roots: [] });
  if (rows !== undefined && 'fault' in rows) return { faults: [{ path: 'source.rows', message: rows.fault }] };
  const names = new Map(
    Object.entries(source.bind).map(([name, value]) => {
      // A tool is given a list, with a value for each element.
      const isList = typeof value === 'string' && isItemPath(value);
      return [name, isList ? 'list' : 'one'] as const;
    }),
  );
  return {
    template: {
      names,
      // Which tool it is, only the caller's namespace knows: see mayWrite.
      mayWrite: true,
      render: (values) => render(source.tool, rows, values),
    },
  };
}

function render(tool: string, rows: Path | undefined, values: ReadonlyMap<string, Bound>): ToolRequest {
  // fromEntries defines members, so that even `__proto__` is only a name.
  const args = Object.fromEntries(values) as Record<string, Json>;
  const shown = `${tool} ${jsonText(args)}`;
  return {
    shown: shownText(shown),
    key: JSON.stringify([shown, rows?.text]),
    args,
    rows,
  };
}

/** Unless the tool says that it only reads (`annotations.readOnlyHint`): it is false by default, and only its server's word. */
export function mayWrite({ definition }: CatalogItem): boolean {
  const { annotations } = parseJson(definition) as { readonly annotations?: Json };
  return (annotations as { readonly readOnlyHint?: unknown } | null | undefined)?.readOnlyHint !== true;
}
