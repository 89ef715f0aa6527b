import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import protobuf from 'protobufjs';
import t from 'tap';
import { packageRoot } from '../../src/package-root.ts';
import { rulesOf } from '../../src/wire/rules.ts';
import { adsService, extProcService } from '../../src/wire.ts';
import { envoyPath } from '../xds/envoy.ts';
import { readDescriptors } from './envoy-descriptors.ts';

// Our definitions are a part of Envoy's, field for field; a misspelt number would only show as a value that is lost.
const envoy = readDescriptors(envoyPath());
const ours = loadAll();
const rulesType = ours.lookupType('validate.FieldRules');

t.test('the binary was read', (t) => {
  t.ok(envoy.messages.size > 1_000, `${envoy.messages.size} messages`);
  t.ok(envoy.messages.has('envoy.config.cluster.v3.Cluster'));
  t.end();
});

t.test('every message and field of proto/ is in Envoy, with the same rules', (t) => {
  let fields = 0;
  for (const type of typesIn(ours)) {
    const name = type.fullName.slice(1);
    const theirs = envoy.messages.get(name);
    if (theirs === undefined) {
      t.fail(`Envoy has no message ${name}`);
      continue;
    }
    for (const field of type.fieldsArray) {
      fields++;
      const expected = theirs.fields.get(field.name);
      if (expected === undefined) {
        t.fail(`Envoy's ${name} has no field ${field.name}`);
        continue;
      }
      const actual = {
        name: field.name,
        number: field.id,
        repeated: field.repeated,
        type: typeOf(field),
        oneof: field.partOf?.name,
        rules: encodedRules(field),
      };
      if (JSON.stringify(actual) !== JSON.stringify({ ...expected })) t.same(actual, expected, `${name}.${field.name}`);
    }
    for (const oneof of type.oneofsArray) {
      const required = oneof.options?.['(validate.required)'] === true;
      if (required !== theirs.required.has(oneof.name)) t.fail(`${name}.${oneof.name}: (validate.required) differs`);
    }
  }
  t.ok(fields > 200, `${fields} fields compared`);
  t.end();
});

t.test('every enum of proto/ is complete', (t) => {
  for (const declared of enumsIn(ours))
    t.same(declared.values, envoy.enums.get(declared.fullName.slice(1)), declared.fullName);
  t.end();
});

t.test('the two services exist as we serve them', (t) => {
  const discovery = '.envoy.service.discovery.v3.DeltaDiscovery';
  const processing = '.envoy.service.ext_proc.v3.Processing';
  const expected: readonly (readonly [string, string])[] = [
    [extProcService.Process.path, `${processing}Request ${processing}Response true true`],
    [adsService.DeltaAggregatedResources.path, `${discovery}Request ${discovery}Response true true`],
  ];
  for (const [path, signature] of expected) t.equal(envoy.methods.get(path), signature, path);
  t.end();
});

function loadAll(): protobuf.Root {
  const root = new protobuf.Root();
  const directory = join(packageRoot, 'proto');
  root.resolvePath = (_origin, target) => {
    if (target.startsWith('/')) return target;
    return target === 'google/protobuf/descriptor.proto'
      ? createRequire(import.meta.url).resolve('protobufjs/google/protobuf/descriptor.proto')
      : join(directory, target);
  };
  const files = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.proto'));
  return root.loadSync(files, { keepCase: true }).resolveAll() as protobuf.Root;
}

function* typesIn(namespace: protobuf.NamespaceBase): Generator<protobuf.Type> {
  for (const nested of namespace.nestedArray) {
    if (nested.fullName === '.google.protobuf') continue;
    if (nested instanceof protobuf.Type) yield nested;
    if (nested instanceof protobuf.Namespace) yield* typesIn(nested);
  }
}

function* enumsIn(namespace: protobuf.NamespaceBase): Generator<protobuf.Enum> {
  for (const nested of namespace.nestedArray) {
    if (nested.fullName === '.google.protobuf') continue;
    if (nested instanceof protobuf.Enum) yield nested;
    if (nested instanceof protobuf.Namespace) yield* enumsIn(nested);
  }
}

function typeOf(field: protobuf.Field): string {
  const value = field.resolvedType?.fullName.slice(1) ?? field.type;
  return field instanceof protobuf.MapField ? `map<${field.keyType},${value}>` : value;
}

/** As Envoy's build serialized them: equal rules are equal bytes. */
function encodedRules(field: protobuf.Field): string {
  const rules = rulesOf(field);
  if (rules === undefined) return '';
  const listed =
    rules.enum?.not_in === undefined
      ? rules
      : { ...rules, enum: { ...rules.enum, not_in: [rules.enum.not_in].flat() } };
  return Buffer.from(rulesType.encode(rulesType.fromObject(listed)).finish()).toString('hex');
}
