/** Trino's arrays of values as objects by column, each value by its type. */
import { exactNumber, isObject, type Json, parseJson } from '../../mcp/exact-json.ts';
import { distinctNames } from '../sql/column-names.ts';
import { badAnswer } from './errors.ts';

type Read = (value: Json) => Json;
export type ReadRow = (values: Json) => Json;

/** `columns`: as the protocol describes them. A second column of the same name becomes `name_2`. */
export function rowReader(columns: Json): ReadRow {
  if (!Array.isArray(columns)) throw badAnswer('columns that are no list');
  const names = distinctNames(columns.map((column: Json) => text(isObject(column) ? column.name : undefined)));
  const reads = columns.map((column: Json) => reader(isObject(column) ? column.typeSignature : undefined));
  return (values) => {
    if (!Array.isArray(values) || values.length !== names.length)
      throw badAnswer('a row that does not fit its columns');
    return Object.fromEntries(names.map((name, i) => [name, read(reads[i], values[i] as Json)]));
  };
}

function read(by: Read | undefined, value: Json): Json {
  return by === undefined || value === null ? value : by(value);
}

/** Undefined: the value is as JSON has it (numbers, strings, times, varbinary in base64; NaN and Infinity are strings). */
function reader(signature: Json | undefined): Read | undefined {
  if (!isObject(signature)) return undefined;
  const parts = Array.isArray(signature.arguments) ? (signature.arguments as readonly Json[]).map(argument) : [];
  switch (signature.rawType) {
    case 'decimal':
      return decimal;
    case 'json':
      return json;
    case 'array': {
      const item = reader(parts[0]);
      return item && ((value) => (Array.isArray(value) ? value.map((one: Json) => read(item, one)) : value));
    }
    case 'map': {
      const member = reader(parts[1]);
      return member && ((value) => (isObject(value) ? mapped(value, member) : value));
    }
    case 'row':
      return row(parts);
    default:
      return undefined;
  }
}

const argument = (part: Json): Json | undefined => (isObject(part) ? part.value : undefined);

/** Text, so that no digit is lost on the way. */
function decimal(value: Json): Json {
  return typeof value === 'string' && /^-?[0-9]+(\.[0-9]+)?$/.test(value) ? exactNumber(value) : value;
}

/** Text as well. */
function json(value: Json): Json {
  if (typeof value !== 'string') return value;
  try {
    return parseJson(value);
  } catch {
    return value;
  }
}

function mapped(value: { readonly [key: string]: Json }, member: Read): Json {
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, read(member, one)]));
}

/** An object where all fields have names, else an array. */
function row(fields: readonly (Json | undefined)[]): Read {
  const names = fields.map((field) =>
    isObject(field) && isObject(field.fieldName) ? field.fieldName.name : undefined,
  );
  const reads = fields.map((field) => reader(isObject(field) ? field.typeSignature : undefined));
  const keys = names.every((name) => typeof name === 'string') ? distinctNames(names as string[]) : undefined;
  return (value) => {
    if (!Array.isArray(value)) return value;
    const values = value.map((one: Json, i: number) => read(reads[i], one));
    if (keys === undefined || keys.length !== values.length) return values;
    return Object.fromEntries(keys.map((key, i) => [key, values[i] as Json]));
  };
}

function text(name: Json | undefined): string {
  if (typeof name !== 'string') throw badAnswer('a column without a name');
  return name;
}
