/**
 * Bodies of the admin API: JSON in the shape that people write, checked, or every problem with its path. References
 * inside are not resolved here; see `resolveSecrets` and `resolveDocument` in `resolve.ts`.
 */

import { z } from 'zod';
import type {
  ConfigDocument,
  ConnectionConfig,
  NamespaceConfig,
  PersonaConfig,
  RuleConfig,
  SecretInput,
  SourceConfig,
} from './document.ts';
import { date, role, strict } from './fields.ts';
import { connectionNameFault, namespaceNameFault, plainNameFault } from './names.ts';
import type { PlacedProblem, Problem } from './problems.ts';
import { pathText, toProblem, validate } from './problems.ts';
import {
  configFileSchema,
  connectionSchema,
  namespaceSchema,
  personaSchema,
  ruleSchema,
  sourceSchema,
} from './schema.ts';
import { mapSecrets, pointerSteps, type WithSecrets } from './secrets.ts';

export type Parsed<T> = { readonly value: T } | { readonly problems: readonly Problem[] };

/** A row of the API: its name may stand in the body (POST) or only in the path (PUT). */
export interface Named<T> {
  readonly name: string | undefined;
  readonly config: T;
}

export function parseConnectionBody(json: unknown): Parsed<Named<ConnectionConfig>> {
  return withoutTemplates(parseNamed(json, connectionSchema, connectionNameFault));
}

export function parseSourceBody(json: unknown): Parsed<Named<SourceConfig>> {
  return withoutTemplates(parseNamed(json, sourceSchema, plainNameFault));
}

function withoutTemplates<T extends WithSecrets>(parsed: Parsed<Named<T>>): Parsed<Named<T>> {
  if ('problems' in parsed) return parsed;
  const problems = unresolvedTemplates(parsed.value.config, []);
  return problems.length > 0 ? { problems } : parsed;
}

export function parseRuleBody(json: unknown): Parsed<Named<RuleConfig>> {
  return parseNamed(json, ruleSchema, plainNameFault);
}

export function parseNamespaceBody(json: unknown): Parsed<Named<NamespaceConfig>> {
  return parseNamed(json, namespaceSchema, namespaceNameFault);
}

export function parsePersonaBody(json: unknown): Parsed<Named<PersonaConfig>> {
  return parseNamed(json, personaSchema, plainNameFault);
}

/** A new key: the gateway makes the secret. */
export interface KeyBody {
  readonly name: string;
  readonly roles: readonly string[];
  readonly expires?: string;
}

const keySchema: z.ZodType<KeyBody> = strict({
  name: z.string(),
  roles: z.array(role).min(1),
  expires: date.exactOptional(),
});

export function parseKeyBody(json: unknown): Parsed<KeyBody> {
  const parsed = told(validate(keySchema, json));
  if ('problems' in parsed) return parsed;
  const fault = plainNameFault(parsed.value.name);
  return fault ? { problems: [{ path: 'name', message: nameSentence(parsed.value.name, fault) }] } : parsed;
}

/** A whole configuration in the shape of `sallyport.yaml`, as `config/apply` and `config/diff` take it. */
export function parseDocumentBody(json: unknown): Parsed<ConfigDocument> {
  const parsed = told(validate(configFileSchema, json));
  if ('problems' in parsed) return parsed;
  const { connections, sources, apiKeys } = parsed.value;
  const problems = [
    ...Object.entries(connections ?? {}).flatMap(([name, one]) => unresolvedTemplates(one, ['connections', name])),
    ...Object.entries(sources ?? {}).flatMap(([name, one]) => unresolvedTemplates(one, ['sources', name])),
    ...(apiKeys ?? []).flatMap(({ key }, i) => templateProblem(key, ['identity', 'apiKeys', i, 'key'])),
  ];
  return problems.length > 0 ? { problems } : parsed;
}

function parseNamed<T>(
  json: unknown,
  schema: z.ZodType<T>,
  fault: (name: string) => string | undefined,
): Parsed<Named<T>> {
  const isObject = typeof json === 'object' && json !== null && !Array.isArray(json);
  const { name, ...rest } = (isObject ? json : {}) as Record<string, unknown>;
  const problems: Problem[] = [];
  if (name !== undefined && typeof name !== 'string') problems.push({ path: 'name', message: 'must be a string' });
  if (typeof name === 'string') {
    const wrong = fault(name);
    if (wrong) problems.push({ path: 'name', message: nameSentence(name, wrong) });
  }
  const parsed = told(validate(schema, isObject ? rest : json));
  if ('problems' in parsed) return { problems: [...problems, ...parsed.problems] };
  if (problems.length > 0) return { problems };
  return { value: { name: name as string | undefined, config: parsed.value } };
}

const nameSentence = (name: string, fault: string): string => `${JSON.stringify(name)} ${fault}`;

function told<T>(result: { readonly value: T } | { readonly problems: readonly PlacedProblem[] }): Parsed<T> {
  return 'problems' in result ? { problems: result.problems.map(toProblem) } : result;
}

function unresolvedTemplates(config: WithSecrets, steps: readonly string[]): Problem[] {
  const problems: Problem[] = [];
  mapSecrets(config, (secret, pointer) => {
    problems.push(...templateProblem(secret, [...steps, ...pointerSteps(pointer)]));
    return secret;
  });
  return problems;
}

/** `${NAME}` is filled in where a file is read; here it would be stored as if it were the secret. */
function templateProblem(secret: SecretInput, steps: readonly (string | number)[]): Problem[] {
  if (typeof secret !== 'string' || !/\$\{[A-Za-z_]/.test(secret)) return [];
  const message =
    'references in text are filled in only in configuration files: send { "value": … }, with { "ref": { "env": NAME } }';
  return [{ path: pathText(steps), message }];
}
