import { writtenJsonSchema } from '../config/json-schema.ts';
import type { Api, JsonSchema } from './endpoint.ts';

/** The published schemas: as people write it under a name, and with what the gateway adds. */
export function describeRows(
  api: Api,
  kind: 'connection' | 'namespace' | 'persona' | 'source' | 'rule',
  extra: JsonSchema = {},
) {
  const written = writtenJsonSchema(kind) as JsonSchema;
  const title = `${kind[0]?.toUpperCase()}${kind.slice(1)}`;
  const component = (name: string, schema: JsonSchema): JsonSchema => {
    api.openAPIRegistry.registerComponent('schemas', name, schema as never);
    return { $ref: `#/components/schemas/${name}` };
  };
  const name = { type: 'string' };
  const meta = {
    name,
    owner: { enum: ['api', 'file', 'demo'] },
    version: { type: 'integer' },
    createdAt: { type: 'string', format: 'date-time' },
    updatedAt: { type: 'string', format: 'date-time' },
  };
  const body = component(`${title}Body`, withMembers(written, { name }, []));
  const shown = component(title, withMembers(written, { ...extra, ...meta }, Object.keys(meta)));
  const page = {
    type: 'object',
    properties: { items: { type: 'array', items: shown }, nextCursor: { type: 'string' } },
    required: ['items'],
  };
  return { body, shown, page };
}

/** The schema of an object, or of several kinds of objects, with members more. */
function withMembers(schema: JsonSchema, members: Readonly<Record<string, object>>, needed: string[]): JsonSchema {
  for (const union of ['oneOf', 'anyOf'] as const) {
    const kinds = schema[union] as readonly JsonSchema[] | undefined;
    if (kinds) return { ...schema, [union]: kinds.map((kind) => withMembers(kind, members, needed)) };
  }
  const { additionalProperties: _, ...open } = schema;
  const { properties, required = [] } = schema as { properties?: object; required?: readonly string[] };
  // A body has no other members; an answer may get more with a later version.
  return {
    ...(needed.length === 0 ? schema : open),
    properties: { ...properties, ...members },
    required: [...new Set([...required, ...needed])],
  };
}
