/** `table_context`: what DataHub knows of the tables that a call of a Trino tool is about. */
import { isObject, type Json, type JsonObject } from '../../mcp/exact-json.ts';
import { renderEntities } from '../../sources/datahub/template.ts';
import { datasetUrn, isUrn } from '../../sources/datahub/urn.ts';
import { tablesOfCall } from './call-tables.ts';
import type { PresetContext } from './context.ts';
import { boundText } from './table-name.ts';

/** Said by the table's name already. */
const LEFT_OUT = new Set(['name', 'type', 'platform', 'subTypes']);

/**
 * One row: `{ tables: { "tpch.tiny.customer": { urn, description, owners, … } } }`, with all tables asked for in one
 * request. May be bound: `tables` (only these), `catalog` and `schema` (of names that lack them), and what DataHub calls
 * them: `platform` (default `trino`), `instance`, `env` (default `PROD`).
 */
export async function tableContext({ root, values, ask }: PresetContext): Promise<readonly Json[]> {
  const scope = { catalog: boundText(values, 'catalog'), schema: boundText(values, 'schema') };
  const named = tablesOfCall(root, scope, values.get('tables'));
  const platform = boundText(values, 'platform') ?? 'trino';
  const env = boundText(values, 'env') ?? 'PROD';
  const instance = boundText(values, 'instance');
  const names = new Map<string, string>();
  for (const name of named.keys()) {
    const urn = datasetUrn({ platform, env, name: instance === undefined ? name : `${instance}.${name}` });
    if (isUrn(urn)) names.set(urn, name);
  }
  if (names.size === 0) return [];
  const { rows } = await ask(renderEntities([...names.keys()], { columns: 'described' }));
  const tables: Record<string, JsonObject> = {};
  for (const row of rows) {
    if (!isObject(row) || typeof row.urn !== 'string') continue;
    const name = names.get(row.urn);
    const known = Object.entries(row).filter(([key]) => !LEFT_OUT.has(key));
    // A URN alone says nothing of the table.
    if (name !== undefined && known.length > 1) tables[name] = Object.fromEntries(known);
  }
  return Object.keys(tables).length === 0 ? [] : [{ tables }];
}
