/** What DataHub knows of a dataset's columns: as ingested, and as edited by people. */
import type { Json, JsonObject } from '../../mcp/exact-json.ts';
import { childrenOf, compact, textAt, valueAt } from './read.ts';
import type { Columns } from './template.ts';

/** At most so many of one dataset, where only described ones are told. */
const MAX_DESCRIBED = 50;

interface Marks {
  readonly tagsOf: (entity: JsonObject) => string[];
  readonly termsOf: (entity: JsonObject) => JsonObject[];
}

/** Column by column, in the order of the schema. */
export function columnsOf(entity: JsonObject, which: Exclude<Columns, 'none'>, marks: Marks): JsonObject[] {
  const edited = new Map<string, JsonObject>();
  for (const field of childrenOf(entity, 'editableSchemaMetadata', 'editableSchemaFieldInfo')) {
    const name = nameOf(field);
    if (name !== undefined) edited.set(name, field);
  }
  const columns: JsonObject[] = [];
  for (const field of childrenOf(entity, 'schemaMetadata', 'fields')) {
    const name = nameOf(field);
    if (name === undefined) continue;
    const column = columnOf(name, field, edited.get(name) ?? {}, marks);
    if (which === 'all' || 'description' in column || 'tags' in column || 'glossaryTerms' in column)
      columns.push(column);
    if (which === 'described' && columns.length === MAX_DESCRIBED) break;
  }
  return columns;
}

function columnOf(name: string, field: JsonObject, edited: JsonObject, { tagsOf, termsOf }: Marks): JsonObject {
  const isKey = valueAt(field, 'isPartOfKey') === true;
  const isRequired = valueAt(field, 'nullable') === false;
  return compact({
    name,
    type: textAt(field, 'nativeDataType'),
    description: textAt(edited, 'description') ?? textAt(field, 'description'),
    isKey: isKey || undefined,
    nullable: isRequired ? false : undefined,
    tags: [...new Set([...tagsOf(edited), ...tagsOf(field)])],
    glossaryTerms: distinct([...termsOf(edited), ...termsOf(field)]),
  });
}

const distinct = (terms: readonly JsonObject[]): Json => [
  ...new Map(terms.map((term) => [term.urn ?? term.name, term])).values(),
];

/** `[version=2.0].[type=struct].[type=string].name` → `name`: the types of nested fields stand in the path. */
function nameOf(field: JsonObject): string | undefined {
  const path = textAt(field, 'fieldPath');
  if (path === undefined || !path.includes('[')) return path;
  return path.replace(/\[(?:version|type|key)=[^\]]*\]\.?/g, '') || path;
}
