import type { Struct, Value } from './ext-proc-messages.ts';

export type Plain = null | boolean | number | string | readonly Plain[] | { readonly [key: string]: Plain };

/** A plain object as google.protobuf.Struct; for dynamic metadata: `struct({ sallyport: { decision: 'allow' } })`. */
export function struct(object: { readonly [key: string]: Plain }): Struct {
  const fields: Record<string, Value> = {};
  for (const [key, value] of Object.entries(object)) fields[key] = toValue(value);
  return { fields };
}

function toValue(plain: Plain): Value {
  if (plain === null) return { nullValue: 0 };
  if (typeof plain === 'string') return { stringValue: plain };
  if (typeof plain === 'number') return { numberValue: plain };
  if (typeof plain === 'boolean') return { boolValue: plain };
  if (Array.isArray(plain)) return { listValue: { values: plain.map(toValue) } };
  return { structValue: struct(plain as { readonly [key: string]: Plain }) };
}

/** What a Struct that Envoy sent (attributes, metadata) says. */
export function plain(value: Struct): { readonly [key: string]: Plain } {
  return Object.fromEntries(Object.entries(value.fields).map(([key, field]) => [key, fromValue(field)]));
}

function fromValue(value: Value): Plain {
  // Own properties only: decoded messages show the defaults of absent fields through their prototype.
  if (Object.hasOwn(value, 'stringValue')) return value.stringValue ?? '';
  if (Object.hasOwn(value, 'numberValue')) return value.numberValue ?? 0;
  if (Object.hasOwn(value, 'boolValue')) return value.boolValue ?? false;
  if (value.listValue) return value.listValue.values.map(fromValue);
  if (value.structValue) return plain(value.structValue);
  return null;
}
