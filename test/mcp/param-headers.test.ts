import t from 'tap';
import { paramHeaders } from '../../src/mcp/param-headers.ts';

const tool = (inputSchema: unknown): string => JSON.stringify({ name: 'x', inputSchema });
const text = { type: 'string', 'x-mcp-header': 'Region' };

t.test('annotations on properties, however deep', async (t) => {
  t.same(paramHeaders(tool({ type: 'object', properties: { region: text } })), {
    params: [{ header: 'Region', path: ['region'], type: 'string' }],
  });
  const deep = {
    type: 'object',
    properties: {
      a: { type: 'object', properties: { b: { type: 'integer', 'x-mcp-header': 'B' } } },
      c: { type: 'boolean', 'x-mcp-header': "!#$%&'*+-.^_`|~" },
    },
  };
  t.match(paramHeaders(tool(deep)), {
    params: [
      { path: ['a', 'b'], type: 'integer' },
      { path: ['c'], type: 'boolean' },
    ],
  });
});

t.test('what looks like one is none', async (t) => {
  for (const schema of [
    undefined,
    'no schema',
    { type: 'object' },
    { type: 'object', properties: { 'x-mcp-header': { type: 'string' } } },
    { type: 'object', properties: { a: { type: 'object', default: text, enum: [text], const: text } } },
  ]) {
    t.same(paramHeaders(tool(schema)), { params: [] }, JSON.stringify(schema));
  }
});

t.test('whatever breaks a rule costs the tool its place', async (t) => {
  const property = (schema: unknown) => ({ type: 'object', properties: { p: schema } });
  for (const [what, schema] of [
    ['empty', property({ type: 'string', 'x-mcp-header': '' })],
    ['not a string', property({ type: 'string', 'x-mcp-header': 1 })],
    ['a space', property({ type: 'string', 'x-mcp-header': 'a b' })],
    ['a line end', property({ type: 'string', 'x-mcp-header': 'a\r\nb' })],
    ['a colon', property({ type: 'string', 'x-mcp-header': 'a:b' })],
    ['a number', property({ type: 'number', 'x-mcp-header': 'A' })],
    ['an object', property({ type: 'object', 'x-mcp-header': 'A' })],
    ['two types', property({ type: ['string', 'null'], 'x-mcp-header': 'A' })],
    ['no type', property({ 'x-mcp-header': 'A' })],
    ['the root', { type: 'object', 'x-mcp-header': 'A' }],
    ['items', property({ type: 'array', items: text })],
    ['properties of items', property({ type: 'array', items: { type: 'object', properties: { q: text } } })],
    ['oneOf', property({ oneOf: [{ type: 'integer' }, text] })],
    ['else', { type: 'object', else: { properties: { q: text } } }],
    ['$defs', { type: 'object', $defs: { d: text }, properties: { p: { $ref: '#/$defs/d' } } }],
    ['patternProperties', { type: 'object', patternProperties: { '^a': text } }],
    ['additionalProperties', { type: 'object', additionalProperties: text }],
    ['twice', { type: 'object', properties: { a: text, b: { type: 'string', 'x-mcp-header': 'REGION' } } }],
  ] as const) {
    t.type((paramHeaders(tool(schema)) as { fault?: string }).fault, 'string', what);
  }
  t.type(
    (paramHeaders('{"inputSchema":{"properties":{"p":{"x-mcp-h\\u0065ader":"A"}}}}') as { fault?: string }).fault,
    'string',
    'an escape hides nothing',
  );
});
