/**
 * Our queries against DataHub's schema: the part in this repository, which the tests' DataHub serves, and, where
 * `DATAHUB_SCHEMA` names them (a `.graphql` file, or a folder of such), all the files that DataHub publishes.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import {
  buildASTSchema,
  buildSchema,
  type GraphQLSchema,
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isObjectType,
  isUnionType,
  NoDeprecatedCustomRule,
  parse,
  specifiedRules,
  TypeInfo,
  validate,
  visit,
  visitWithTypeInfo,
} from 'graphql';
import t from 'tap';
import { QUERIES } from '../../../src/sources/datahub/queries.ts';
import { SCHEMA_PATH } from '../../support/datahub/server.ts';

const ours = buildSchema(readFileSync(SCHEMA_PATH, 'utf8'));

function faultsIn(schema: GraphQLSchema): string[] {
  return Object.entries(QUERIES).flatMap(([name, text]) =>
    validate(schema, parse(text), [...specifiedRules, NoDeprecatedCustomRule]).map(
      ({ message }) => `${name}: ${message}`,
    ),
  );
}

t.test('every query is valid against the part of the schema that is served to tests', async (t) => {
  t.same(faultsIn(ours), []);
});

t.test('that part has nothing that no query asks for', async (t) => {
  const asked = new Set<string>();
  for (const text of Object.values(QUERIES)) {
    const info = new TypeInfo(ours);
    visit(
      parse(text),
      visitWithTypeInfo(info, {
        Field: () => void asked.add(`${info.getParentType()?.name}.${info.getFieldDef()?.name}`),
      }),
    );
  }
  const spare = Object.values(ours.getTypeMap()).flatMap((type) => {
    if (!isObjectType(type) || type.name.startsWith('__')) return [];
    const inherited = type.getInterfaces().flatMap((one) => Object.keys(one.getFields()));
    return Object.keys(type.getFields()).flatMap((field) =>
      inherited.includes(field) || asked.has(`${type.name}.${field}`) ? [] : [`${type.name}.${field}`],
    );
  });
  t.same(spare, []);
});

const path = process.env.DATAHUB_SCHEMA;
const skip = path === undefined ? 'set DATAHUB_SCHEMA to the schema that DataHub publishes' : false;

t.test("against DataHub's whole schema", { skip }, async (t) => {
  const whole = wholeSchema(path as string);
  t.ok(Object.keys(whole.getTypeMap()).length > 500, 'it is the whole');
  t.same(faultsIn(whole), [], 'every query is valid and asks for nothing deprecated');
  t.same(differences(whole), [], 'the part served to tests is as published');
});

function wholeSchema(at: string): GraphQLSchema {
  const files = statSync(at).isDirectory()
    ? readdirSync(at).flatMap((name) => (name.endsWith('.graphql') ? [join(at, name)] : []))
    : [at];
  const text = files.map((file) => readFileSync(file, 'utf8')).join('\n');
  return buildASTSchema(parse(text, { noLocation: true }), { assumeValidSDL: true });
}

/** What the part says otherwise than the whole. */
function differences(whole: GraphQLSchema): string[] {
  return Object.values(ours.getTypeMap()).flatMap((type) => {
    const published = whole.getType(type.name);
    if (published === undefined) return [`no type ${type.name}`];
    if (isEnumType(type) && isEnumType(published)) {
      return type.getValues().flatMap(({ name }) => (published.getValue(name) ? [] : [`no ${type.name}.${name}`]));
    }
    if (isUnionType(type) && isUnionType(published)) {
      return String(type.getTypes()) === String(published.getTypes()) ? [] : [`union ${type.name}`];
    }
    if (isInputObjectType(type) && isInputObjectType(published)) {
      return Object.values(type.getFields()).flatMap(({ name, type: is }) =>
        String(published.getFields()[name]?.type) === String(is) ? [] : [`${type.name}.${name} is not ${is}`],
      );
    }
    if (!isObjectType(type) && !isInterfaceType(type)) return [];
    if (!isObjectType(published) && !isInterfaceType(published)) return [`${type.name} is of another kind`];
    const missing = type
      .getInterfaces()
      .filter(({ name }) => !published.getInterfaces().some((one) => one.name === name));
    return [
      ...missing.map(({ name }) => `${type.name} is no ${name}`),
      ...Object.values(type.getFields()).flatMap(({ name, type: is, args }) => {
        const field = published.getFields()[name];
        if (String(field?.type) !== String(is)) return [`${type.name}.${name} is not ${is}`];
        return args.flatMap((one) => {
          const other = field?.args.find((each) => each.name === one.name);
          return String(other?.type) === String(one.type)
            ? []
            : [`${type.name}.${name}(${one.name}) is not ${one.type}`];
        });
      }),
    ];
  });
}
