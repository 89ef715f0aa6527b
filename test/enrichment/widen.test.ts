import assert from 'node:assert/strict';
import { ToolSchema } from '@modelcontextprotocol/sdk/types.js';
import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import t from 'tap';
import { type Addition, Merge } from '../../src/enrichment/merge.ts';
import type { Place } from '../../src/enrichment/rule.ts';
import { type Target, widenSchema } from '../../src/enrichment/widen.ts';
import type { Json } from '../../src/mcp/exact-json.ts';
import { OPERATOR } from '../../src/policy/decide.ts';
import type { Namespace } from '../../src/snapshot/snapshot.ts';
import { viewOf } from '../../src/snapshot/view.ts';

// biome-ignore lint/suspicious/noExplicitAny: schemas of any shape
type Any = any;

const definitionOf = (schema: unknown): string =>
  `{"name":"t", "inputSchema":{"type":"object"} ,"outputSchema": ${JSON.stringify(schema)},"x-n":9007199254740993}`;

/** The schema as clients get it; undefined: there is none any more. */
const widened = (schema: unknown, targets: readonly Target[]): Any =>
  JSON.parse(widenSchema(definitionOf(schema), targets)).outputSchema;

function isValid(schema: unknown, value: unknown): boolean {
  const ajv = new Ajv2020({ strict: false, validateSchema: false, logger: false });
  return ajv.compile(schema as object)(value);
}

const target = (path: string, forEach?: string, onConflict: Target['onConflict'] = 'keep'): Target => ({
  forEach,
  path: path.split('.'),
  onConflict,
});

const ROW = { type: 'object', properties: { id: { type: 'integer' } }, required: ['id'], additionalProperties: false };

t.test('an addition to a closed object validates, and nothing else does', async (t) => {
  const wide = widened(ROW, [target('owner.name')]);
  t.ok(isValid(wide, { id: 1, owner: { name: 'x' } }));
  t.notOk(isValid(wide, { id: 1, other: 1 }));
  t.notOk(isValid(wide, { owner: 1 }));
  t.ok(ToolSchema.safeParse(JSON.parse(widenSchema(definitionOf(ROW), [target('owner')]))).success);
});

t.test('elements, where lists and references lead to them', async (t) => {
  const schema = {
    type: 'object',
    properties: { orders: { type: 'array', items: { $ref: '#/$defs/order' } }, total: { type: 'integer' } },
    additionalProperties: false,
    $defs: { order: { allOf: [ROW], unevaluatedProperties: false } },
  };
  const wide = widened(schema, [target('customer', '$.response.orders[*]')]);
  t.ok(isValid(wide, { orders: [{ id: 1, customer: { a: [] } }, { id: 2 }] }));
  t.notOk(isValid(wide, { orders: [{ id: 'x' }] }));
  t.notOk(isValid(wide, { orders: [], customer: 1 }));
  t.strictSame(Object.keys(wide), Object.keys(schema), 'the order of keys stays');
});

t.test('conflicts', async (t) => {
  const schema = { ...ROW, properties: { id: { type: 'integer' }, tag: { type: 'string', description: 'A tag.' } } };
  t.notOk(isValid(widened(schema, [target('id')]), { id: 'x' }), 'what is required is there, and is kept');
  t.ok(isValid(widened(schema, [target('id', undefined, 'replace')]), { id: 'x' }));
  t.ok(isValid(widened(schema, [target('id', undefined, 'array')]), { id: [1, 'x'] }));
  const wide = widened(schema, [target('tag')]);
  t.ok(isValid(wide, { id: 1, tag: [7] }), 'what is optional may have been missing');
  t.equal(wide.properties.tag.description, 'A tag.');
});

t.test('objects on the way that are made have none of their required members', async (t) => {
  const schema = {
    ...ROW,
    properties: { id: { type: 'integer' }, owner: { $ref: '#/$defs/o' }, n: { type: 'string' } },
    $defs: { o: ROW },
  };
  t.ok(isValid(widened(schema, [target('owner.name')]), { id: 1, owner: { name: 'x' } }));
  t.ok(isValid(widened(schema, [target('n.name')]), { id: 1, n: { name: 'x' } }));
});

t.test('alternatives may match together once they are open', async (t) => {
  const shape = (key: string) => ({ type: 'object', properties: { [key]: {} }, additionalProperties: false });
  const wide = widened({ type: 'object', oneOf: [shape('a'), shape('b')] }, [target('c')]);
  t.ok(isValid(wide, { a: 1, c: 1 }));
  t.ok(isValid(wide, { c: 1 }));
  t.notOk(isValid(wide, { a: 1, b: 1 }));
});

t.test('without a schema, or without targets, the definition is the same string', async (t) => {
  const plain = '{"name":"t","inputSchema":{"type":"object","properties":{"outputSchema":{}}}}';
  t.equal(widenSchema(plain, [target('a')]), plain);
  t.equal(widenSchema(definitionOf(ROW), []), definitionOf(ROW));
  for (const odd of ['[]', 'null', '{"outputSchema":{},"outputSchema":{}}', '{"outputSchema":']) {
    t.equal(widenSchema(odd, [target('a')]), odd);
  }
});

t.test('where it cannot be told the schema goes, and all other bytes stay', async (t) => {
  const without = definitionOf({}).replace(' ,"outputSchema": {}', '');
  const gone = (schema: unknown, ...targets: Target[]) => t.equal(widenSchema(definitionOf(schema), targets), without);
  gone({ type: 'array', items: ROW }, target('a'));
  gone({}, target('a'));
  gone(true, target('a'));
  gone({ ...ROW, if: { required: ['a'] } }, target('a'));
  gone({ type: 'object', $ref: 'https://example.com/schema' }, target('a'));
  gone({ type: 'object', $ref: '#/$defs/none' }, target('a'));
  gone(ROW, target('a', '$..rows'));
  gone(ROW, target('a', '$.args.rows'));
  gone(ROW, target('a', 'rows'));
  gone({ type: 'object', oneOf: [ROW], properties: { b: { $ref: '#/oneOf/0' } } }, target('a'));
  const exact = widenSchema(definitionOf(ROW).replace('"integer"', '"integer","maximum":9007199254740993'), [
    target('a'),
  ]);
  t.match(exact, /"maximum":9007199254740993/);
  t.match(exact, /^\{"name":"t", "inputSchema":\{"type":"object"\} ,"outputSchema": \{.*\},"x-n":9007199254740993\}$/);
  t.ok(isValid(widened({ type: 'array', items: ROW }, [target('a', '$.response[*]')]), [{ id: 1, a: 2 }]));
});

t.test('references in circles end, and chains without end are given up', async (t) => {
  const tree = {
    type: 'object',
    properties: { kids: { type: 'array', items: { $ref: '#' } } },
    additionalProperties: false,
  };
  const wide = widened({ ...tree, allOf: [{ $ref: '#' }] }, [target('owner', '$.response.kids[*].kids[*]')]);
  t.same(wide.properties.owner, {});
  const $defs = Object.fromEntries(Array.from({ length: 50_000 }, (_, i) => [`d${i}`, { $ref: `#/$defs/d${i + 1}` }]));
  t.equal(widened({ type: 'object', $ref: '#/$defs/d0', $defs }, [target('a')]), undefined);
});

t.test('lists show the widened definition under the name that clients use', async (t) => {
  const item = { name: 't', definition: definitionOf(ROW), digest: '' };
  const entry = { wireName: 'a__t', connection: { name: 'a' }, item };
  const definition = widenSchema(item.definition, [target('owner')]);
  const view = (tool: object): Any => {
    const namespace = { tools: new Map([['a__t', tool]]), uris: { isIdentity: true } } as unknown as Namespace;
    return JSON.parse(`{${viewOf(namespace, OPERATOR, 'tools').pages[0]}}`).tools[0];
  };
  t.same(view({ ...entry, definition }).outputSchema.properties.owner, {});
  t.equal(view({ ...entry, definition }).name, 'a__t');
  t.same(view(entry).outputSchema, ROW);
});

/** A value and a schema that it fits tightly, in one of many ways of writing it. */
const key = fc.constantFrom('a', 'b', 'c', 'd', '/~');
const samples = fc.letrec<{ json: Json }>((tie) => ({
  json: fc.oneof(
    { depthSize: 'small' },
    fc.constantFrom<Json>(1, 'x', null),
    fc.array(tie('json'), { maxLength: 3 }),
    fc.array(fc.tuple(key, tie('json')), { maxLength: 4 }).map(fromEntries),
  ),
})).json;

function fromEntries(entries: readonly (readonly [string, unknown])[]): Record<string, Json> {
  return Object.fromEntries(entries) as Record<string, Json>;
}

function schemaOf(value: Json, choose: () => number): Any {
  const $defs: Record<string, unknown> = {};
  const typeOf = (item: Json) => (item === null ? 'null' : Array.isArray(item) ? 'array' : typeof item);
  const infer = (item: Json): Any => {
    const type = typeOf(item);
    if (type === 'array') {
      const items = (item as Json[]).map(infer);
      return choose() % 2 === 0 || items.length === 0
        ? {
            type,
            items: items.length === 0 ? {} : { anyOf: items },
            ...(choose() % 3 === 0 && { contains: items[0] ?? {}, minContains: 0 }),
          }
        : { type, prefixItems: items, items: false };
    }
    if (type !== 'object') return choose() % 3 === 0 ? { enum: [item] } : { type };
    const keys = Object.keys(item as object);
    const properties = fromEntries(keys.map((name) => [name, dress((item as Any)[name])]));
    const extra =
      choose() % 4 === 0 ? fromEntries([['d', { type: 'integer' }], ...Object.entries(properties)]) : properties;
    return {
      type,
      ...(choose() % 5 === 0 && keys.length > 0
        ? { patternProperties: fromEntries([['^[abc]$', {}]]), properties: extra }
        : { properties: extra }),
      required: keys.filter(() => choose() % 2 === 0),
      ...[
        { additionalProperties: false },
        { unevaluatedProperties: false },
        { additionalProperties: { type: 'boolean' } },
        {},
      ][choose() % 4],
      ...[{ maxProperties: keys.length }, { propertyNames: { enum: [...keys, 'z'] } }, {}, {}, {}][choose() % 5],
    };
  };
  const dress = (item: Json): Any => {
    const schema = infer(item);
    switch (choose() % 9) {
      case 0: {
        const name = `d${Object.keys($defs).length}`;
        $defs[name] = schema;
        return { $ref: `#/$defs/${name}` };
      }
      case 1:
        return { allOf: [schema, {}] };
      case 2:
        return { anyOf: [{ type: 'boolean' }, schema] };
      case 3:
        return { oneOf: [{ type: 'boolean' }, schema], description: 'x' };
      case 4:
        return { not: { type: 'boolean' }, ...schema };
      case 5:
        return { const: item };
      default:
        return schema;
    }
  };
  const root = infer(value);
  return { ...root, $defs };
}

/** Places of the value that a place with every index as `*` means. */
function alike(value: Json, pattern: Place, at: Place = []): Place[] {
  const [next, ...rest] = pattern;
  if (next === undefined) return [at];
  if (typeof next === 'number') {
    return Array.isArray(value) ? value.flatMap((item: Json, i) => alike(item, rest, [...at, i])) : [];
  }
  const isThere = typeof value === 'object' && value !== null && !Array.isArray(value) && Object.hasOwn(value, next);
  return isThere ? alike((value as Any)[next], rest, [...at, next]) : [];
}

function places(value: Json, at: Place = []): Place[] {
  if (typeof value !== 'object' || value === null) return [at];
  const inner = Array.isArray(value)
    ? value.map((item: Json, i) => [i, item] as const)
    : Object.entries(value as Record<string, Json>);
  return [at, ...inner.flatMap(([name, item]) => places(item as Json, [...at, name]))];
}

const pathText = (place: Place): string =>
  `$.response${place.map((step) => (typeof step === 'number' ? '[*]' : `['${step}']`)).join('')}`;

t.test('what rules make of a valid result is valid', async (t) => {
  const counts = { merged: 0, kept: 0, schemas: 0, gone: 0 };
  const rules = fc.array(
    fc.record({
      where: fc.oneof(fc.constant(0), fc.nat(30)),
      path: fc.array(key, { minLength: 1, maxLength: 3 }),
      value: samples,
      onConflict: fc.constantFrom<Addition['onConflict']>('keep', 'replace', 'array'),
    }),
    { minLength: 1, maxLength: 3 },
  );
  fc.assert(
    fc.property(
      fc.array(fc.tuple(key, samples), { maxLength: 4 }).map(fromEntries),
      fc.infiniteStream(fc.nat(359)),
      rules,
      (value, stream, all) => {
        const schema = schemaOf(value, () => stream.next().value as number);
        fc.pre(isValid(schema, value));
        const merge = new Merge({ value, parts: { structured: undefined, content: undefined }, text: undefined });
        const open = places(value);
        const targets = all.map(({ where, path, value: added, onConflict }): Target => {
          const pattern = open[where % open.length] as Place;
          for (const at of alike(merge.response, pattern)) {
            counts[merge.add({ at, path, value: added, onConflict, text: 'keep' })]++;
          }
          return { forEach: pattern.length === 0 ? undefined : pathText(pattern), path, onConflict };
        });
        const wide = widened(schema, targets);
        counts[wide === undefined ? 'gone' : 'schemas']++;
        if (wide !== undefined)
          assert(isValid(wide, merge.response), JSON.stringify({ schema, wide, now: merge.response, targets }));
      },
    ),
    { numRuns: 250 },
  );
  t.comment(JSON.stringify(counts));
  t.ok(counts.merged > 80 && counts.schemas > counts.gone * 5, 'most schemas can be widened');
});
