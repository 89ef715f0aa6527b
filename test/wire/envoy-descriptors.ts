import { readFileSync } from 'node:fs';
import protobuf from 'protobufjs';

/** As much of google/protobuf/descriptor.proto as is compared; `rules` are the bytes of validate.FieldRules. */
const { root } = protobuf.parse(
  `syntax = "proto2";
  message File {
    optional string name = 1; optional string package = 2;
    repeated Message message_type = 4; repeated Enum enum_type = 5; repeated Service service = 6;
  }
  message Message {
    optional string name = 1; repeated Field field = 2; repeated Message nested_type = 3;
    repeated Enum enum_type = 4; repeated Oneof oneof_decl = 8; optional MessageOptions options = 7;
  }
  message MessageOptions { optional bool map_entry = 7; }
  message Field {
    optional string name = 1; optional int32 number = 3; optional int32 label = 4; optional int32 type = 5;
    optional string type_name = 6; optional int32 oneof_index = 9; optional FieldOptions options = 8;
  }
  message FieldOptions { optional bytes rules = 1071; }
  message Oneof { optional string name = 1; optional OneofOptions options = 2; }
  message OneofOptions { optional bool required = 1071; }
  message Enum { optional string name = 1; repeated Value value = 2; }
  message Value { optional string name = 1; optional int32 number = 2; }
  message Service { optional string name = 1; repeated Method method = 2; }
  message Method {
    optional string name = 1; optional string input_type = 2; optional string output_type = 3;
    optional bool client_streaming = 5; optional bool server_streaming = 6;
  }`,
  { keepCase: true },
);
const File = root.lookupType('File');

export interface EnvoyField {
  readonly name: string;
  readonly number: number;
  readonly repeated: boolean;
  /** Scalar's name, or a full name. */
  readonly type: string;
  readonly oneof: string | undefined;
  /** validate.FieldRules, hex. */
  readonly rules: string;
}

export interface EnvoyDescriptors {
  readonly messages: ReadonlyMap<string, { fields: ReadonlyMap<string, EnvoyField>; required: ReadonlySet<string> }>;
  readonly enums: ReadonlyMap<string, Readonly<Record<string, number>>>;
  /** `/package.Service/Method` → `input output streaming…`. */
  readonly methods: ReadonlyMap<string, string>;
}

/** The API that an Envoy binary was built from: every serialized FileDescriptorProto inside it. */
export function readDescriptors(binary: string): EnvoyDescriptors {
  const messages = new Map<string, { fields: Map<string, EnvoyField>; required: Set<string> }>();
  const enums = new Map<string, Record<string, number>>();
  const methods = new Map<string, string>();

  const addEnum = (scope: string, declared: RawEnum) =>
    enums.set(
      `${scope}.${declared.name}`,
      Object.fromEntries(declared.value.map(({ name, number }) => [name, number ?? 0])),
    );
  const addMessage = (scope: string, message: RawMessage) => {
    const fullName = `${scope}.${message.name}`;
    const maps = new Map(
      message.nested_type.filter((nested) => nested.options?.map_entry).map((entry) => [entry.name, entry]),
    );
    const fields = message.field.map((field): [string, EnvoyField] => {
      const entry = maps.get(field.type_name?.split('.').at(-1) ?? '');
      const type = entry === undefined ? typeOf(field) : `map<${entry.field.map(typeOf).join(',')}>`;
      const oneof = Object.hasOwn(field, 'oneof_index') ? message.oneof_decl[field.oneof_index]?.name : undefined;
      const rules = field.options?.rules === undefined ? '' : Buffer.from(field.options.rules).toString('hex');
      return [
        field.name,
        {
          name: field.name,
          number: field.number,
          repeated: field.label === 3 && entry === undefined,
          type,
          oneof,
          rules,
        },
      ];
    });
    const required = message.oneof_decl.filter((oneof) => oneof.options?.required).map(({ name }) => name);
    messages.set(fullName, { fields: new Map(fields), required: new Set(required) });
    for (const nested of message.nested_type) addMessage(fullName, nested);
    for (const nested of message.enum_type) addEnum(fullName, nested);
  };
  for (const file of filesIn(readFileSync(binary))) {
    for (const message of file.message_type) addMessage(file.package, message);
    for (const declared of file.enum_type) addEnum(file.package, declared);
    for (const service of file.service)
      for (const { name, input_type, output_type, client_streaming, server_streaming } of service.method)
        methods.set(
          `/${file.package}.${service.name}/${name}`,
          `${input_type} ${output_type} ${client_streaming === true} ${server_streaming === true}`,
        );
  }
  return { messages, enums, methods };
}

interface RawField {
  readonly name: string;
  readonly number: number;
  readonly label: number;
  readonly type: number;
  readonly type_name?: string;
  readonly oneof_index: number;
  readonly options?: { readonly rules?: Uint8Array } | null;
}
interface RawEnum {
  readonly name: string;
  readonly value: readonly { readonly name: string; readonly number?: number }[];
}
interface RawMessage {
  readonly name: string;
  readonly field: readonly RawField[];
  readonly nested_type: readonly RawMessage[];
  readonly enum_type: readonly RawEnum[];
  readonly oneof_decl: readonly { readonly name: string; readonly options?: { readonly required?: boolean } | null }[];
  readonly options?: { readonly map_entry?: boolean } | null;
}
interface RawFile {
  readonly package: string;
  readonly message_type: readonly RawMessage[];
  readonly enum_type: readonly RawEnum[];
  readonly service: readonly {
    readonly name: string;
    readonly method: readonly {
      readonly name: string;
      readonly input_type: string;
      readonly output_type: string;
      readonly client_streaming?: boolean;
      readonly server_streaming?: boolean;
    }[];
  }[];
}

/** FieldDescriptorProto.Type */
const SCALARS =
  '- double float int64 uint64 int32 fixed64 fixed32 bool string group - bytes uint32 - sfixed32 sfixed64 sint32 sint64'.split(
    ' ',
  );
const typeOf = (field: RawField): string => field.type_name?.slice(1) || (SCALARS[field.type] ?? '?');

/** A descriptor begins with its file's name (field 1) and is written in field order: it ends where that order does. */
function filesIn(bytes: Buffer): RawFile[] {
  const files = new Map<string, { length: number; file: RawFile }>();
  const SUFFIX = Buffer.from('.proto');
  for (let at = bytes.indexOf(SUFFIX); at >= 0; at = bytes.indexOf(SUFFIX, at + 1)) {
    const nameEnd = at + SUFFIX.length;
    for (let length = SUFFIX.length; length < 128; length++) {
      const start = nameEnd - length - 2;
      if (bytes[start] !== 0x0a || bytes[start + 1] !== length) continue;
      const name = bytes.toString('latin1', start + 2, nameEnd);
      // Next comes the package (2), or without one a dependency (3) or a message (4).
      if (!/^[\w/.-]+$/.test(name) || ![0x12, 0x1a, 0x22].includes(bytes[nameEnd] ?? 0)) break;
      const end = endOfDescriptor(bytes, start);
      if ((files.get(name)?.length ?? 0) < end - start)
        files.set(name, { length: end - start, file: File.decode(bytes.subarray(start, end)) as unknown as RawFile });
      break;
    }
  }
  return [...files.values()].map(({ file }) => file);
}

function endOfDescriptor(bytes: Buffer, start: number): number {
  const ONCE = [1, 2, 8, 9, 12];
  let at = start;
  for (let last = 0; ; ) {
    const [tag, afterTag] = varint(bytes, at);
    const [number, wire] = [tag >>> 3, tag & 7];
    if (number < last || number === 0 || number > 12 || (number === last && ONCE.includes(number)) || wire !== 2)
      return at;
    const [length, afterLength] = varint(bytes, afterTag);
    if (afterLength + length > bytes.length) return at;
    at = afterLength + length;
    last = number;
  }
}

function varint(bytes: Buffer, start: number): [value: number, next: number] {
  let value = 0;
  for (let at = start, shift = 0; ; at++, shift += 7) {
    const byte = bytes[at] ?? 0;
    value |= (byte & 127) << shift;
    if (byte < 128 || shift > 28) return [value >>> 0, at + 1];
  }
}
