import type { Path } from '../enrichment/rule.ts';
import type { Json } from '../mcp/exact-json.ts';

/** An array is rows, whether it is the answer or what a path found in it; anything else is one row, and null is none. */
export function selectRows(answer: Json, path: Path | undefined): readonly Json[] {
  const found = path === undefined ? [answer] : path.find(answer);
  const [only] = found;
  const rows = found.length === 1 && Array.isArray(only) ? (only as readonly Json[]) : found;
  return rows.length === 1 && rows[0] === null ? [] : rows;
}
