import protobuf from 'protobufjs';
import { checkPresence, checkValue, type FieldRules, oneofRequired, rulesOf, WireError } from './rules.ts';
import { messageType } from './schema.ts';
import { type Plain, struct } from './struct.ts';

/** A resource as Envoy's JSON documentation writes it: snake_case keys, and `@type` on the top and on every Any. */
export interface PlainResource {
  readonly '@type': string;
  readonly [key: string]: unknown;
}

export interface EncodedResource {
  readonly typeUrl: string;
  readonly bytes: Buffer;
}

/**
 * Encodes a plain object: durations as `"1.5s"`, wrappers as bare values, enums by name, bytes as text or Buffer,
 * `undefined` as absent. Throws a WireError with the path for a key that proto/ does not define, a value of the
 * wrong type, and whatever Envoy's own validation rules refuse: such a resource would be rejected together with
 * every other one in the same push.
 */
export function encodeResource(resource: PlainResource): EncodedResource {
  const any = anyOf(resource, label(resource));
  return { typeUrl: any.type_url, bytes: any.value };
}

function anyOf(value: unknown, path: string): { type_url: string; value: Buffer } {
  const { '@type': typeUrl, ...rest } = record(value, path) as PlainResource;
  if (typeof typeUrl !== 'string') throw new WireError(path, 'needs an @type');
  const type = messageType(typeUrl.slice(typeUrl.lastIndexOf('/') + 1));
  if (type === undefined) throw new WireError(path, `has an @type that proto/ does not define: ${typeUrl}`);
  return { type_url: typeUrl, value: type.encode(messageOf(type, rest, path)).finish() as Buffer };
}

/** The message that protobufjs encodes, checked field by field. */
function messageOf(type: protobuf.Type, value: unknown, path: string): Record<string, unknown> {
  const wellKnown = WELL_KNOWN[type.fullName];
  if (wellKnown !== undefined) return wellKnown(value, path);
  const input = record(value, path);
  const message: Record<string, unknown> = {};
  for (const [key, given] of Object.entries(input)) {
    if (given === undefined) continue;
    const field = type.fields[key];
    if (field === undefined) throw new WireError(`${path}.${key}`, `is not a field of ${type.fullName.slice(1)}`);
    if (field.partOf?.oneof.some((other) => other !== key && input[other] !== undefined) === true)
      throw new WireError(`${path}.${key}`, `excludes the other members of ${field.partOf.name}`);
    message[key] = fieldValue(field, given, `${path}.${key}`);
  }
  for (const field of type.fieldsArray) checkPresence(field, input[field.name], `${path}.${field.name}`);
  for (const oneof of type.oneofsArray)
    if (oneofRequired(oneof) && !oneof.oneof.some((name) => input[name] !== undefined))
      throw new WireError(path, `needs one of ${oneof.oneof.join(', ')}`);
  return message;
}

function fieldValue(field: protobuf.Field, value: unknown, path: string): unknown {
  const rules = rulesOf(field);
  if (field instanceof protobuf.MapField) {
    const entries = Object.entries(record(value, path));
    for (const [key] of entries) checkValue(rules?.map?.keys, 'string', key, `${path} key`);
    return Object.fromEntries(entries.map(([key, item]) => [key, singular(field, undefined, item, `${path}[${key}]`)]));
  }
  if (!field.repeated) return singular(field, rules, value, path);
  if (!Array.isArray(value)) throw new WireError(path, 'must be a list');
  checkValue(rules, 'repeated', value, path);
  return value.map((item, index) => singular(field, rules?.repeated?.items, item, `${path}[${index}]`));
}

function singular(field: protobuf.Field, rules: FieldRules | undefined, value: unknown, path: string): unknown {
  const resolved = field.resolvedType;
  if (resolved instanceof protobuf.Type) {
    const message = messageOf(resolved, value, path);
    // Rules on a wrapper are written as rules on what it wraps.
    const wrapped = WRAPPERS[resolved.fullName];
    checkValue(rules, wrapped ?? resolved.fullName, wrapped === undefined ? message : message.value, path);
    return message;
  }
  const converted =
    resolved instanceof protobuf.Enum ? enumNumber(resolved, value, path) : scalar(field.type, value, path);
  checkValue(rules, resolved instanceof protobuf.Enum ? 'enum' : field.type, converted, path);
  return converted;
}

function enumNumber(type: protobuf.Enum, value: unknown, path: string): number {
  const number = typeof value === 'string' ? type.values[value] : undefined;
  if (number === undefined) throw new WireError(path, `must be one of ${Object.keys(type.values).join(', ')}`);
  return number;
}

function scalar(type: string, value: unknown, path: string): unknown {
  if (type === 'bytes') {
    if (typeof value === 'string') return Buffer.from(value);
    if (Buffer.isBuffer(value)) return value;
    throw new WireError(path, 'must be text or a Buffer');
  }
  if (type === 'string' || type === 'bool') {
    const wanted = type === 'bool' ? 'boolean' : 'string';
    if (typeof value !== wanted) throw new WireError(path, `must be a ${wanted}`);
    return value;
  }
  if (typeof value !== 'number' || !Number.isFinite(value)) throw new WireError(path, 'must be a number');
  if (type === 'double' || type === 'float') return value;
  const [least, most] = INTEGERS[type] ?? [0, 0];
  if (!Number.isInteger(value) || value < least || value > most)
    throw new WireError(path, `must be a whole number from ${least} to ${most}`);
  return value;
}

const INTEGERS: Readonly<Record<string, readonly [number, number]>> = {
  uint32: [0, 2 ** 32 - 1],
  int32: [-(2 ** 31), 2 ** 31 - 1],
  uint64: [0, Number.MAX_SAFE_INTEGER],
  int64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
};

const WRAPPERS: Readonly<Record<string, string>> = {
  '.google.protobuf.BoolValue': 'bool',
  '.google.protobuf.UInt32Value': 'uint32',
  '.google.protobuf.UInt64Value': 'uint64',
  '.google.protobuf.DoubleValue': 'double',
  '.google.protobuf.StringValue': 'string',
};

const WELL_KNOWN: Readonly<Record<string, (value: unknown, path: string) => Record<string, unknown>>> = {
  '.google.protobuf.Any': anyOf,
  '.google.protobuf.Duration': duration,
  '.google.protobuf.Struct': (value, path) => ({ ...struct(record(value, path) as { [key: string]: Plain }) }),
  ...Object.fromEntries(
    Object.entries(WRAPPERS).map(([name, type]) => [
      name,
      (value: unknown, path: string) => ({ value: scalar(type, value, path) }),
    ]),
  ),
};

/** https://protobuf.dev/reference/protobuf/google.protobuf/#duration: `1.5s`, up to nine decimals. */
function duration(value: unknown, path: string): { seconds: number; nanos: number } {
  const match = typeof value === 'string' ? /^(-?)(\d{1,12})(?:\.(\d{1,9}))?s$/.exec(value) : null;
  if (match === null) throw new WireError(path, 'must be a duration such as "1.5s"');
  const sign = match[1] === '-' ? -1 : 1;
  return { seconds: sign * Number(match[2]) || 0, nanos: sign * Number((match[3] ?? '').padEnd(9, '0')) || 0 };
}

function record(value: unknown, path: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || Buffer.isBuffer(value))
    throw new WireError(path, 'must be an object');
  return value as Readonly<Record<string, unknown>>;
}

/** `Cluster[default/crm]`: where the paths of its errors begin. */
function label({ '@type': typeUrl, name }: PlainResource): string {
  const message = String(typeUrl).split('.').at(-1) ?? '';
  return typeof name === 'string' && name !== '' ? `${message}[${name}]` : message;
}
