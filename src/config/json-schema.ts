/** JSON Schema of what people write, for editors and for the OpenAPI document; generated from the zod schemas. */
import { z } from 'zod';
import { resolvedSecret } from './fields.ts';
import {
  apiKeySchema,
  configFileSchema,
  connectionSchema,
  namespaceSchema,
  personaSchema,
  ruleSchema,
  settingsSchema,
  sourceSchema,
} from './schema.ts';

const SHAPES = {
  connection: connectionSchema,
  namespace: namespaceSchema,
  persona: personaSchema,
  settings: settingsSchema,
  apiKey: apiKeySchema,
  source: sourceSchema,
  rule: ruleSchema,
} as const;

/** The schema of `sallyport.yaml` (draft-07, which every editor reads). */
export function configJsonSchema(): object {
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'Sallyport configuration',
    ...withoutDialect(convert(configFileSchema)),
  };
}

/** The schema of one thing as the admin API takes it, without its name. */
export function writtenJsonSchema(shape: keyof typeof SHAPES): object {
  return withoutDialect(convert(SHAPES[shape]));
}

function convert(schema: z.ZodType): Record<string, unknown> {
  return z.toJSONSchema(schema, {
    io: 'input',
    target: 'draft-7',
    unrepresentable: 'any',
    // The form in which secrets travel between programs is not for people.
    override: ({ zodSchema, jsonSchema }) => {
      if (zodSchema instanceof z.ZodUnion && zodSchema.options.includes(resolvedSecret)) jsonSchema.anyOf?.pop();
    },
  });
}

function withoutDialect({ $schema: _, ...schema }: Record<string, unknown>): Record<string, unknown> {
  return schema;
}
