/**
 * Which arguments of a tool its calls repeat as `Mcp-Param-*` headers: the `x-mcp-header` annotations of its input schema
 * (MCP 2026-07-28, Streamable HTTP, "Schema Extension").
 */

export interface ParamHeader {
  /** The part after `Mcp-Param-`, as written. */
  readonly header: string;
  /** Property names from the arguments' root to the value. */
  readonly path: readonly string[];
  readonly type: 'string' | 'integer' | 'boolean';
}

/** The annotations of a tool's definition (its JSON text); or why the tool must not be offered. */
export function paramHeaders(definition: string): { params: readonly ParamHeader[] } | { fault: string } {
  // Most tools have none, and schemas are long.
  if (!definition.includes('mcp-header') && !definition.includes('\\u')) return NONE;
  const tool = JSON.parse(definition) as { inputSchema?: unknown };
  const found: ParamHeader[] = [];
  const fault = read(tool.inputSchema, [], true, found);
  return fault === undefined ? { params: found } : { fault };
}

const NONE = { params: [] };
const ANNOTATION = 'x-mcp-header';
/** RFC 9110 §5.1. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** Keywords whose value is a schema, a list of schemas, or (the last ones) schemas by name. */
const SCHEMAS = [
  'items',
  'additionalItems',
  'prefixItems',
  'contains',
  'additionalProperties',
  'unevaluatedProperties',
  'unevaluatedItems',
  'propertyNames',
  'contentSchema',
  'oneOf',
  'anyOf',
  'allOf',
  'not',
  'if',
  'then',
  'else',
];
const NAMED_SCHEMAS = ['patternProperties', 'dependentSchemas', 'dependencies', '$defs', 'definitions'];

/**
 * Adds the annotations of a schema and all within it; returns the first fault. `isReachable`: only `properties` lead here,
 * so the value's place in the arguments is known. `default`, `enum` and the like hold values, not schemas.
 */
function read(
  schema: unknown,
  path: readonly string[],
  isReachable: boolean,
  found: ParamHeader[],
): string | undefined {
  if (!isObject(schema)) return undefined;
  if (Object.hasOwn(schema, ANNOTATION)) {
    const fault = note(schema, path, isReachable, found);
    if (fault !== undefined) return fault;
  }
  for (const [name, inner] of Object.entries(isObject(schema.properties) ? schema.properties : {})) {
    const fault = read(inner, [...path, name], isReachable, found);
    if (fault !== undefined) return fault;
  }
  for (const keyword of [...SCHEMAS, ...NAMED_SCHEMAS]) {
    const value = schema[keyword];
    if (value === undefined) continue;
    const inner =
      Array.isArray(value) || (NAMED_SCHEMAS.includes(keyword) && isObject(value)) ? Object.values(value) : [value];
    for (const one of inner) {
      const fault = read(one, [...path, `(${keyword})`], false, found);
      if (fault !== undefined) return fault;
    }
  }
  return undefined;
}

function note(
  schema: Record<string, unknown>,
  path: readonly string[],
  isReachable: boolean,
  found: ParamHeader[],
): string | undefined {
  const header = schema[ANNOTATION];
  const where = path.length === 0 ? 'the schema itself' : path.join('.');
  if (!isReachable || path.length === 0) return `${ANNOTATION} at ${where}: only properties may have it`;
  if (typeof header !== 'string' || !TOKEN.test(header)) {
    return `${ANNOTATION} at ${where} is ${JSON.stringify(header)?.slice(0, 100)}, which is no header name`;
  }
  const { type } = schema;
  if (type !== 'string' && type !== 'integer' && type !== 'boolean') {
    return `${ANNOTATION} at ${where}: its type is ${JSON.stringify(type)?.slice(0, 100) ?? 'missing'}, not string, integer or boolean`;
  }
  const same = found.find((other) => other.header.toLowerCase() === header.toLowerCase());
  if (same !== undefined)
    return `${ANNOTATION} ${JSON.stringify(header)} at ${where} is also at ${same.path.join('.')}`;
  found.push({ header, path, type });
  return undefined;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
