/** `query_context`: whether the datasets that a DataHub tool's response names can be queried in Trino, and how. */
import { ExactNumber, isObject, type Json, type JsonObject } from '../../mcp/exact-json.ts';
import { parseDatasetUrn } from '../../sources/datahub/urn.ts';
import { SourceError } from '../../sources/source.ts';
import { literal } from '../../sources/trino/literal.ts';
import type { TrinoRequest } from '../../sources/trino/template.ts';
import type { PresetContext } from './context.ts';
import { isName, quoteIdentifier } from './identifier.ts';
import { boundText, dotted, type TableName } from './table-name.ts';

const MAX_TABLES = 20;
const MAX_DEPTH = 32;
/** Values looked at. */
const MAX_VALUES = 50_000;
/** Of a sample query. */
const MAX_COLUMNS = 10;
const SAMPLE_ROWS = 10;
/** Milliseconds. Row counts are nice to have; what is known without them does not wait longer for them. */
const COUNTS_WITHIN_MS = 1500;

type Ask = PresetContext['ask'];

/**
 * One row: `{ "urn:li:dataset:(…)": { queryable: true, source, table, sampleQuery, rowCount } }`, or `queryable: false` and
 * why. One statement for each catalog, and `SHOW STATS` for each table. May be bound: `platform` (of the URNs; default
 * `trino`), `instance` (what DataHub has in front of names), `catalog` (of names that lack one).
 */
export async function queryContext(
  { root, values, sourceName, ask }: PresetContext,
  countsWithinMs = COUNTS_WITHIN_MS,
): Promise<readonly Json[]> {
  const named = namedTables(root.response, {
    platform: boundText(values, 'platform') ?? 'trino',
    instance: boundText(values, 'instance'),
    catalog: boundText(values, 'catalog'),
  });
  if (named.size === 0) return [];
  const columns = await columnsOf([...named.values()], ask);
  const counts = await rowCounts([...named.values()], columns, ask, countsWithinMs);
  const row: Record<string, JsonObject> = {};
  for (const [urn, name] of named) {
    const found = columns.get(dotted(name));
    if (found === undefined) continue;
    const about = { source: sourceName, table: dotted(name) };
    const rowCount = counts.get(dotted(name));
    row[urn] =
      typeof found === 'string'
        ? { queryable: false, ...about, reason: found }
        : {
            queryable: true,
            ...about,
            sampleQuery: sampleQuery(name, found),
            ...(rowCount === undefined ? {} : { rowCount }),
          };
  }
  return [row];
}

const NOT_FOUND = 'Trino has no such table, or its user may not see it';

interface Naming {
  readonly platform: string;
  readonly instance: string | undefined;
  readonly catalog: string | undefined;
}

/** Tables by the URN that names them. */
function namedTables(response: Json, naming: Naming): ReadonlyMap<string, TableName> {
  const tables = new Map<string, TableName>();
  let left = MAX_VALUES;
  const visit = (value: Json, depth: number): void => {
    if (left-- <= 0 || depth > MAX_DEPTH || tables.size >= MAX_TABLES) return;
    if (typeof value === 'string') {
      const name = tableOf(value, naming);
      if (name !== undefined) tables.set(value, name);
    } else if (Array.isArray(value)) for (const item of value as readonly Json[]) visit(item, depth + 1);
    else if (isObject(value)) for (const item of Object.values(value)) visit(item, depth + 1);
  };
  visit(response, 0);
  return tables;
}

function tableOf(text: string, { platform, instance, catalog }: Naming): TableName | undefined {
  const dataset = text.startsWith('urn:li:dataset:') ? parseDatasetUrn(text) : undefined;
  if (dataset?.platform !== platform) return undefined;
  const prefix = instance === undefined ? '' : `${instance}.`;
  if (!dataset.name.startsWith(prefix)) return undefined;
  const parts = dataset.name.slice(prefix.length).split('.');
  if (parts.length === 2 && catalog !== undefined) parts.unshift(catalog);
  const [inCatalog = '', schema = '', ...rest] = parts.map((part) => part.toLowerCase());
  const name = { catalog: inCatalog, schema, table: rest.join('.') };
  return isName(name.catalog) && isName(name.schema) && isName(name.table) ? name : undefined;
}

/** By table: its first columns, or why it cannot be queried. What an answer was too long for is left out. */
type Found = ReadonlyMap<string, readonly string[] | string>;

async function columnsOf(names: readonly TableName[], ask: Ask): Promise<Found> {
  const byCatalog = new Map<string, TableName[]>();
  for (const name of names) byCatalog.set(name.catalog, [...(byCatalog.get(name.catalog) ?? []), name]);
  const found = new Map<string, readonly string[] | string>();
  await Promise.all(
    [...byCatalog].map(async ([catalog, inCatalog]) => {
      const answer = await ask(columnsStatement(catalog, inCatalog)).catch(reasonOf);
      for (const name of inCatalog) {
        if (typeof answer === 'string') found.set(dotted(name), answer);
        else if (!answer.isTruncated) found.set(dotted(name), NOT_FOUND);
      }
      if (typeof answer === 'string') return;
      for (const row of answer.rows) {
        if (!isObject(row) || typeof row.table_schema !== 'string' || typeof row.table_name !== 'string') continue;
        const columns = Array.isArray(row.columns) ? (row.columns as readonly Json[]) : [];
        found.set(
          dotted({ catalog, schema: row.table_schema, table: row.table_name }),
          columns.filter((column): column is string => typeof column === 'string' && isName(column)),
        );
      }
    }),
  );
  return found;
}

/** Trino's word on one catalog (it has none of that name, say). All else concerns the others, too. */
function reasonOf(error: unknown): string {
  if (error instanceof SourceError && (error.kind === 'refused' || error.kind === 'bad value')) return error.message;
  throw error;
}

function columnsStatement(catalog: string, names: readonly TableName[]): TrinoRequest {
  const list = (texts: readonly string[]): string => [...new Set(texts)].map(quoted).join(', ');
  const schemas = list(names.map(({ schema }) => schema));
  const tables = list(names.map(({ table }) => table));
  const pairs = names.map(({ schema, table }) => `(${quoted(schema)}, ${quoted(table)})`);
  // The lists are what connectors can use to look at these tables only.
  return trino(`SELECT table_schema, table_name, slice(array_agg(column_name ORDER BY ordinal_position), 1, ${MAX_COLUMNS}) AS columns
FROM ${quoteIdentifier(catalog)}.information_schema.columns
WHERE table_schema IN (${schemas}) AND table_name IN (${tables})
  AND (table_schema, table_name) IN (${[...new Set(pairs)].join(', ')})
GROUP BY table_schema, table_name`);
}

/** What connectors know without counting. Tables that none is known of are left out. */
async function rowCounts(
  names: readonly TableName[],
  found: Found,
  ask: Ask,
  withinMs: number,
): Promise<ReadonlyMap<string, Json>> {
  const counts = new Map<string, Json>();
  const asking = names.map(async (name) => {
    const columns = found.get(dotted(name));
    if (columns === undefined || typeof columns === 'string') return;
    const count = await ask(statisticsStatement(name, columns)).then(countOf, () => undefined);
    if (count !== undefined) counts.set(dotted(name), count);
  });
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, withinMs);
  });
  await Promise.race([Promise.all(asking), late]);
  clearTimeout(timer);
  return new Map(counts);
}

/** Of one column: a table may have more of them than a rule takes rows. */
function statisticsStatement(name: TableName, [column]: readonly string[]): TrinoRequest {
  const table = identifier(name);
  return trino(`SHOW STATS FOR ${column === undefined ? table : `(SELECT ${quoteIdentifier(column)} FROM ${table})`}`);
}

/** The row without a column is about the table. A double, though it counts. */
function countOf({ rows }: { readonly rows: readonly Json[] }): Json | undefined {
  const count = rows.find((row): row is JsonObject => isObject(row) && row.column_name === null)?.row_count;
  if (count instanceof ExactNumber) return count;
  return typeof count === 'number' && Number.isFinite(count) ? Math.round(count) : undefined;
}

const identifier = ({ catalog, schema, table }: TableName): string =>
  [catalog, schema, table].map(quoteIdentifier).join('.');

function sampleQuery(name: TableName, columns: readonly string[]): string {
  const selected = columns.length === 0 ? '*' : columns.map(quoteIdentifier).join(', ');
  return `SELECT ${selected} FROM ${identifier(name)} LIMIT ${SAMPLE_ROWS}`;
}

const quoted = (text: string): string => literal(text, 'table');

/** A request of Trino's kind. Names in it are as the call has them. */
const trino = (statement: string): TrinoRequest => ({
  statement,
  hasValues: true,
  shown: statement,
  key: statement,
});
