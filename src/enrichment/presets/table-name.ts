/** Names of tables in Trino, which does not tell upper from lower case. */
import type { Json } from '../../mcp/exact-json.ts';

export interface TableName {
  readonly catalog: string;
  readonly schema: string;
  readonly table: string;
}

/** What a name without catalog or schema is in. */
export interface Scope {
  readonly catalog?: string | undefined;
  readonly schema?: string | undefined;
}

export const dotted = ({ catalog, schema, table }: TableName): string => `${catalog}.${schema}.${table}`;

/** Up to three parts, the last being the table. undefined: no name, or nothing says what it is in. */
export function resolve(parts: readonly string[], scope: Scope): TableName | undefined {
  const [table, schema = scope.schema, catalog = scope.catalog, ...more] = [...parts].reverse();
  if (!table || !schema || !catalog || more.length > 0) return undefined;
  return { catalog: catalog.toLowerCase(), schema: schema.toLowerCase(), table: table.toLowerCase() };
}

const PART = /\s*(?:"((?:[^"]|"")+)"|([^".\s]+))\s*(\.|$)/y;
/** Characters. */
const MAX_NAME = 1000;

/** `tpch.tiny."Order"` → its parts. Empty: no such name. */
export function partsOf(text: string): readonly string[] {
  const parts: string[] = [];
  if (text.length > MAX_NAME) return parts;
  PART.lastIndex = 0;
  for (;;) {
    const found = PART.exec(text);
    if (found === null) return [];
    parts.push(found[1]?.replaceAll('""', '"') ?? found[2] ?? '');
    if (found[3] === '') return parts;
  }
}

/** The first text of what is bound. */
export const boundText = (values: ReadonlyMap<string, readonly Json[]>, name: string): string | undefined =>
  values.get(name)?.find((value): value is string => typeof value === 'string' && value !== '');
