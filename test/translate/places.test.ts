import fc from 'fast-check';
import t from 'tap';
import { skipValue } from '../../src/mcp/json.ts';
import { splice } from '../../src/mcp/splice.ts';
import { compilePaths, visitPaths } from '../../src/translate/paths.ts';
import { type Part, taskEdits, uriEdits } from '../../src/translate/places.ts';

const rename = (uri: string): string => `up+${uri}`;

function renamed(text: string, part: Part, how: typeof uriEdits = uriEdits): string {
  const bytes = Buffer.from(text);
  return splice(bytes, how(bytes, { start: 0, end: bytes.length }, part, rename)).toString();
}

/** The same by way of JSON.parse: an independent list of the places (MCP, mcp.md "Resource URIs: where they hide"). */
const PLACES: Record<Part, string[]> = {
  result: [
    'content.*.uri',
    'content.*.resource.uri',
    'contents.*.uri',
    'messages.*.content.uri',
    'messages.*.content.resource.uri',
    'messages.*.content.*.uri',
    'messages.*.content.*.resource.uri',
    'inputRequests.*.params.messages.*.content.uri',
    'inputRequests.*.params.messages.*.content.resource.uri',
    'inputRequests.*.params.messages.*.content.*.resource.uri',
    'inputRequests.*.params.messages.*.content.*.uri',
    '_meta.ui.resourceUri',
    '_meta.ui/resourceUri',
    'result.content.*.uri',
    'result.content.*.resource.uri',
  ],
  error: ['data.uri'],
  params: [
    'uri',
    'messages.*.content.uri',
    'messages.*.content.resource.uri',
    'messages.*.content.*.resource.uri',
    'messages.*.content.*.uri',
  ],
};

type Json = unknown;
function renameAt(value: Json, path: readonly string[]): Json {
  const [step, ...rest] = path;
  if (step === undefined) return typeof value === 'string' && !value.startsWith('up+') ? rename(value) : value;
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return step === '*' ? value.map((item) => renameAt(item, rest)) : value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, step === '*' || step === key ? renameAt(item, rest) : item]),
  );
}

const text = fc.constantFrom('file:///a', 'memo:x', 'ui://a/b', 'x"y', 'é', '');
const leaf = fc.oneof(text, fc.integer(), fc.constant(null), fc.constant(true));
const block = fc.oneof(
  fc.record({ type: fc.constant('resource_link'), uri: leaf, name: text }),
  fc.record({ type: fc.constant('resource'), resource: fc.record({ uri: leaf, text }, { requiredKeys: [] }) }),
  fc.record({ type: fc.constant('text'), text: fc.constant('file:///a') }),
  leaf,
);
const message = fc.record({ role: text, content: fc.oneof(block, fc.array(block, { maxLength: 3 })) });
const messages = fc.oneof(fc.array(message, { maxLength: 3 }), leaf);
const result = fc.record(
  {
    content: fc.oneof(fc.array(block, { maxLength: 3 }), leaf),
    contents: fc.array(fc.record({ uri: leaf, text }), { maxLength: 2 }),
    messages,
    inputRequests: fc.dictionary(text, fc.record({ method: text, params: fc.record({ messages, uri: text }) })),
    structuredContent: fc.record({ uri: text, resource: fc.record({ uri: text }) }),
    uri: text,
    result: fc.record({ content: fc.array(block, { maxLength: 2 }), uri: text }),
    _meta: fc.record({ ui: fc.record({ resourceUri: leaf }), 'ui/resourceUri': leaf, uri: text }, { requiredKeys: [] }),
  },
  { requiredKeys: [] },
);
const ANY: Record<Part, fc.Arbitrary<unknown>> = {
  result,
  error: fc.record({ code: fc.integer(), data: fc.oneof(fc.record({ uri: leaf, other: text }), leaf) }),
  params: fc.record({ uri: leaf, messages, data: fc.record({ uri: text }), progressToken: leaf }, { requiredKeys: [] }),
};

for (const part of ['result', 'error', 'params'] as const) {
  t.test(`every URI of a ${part} is renamed, and nothing else`, async () => {
    fc.assert(
      fc.property(ANY[part], fc.constantFrom(undefined, 1, '\t'), (value, indent) => {
        let expected = value;
        for (const place of PLACES[part]) {
          const path = place.split('.');
          expected = renameAt(expected, path);
        }
        return renamed(JSON.stringify(value, null, indent), part) === JSON.stringify(expected, null, indent);
      }),
      { numRuns: 1500 },
    );
  });
}

t.test('an escape in a key hides no URI', async (t) => {
  t.equal(renamed('{"contents":[{"\\u0075ri":"file:///a"}]}', 'result'), '{"contents":[{"\\u0075ri":"up+file:///a"}]}');
  t.equal(
    renamed('{"cont\\u0065nts":[{"uri":"file:\\/\\/\\/a"}]}', 'result'),
    '{"cont\\u0065nts":[{"uri":"up+file:///a"}]}',
  );
  t.equal(renamed('{"\\u0074askId":"a"}', 'result', taskEdits), '{"\\u0074askId":"up+a"}');
});

t.test('what is renamed to itself keeps its bytes', async (t) => {
  const bytes = Buffer.from('{"contents":[{"uri":"file:\\/\\/\\/a"}]}');
  t.same(
    uriEdits(bytes, { start: 0, end: bytes.length }, 'result', (uri) => uri),
    [],
  );
});

t.test('task ids of both shapes', async (t) => {
  const tasks = (value: unknown, part: Part): unknown => JSON.parse(renamed(JSON.stringify(value), part, taskEdits));
  t.same(
    tasks({ taskId: 'a', task: { taskId: 'b' }, tasks: [{ taskId: 'c' }], content: [{ taskId: 'd' }] }, 'result'),
    {
      taskId: 'up+a',
      task: { taskId: 'up+b' },
      tasks: [{ taskId: 'up+c' }],
      content: [{ taskId: 'd' }],
    },
  );
  const related = { _meta: { 'io.modelcontextprotocol/related-task': { taskId: 'a' } } };
  t.match(tasks(related, 'result'), { _meta: { 'io.modelcontextprotocol/related-task': { taskId: 'up+a' } } });
  t.match(tasks({ taskId: 'a', status: 'working' }, 'params'), { taskId: 'up+a', status: 'working' });
});

t.test("a key that comes twice on the way is refused, beside it is nobody's business", async (t) => {
  t.throws(() => renamed('{"contents":[],"contents":[{"uri":"file:///a"}]}', 'result'));
  t.doesNotThrow(() => renamed('{"structuredContent":{"a":1,"a":2},"contents":[{"uri":"x"}]}', 'result'));
});

t.test('paths', async (t) => {
  const at = (text: string, ...paths: string[]): string[] => {
    const bytes = Buffer.from(text);
    const found: string[] = [];
    const tree = compilePaths(paths.map((path) => (path === '' ? [] : path.split('.'))));
    visitPaths(bytes, 0, 0, tree, (start, end) => {
      t.equal(end, skipValue(bytes, start, 0));
      found.push(bytes.toString('utf8', start, end));
    });
    return found;
  };
  t.same(at('{"a":{"b":[1,{"c":2}]},"b":3}', 'a.b.*', 'a.b.*.c', 'b'), ['1', '{"c":2}', '2', '3']);
  t.same(at('[ 1 , [ ] , {} ]', '*'), ['1', '[ ]', '{}']);
  t.same(at('[]', '*'), []);
  t.same(at('5', 'a', '*'), []);
  t.same(at('{"a":[{"b":1}]}', 'a.b'), [], 'an index is a step of its own');
});
