import type protobuf from 'protobufjs';

/** A resource that must not be sent, with the place and the reason. Never carries the value: it may be a key. */
export class WireError extends Error {
  readonly path: string;
  constructor(path: string, problem: string) {
    super(`${path} ${problem}`);
    this.name = 'WireError';
    this.path = path;
  }
}

/**
 * protoc-gen-validate's rules as the fields in proto/ carry them (options, read by reflection): the kinds that occur
 * there. Envoy enforces the same and then refuses a whole push, the good resources in it included.
 * Semantics: https://github.com/bufbuild/protoc-gen-validate#constraint-rules
 */
export interface FieldRules {
  readonly message?: { readonly required?: boolean };
  readonly string?: {
    readonly min_len?: number;
    readonly max_bytes?: number;
    readonly well_known_regex?: string;
    readonly strict?: boolean;
  };
  readonly bytes?: { readonly min_len?: number; readonly max_len?: number };
  readonly bool?: { readonly const?: boolean };
  readonly enum?: { readonly defined_only?: boolean; readonly not_in?: number | readonly number[] };
  readonly uint32?: Bounds;
  readonly uint64?: Bounds;
  readonly double?: Bounds;
  readonly repeated?: { readonly min_items?: number; readonly max_items?: number; readonly items?: FieldRules };
  readonly map?: { readonly keys?: FieldRules };
  readonly any?: { readonly required?: boolean };
  readonly duration?: {
    readonly required?: boolean;
    readonly gt?: Time;
    readonly gte?: Time;
    readonly lte?: Time;
  };
}

interface Bounds {
  readonly lt?: number;
  readonly lte?: number;
  readonly gt?: number;
  readonly gte?: number;
}

interface Time {
  readonly seconds?: number;
  readonly nanos?: number;
}

/** The rules that a field's options carry. Throws for a rule that nothing here enforces. */
export function rulesOf(field: protobuf.Field): FieldRules | undefined {
  if (!known.has(field)) {
    const options = (field.parsedOptions ?? []) as readonly Readonly<Record<string, FieldRules>>[];
    const rules = options.flatMap((option) => option['(validate.rules)'] ?? []);
    for (const rule of rules) refuseUnknown(rule, field.fullName);
    known.set(field, rules.length === 0 ? undefined : Object.assign({}, ...rules));
  }
  return known.get(field);
}

const known = new WeakMap<protobuf.Field, FieldRules | undefined>();

const ENFORCED: Readonly<Record<keyof FieldRules, readonly string[]>> = {
  message: ['required'],
  string: ['min_len', 'max_bytes', 'well_known_regex', 'strict'],
  bytes: ['min_len', 'max_len'],
  bool: ['const'],
  enum: ['defined_only', 'not_in'],
  uint32: ['lt', 'lte', 'gt', 'gte'],
  uint64: ['lt', 'lte', 'gt', 'gte'],
  double: ['lt', 'lte', 'gt', 'gte'],
  repeated: ['min_items', 'max_items', 'items'],
  map: ['keys'],
  any: ['required'],
  duration: ['required', 'gt', 'gte', 'lte'],
};

function refuseUnknown(rules: FieldRules, where: string): void {
  for (const [kind, rule] of Object.entries(rules))
    for (const name of Object.keys(rule))
      if (!ENFORCED[kind as keyof FieldRules]?.includes(name))
        throw new Error(`${where}: rule ${kind}.${name} is not enforced`);
  if (rules.repeated?.items !== undefined) refuseUnknown(rules.repeated.items, where);
  if (rules.map?.keys !== undefined) refuseUnknown(rules.map.keys, where);
}

/** `option (validate.required) = true` on a oneof. */
export const oneofRequired = (oneof: protobuf.OneOf): boolean => oneof.options?.['(validate.required)'] === true;

/** Rules on a field that was not given: proto3 cannot tell an absent scalar from an empty one, so it is one. */
export function checkPresence(field: protobuf.Field, value: unknown, path: string): void {
  if (value !== undefined) return;
  const rules = rulesOf(field);
  if (rules === undefined || field.partOf !== null) return;
  if (rules.message?.required === true || rules.any?.required === true || rules.duration?.required === true)
    throw new WireError(path, 'is required');
  if (field.repeated) checkValue(rules, 'repeated', [], path);
  else if (field.type === 'string') checkValue(rules, 'string', '', path);
  else if (field.type === 'bytes') checkValue(rules, 'bytes', Buffer.alloc(0), path);
  else if (field.type in { uint32: 1, uint64: 1, double: 1 }) checkValue(rules, field.type, 0, path);
  else if (rules.enum !== undefined) checkValue(rules, 'enum', 0, path);
}

/** Refuses a value against its rules; `kind` is the scalar's type, `enum`, `repeated` or a message's full name. */
export function checkValue(rules: FieldRules | undefined, kind: string, value: unknown, path: string): void {
  if (rules === undefined) return;
  const refuse = (problem: string): never => {
    throw new WireError(path, problem);
  };
  if (kind === 'string') {
    const text = value as string;
    const { min_len = 0, max_bytes, well_known_regex } = rules.string ?? {};
    if ([...text].length < min_len)
      refuse(min_len === 1 ? 'must not be empty' : `must have at least ${min_len} characters`);
    if (max_bytes !== undefined && Buffer.byteLength(text) > max_bytes) refuse(`must have at most ${max_bytes} bytes`);
    if (well_known_regex !== undefined && LINE_BREAK.test(text)) refuse('must not contain NUL or a line break');
  } else if (kind === 'bytes') {
    const { min_len = 0, max_len = Number.POSITIVE_INFINITY } = rules.bytes ?? {};
    const { length } = value as Buffer;
    if (length < min_len || length > max_len) refuse(`must have ${min_len} to ${max_len} bytes`);
  } else if (kind === 'bool') {
    if (rules.bool?.const !== undefined && value !== rules.bool.const) refuse(`must be ${rules.bool.const}`);
  } else if (kind === 'enum') {
    if ([rules.enum?.not_in ?? []].flat().includes(value as number)) refuse('must not have this value here');
  } else if (kind === 'uint32' || kind === 'uint64' || kind === 'double') {
    const { lt, lte, gt, gte } = rules[kind] ?? {};
    const number = value as number;
    if (lt !== undefined && number >= lt) refuse(`must be less than ${lt}`);
    if (lte !== undefined && number > lte) refuse(`must be at most ${lte}`);
    if (gt !== undefined && number <= gt) refuse(`must be more than ${gt}`);
    if (gte !== undefined && number < gte) refuse(`must be at least ${gte}`);
  } else if (kind === 'repeated') {
    const { min_items = 0, max_items = Number.POSITIVE_INFINITY } = rules.repeated ?? {};
    const { length } = value as readonly unknown[];
    if (length < min_items) refuse(`must have at least ${min_items} ${min_items === 1 ? 'entry' : 'entries'}`);
    if (length > max_items) refuse(`must have at most ${max_items} entries`);
  } else if (kind === '.google.protobuf.Duration') {
    const { gt, gte, lte } = rules.duration ?? {};
    const nanos = nanoseconds(value as Time);
    if (gt !== undefined && nanos <= nanoseconds(gt)) refuse(`must be longer than ${seconds(gt)}`);
    if (gte !== undefined && nanos < nanoseconds(gte)) refuse(`must not be shorter than ${seconds(gte)}`);
    if (lte !== undefined && nanos > nanoseconds(lte)) refuse(`must not be longer than ${seconds(lte)}`);
  }
}

/** PGV's HTTP_HEADER_NAME and HTTP_HEADER_VALUE with `strict: false`, the only form that Envoy's fields use. */
const LINE_BREAK = /[\u0000\n\r]/;

const nanoseconds = (time: Time): bigint => BigInt(time.seconds ?? 0) * 1_000_000_000n + BigInt(time.nanos ?? 0);
const seconds = (time: Time): string => `${Number(nanoseconds(time)) / 1e9}s`;
