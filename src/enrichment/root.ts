/** What rules see of who calls, and of what: the same in the data plane and in a dry run. */
import { type JsonObject, parseJson } from '../mcp/exact-json.ts';
import type { CatalogItem } from '../snapshot/snapshot.ts';

/** Who calls, as paths and conditions see it: every key there is, `''` where nothing is known. */
export interface SeenPrincipal extends JsonObject {
  readonly subject: string;
  /** Id of the tenant. */
  readonly tenant: string;
  readonly roles: readonly string[];
  /** How the caller was identified. */
  readonly method: string;
  /** Name of the persona. */
  readonly persona: string;
  /** Name of the client, as it says it itself. */
  readonly client: string;
  readonly namespace: string;
}

export interface CalledTool {
  /** As its upstream calls it. */
  readonly name: string;
  /** As the client calls it. */
  readonly wireName: string;
  /** Name of the connection. */
  readonly connection: string;
  /** undefined: the catalog has no such tool. */
  readonly item: CatalogItem | undefined;
}

/** `tool` of paths and conditions: the definition, under the upstream's own name. */
export function seenTool({ name, wireName, connection, item }: CalledTool): JsonObject {
  const { title, description, annotations } = definitionOf(item);
  return {
    name,
    wireName,
    connection,
    title: title ?? '',
    description: description ?? '',
    annotations: annotations ?? {},
  };
}

/** Read once for each definition there is. */
const definitions = new WeakMap<CatalogItem, JsonObject>();

function definitionOf(item: CatalogItem | undefined): JsonObject {
  if (item === undefined) return {};
  let definition = definitions.get(item);
  if (definition === undefined) {
    definition = parseJson(item.definition) as JsonObject;
    definitions.set(item, definition);
  }
  return definition;
}
