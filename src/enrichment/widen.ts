/** A tool's definition whose output schema lets through what rules add to the tool's results. */
import type { RuleConfig } from '../config/document.ts';
import { isObject, type Json, jsonText, parseJson } from '../mcp/exact-json.ts';
import { JsonError, type Span, skipSpace, walkObject } from '../mcp/json.ts';
import { removeMembers } from '../mcp/object-edit.ts';
import { splice } from '../mcp/splice.ts';
import { readPath, type Step } from './path-text.ts';
import { Hopeless, type Route, relax, resolve, type Schema, takesObjects, type Way } from './schema-relax.ts';

export interface Target {
  /** Path of elements in `$.response`; undefined: the response itself. */
  readonly forEach: string | undefined;
  readonly path: readonly string[];
  readonly onConflict: RuleConfig['merge']['onConflict'];
}

/**
 * The same string where there is no output schema. A schema that cannot be opened for an addition is left out: clients
 * check results against it and would refuse them. All bytes outside of the schema stay.
 */
export function widenSchema(definition: string, targets: readonly Target[]): string {
  if (targets.length === 0 || (!definition.includes('utputSchema') && !definition.includes('\\u'))) return definition;
  const bytes = Buffer.from(definition);
  const tool: Span = { start: skipSpace(bytes, 0), end: bytes.length };
  const schema = outputSchema(bytes, tool);
  if (schema === undefined) return definition;
  const text = bytes.toString('utf8', schema.start, schema.end);
  const wide = widened(text, targets);
  if (wide !== undefined) return splice(bytes, [{ ...schema, with: wide }]).toString();
  return splice(
    bytes,
    removeMembers(bytes, tool, 0, (key) => key === 'outputSchema'),
  ).toString();
}

function outputSchema(bytes: Buffer, tool: Span): Span | undefined {
  let schema: Span | undefined;
  if (bytes[tool.start] !== 0x7b) return undefined;
  try {
    walkObject(bytes, tool.start, 0, (key, start, end) => {
      if (key === 'outputSchema') schema = { start, end };
    });
  } catch (error) {
    // A definition that nobody can read is nobody's to widen.
    if (error instanceof JsonError) return undefined;
    throw error;
  }
  return schema;
}

/** Undefined: there is no schema that would do. */
function widened(text: string, targets: readonly Target[]): string | undefined {
  const schema = parseJson(text);
  if (!isObject(schema)) return undefined;
  const root = thawed(schema) as Schema;
  try {
    for (const target of targets) {
      const route = routeOf(target);
      // What is no object is wrapped, and then it is something else altogether.
      if (route.elements.length === 0 && !isSurelyObject(root)) return undefined;
      relax(root, route);
    }
  } catch (error) {
    if (error instanceof Hopeless) return undefined;
    throw error;
  }
  return refersWell(root, root) ? jsonText(root as Json) : undefined;
}

function routeOf({ forEach, path, onConflict }: Target): Route {
  return { elements: forEach === undefined ? [] : elementWays(forEach), path, isKept: onConflict === 'keep' };
}

function elementWays(forEach: string): Way[] {
  const steps = readPath(forEach);
  if ('fault' in steps) throw new Hopeless();
  const [root, ...rest] = steps.map(wayOf);
  if (root === undefined || !root.includes('response')) throw new Hopeless();
  return rest;
}

function wayOf(step: Step): Way {
  // Anywhere: no schema would be safe from it.
  if (step === '..') throw new Hopeless();
  if (step === '*' || 'slice' in step) return 'each';
  const keys = 'keys' in step ? step.keys : [step.key];
  const names = keys.filter((key) => typeof key === 'string');
  return names.length === keys.length ? names : 'each';
}

function isSurelyObject(root: Schema): boolean {
  const target = typeof root.$ref === 'string' ? resolve(root, root.$ref) : undefined;
  return root.type === 'object' || (target?.type === 'object' && takesObjects(root));
}

/** Whether every reference within the document still finds something. */
function refersWell(root: Schema, part: unknown): boolean {
  if (typeof part !== 'object' || part === null) return true;
  const { $ref } = part as Schema;
  if (typeof $ref === 'string' && $ref.startsWith('#/') && resolve(root, $ref) === undefined) return false;
  return Object.values(part).every((inner) => refersWell(root, inner));
}

/** Objects and arrays that may be changed. Numbers stay exact. */
function thawed(value: Json): unknown {
  if (Array.isArray(value)) return value.map(thawed);
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, thawed(inner)]));
}
