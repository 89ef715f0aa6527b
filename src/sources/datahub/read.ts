/** Reads values of which nothing is certain. */
import { isObject, type Json, type JsonObject } from '../../mcp/exact-json.ts';

/** undefined: it is not there, or something on the way is no object. */
export function valueAt(value: Json | undefined, ...keys: readonly string[]): Json | undefined {
  let at = value;
  for (const key of keys) {
    if (!isObject(at) || !Object.hasOwn(at, key)) return undefined;
    at = at[key];
  }
  return at;
}

/** undefined: it is no text, or blank. */
export function textAt(value: Json | undefined, ...keys: readonly string[]): string | undefined {
  const found = valueAt(value, ...keys);
  return typeof found === 'string' && found.trim() !== '' ? found : undefined;
}

/** The objects of a list; all else in it is left out. */
export const list = (value: Json | undefined): readonly JsonObject[] =>
  Array.isArray(value) ? (value as readonly Json[]).filter(isObject) : [];

export const childrenOf = (value: Json | undefined, ...keys: readonly string[]): readonly JsonObject[] =>
  list(valueAt(value, ...keys));

/** Display name, or name. */
export const named = (value: Json | undefined): string | undefined =>
  textAt(value, 'properties', 'displayName') ?? textAt(value, 'properties', 'name') ?? textAt(value, 'name');

/** Without members that are undefined, or empty lists. */
export function compact(members: Readonly<Record<string, Json | undefined>>): JsonObject {
  const object: Record<string, Json> = {};
  for (const [key, value] of Object.entries(members)) {
    if (value !== undefined && !(Array.isArray(value) && value.length === 0)) object[key] = value;
  }
  return object;
}
