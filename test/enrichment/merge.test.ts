import assert from 'node:assert/strict';
import { CallToolResultSchema } from '@modelcontextprotocol/sdk/types.js';
import fc from 'fast-check';
import t from 'tap';
import { type Addition, Merge } from '../../src/enrichment/merge.ts';
import type { Note } from '../../src/enrichment/readable.ts';
import { type FoundResponse, findResponse } from '../../src/enrichment/response.ts';
import { resultEdits } from '../../src/enrichment/result-edits.ts';
import type { Place } from '../../src/enrichment/rule.ts';
import { isEqual, isObject, type Json, type JsonObject, jsonText, parseJson } from '../../src/mcp/exact-json.ts';
import type { Span } from '../../src/mcp/json.ts';
import { parseResponse } from '../../src/mcp/response.ts';
import { splice } from '../../src/mcp/splice.ts';

interface Sent {
  readonly bytes: Buffer;
  readonly result: Span;
}

/** A message whose result is that JSON text. */
function sent(result: string): Sent {
  const head = '{"jsonrpc":"2.0","id":7,"result":';
  const bytes = Buffer.from(`${head}${result}}`);
  return { bytes, result: { start: Buffer.byteLength(head), end: bytes.length - 1 } };
}

const found = (message: Sent): FoundResponse | undefined => {
  const response = findResponse(message.bytes, message.result);
  return typeof response === 'string' ? undefined : response;
};

function mergeOf(message: Sent): Merge {
  const response = found(message);
  assert(response !== undefined);
  return new Merge(response);
}

const note = (text: 'append' | 'splice' | 'keep', value: Json = null): Note => ({
  kind: 'added',
  rule: 'owners',
  path: 'a.b',
  text,
  value,
});

/** The result as the client gets it. */
function received({ bytes, result }: Sent, merge: Merge | undefined, notes: readonly Note[]): JsonObject {
  const whole = splice(bytes, resultEdits(bytes, result, merge, notes));
  assert(parseResponse(whole)?.kind === 'result');
  return (parseJson(whole.toString()) as { result: JsonObject }).result;
}

function texts(result: JsonObject): string[] {
  return (result.content as { type: string; text: string }[]).map(({ text }) => text);
}

function add(merge: Merge, path: string, value: Json, more: Partial<Addition> = {}): 'merged' | 'kept' {
  return merge.add({ at: [], path: path.split('.'), value, onConflict: 'keep', text: 'append', ...more });
}

/** What the merge should give, done the slow way on a copy. */
function reference(response: Json, additions: readonly Addition[]): { response: Json; outcomes: string[] } {
  // biome-ignore lint/suspicious/noExplicitAny: a model that is told of no types
  let root: any = structuredClone(plain(response));
  const outcomes = additions.map(({ at, path, value, onConflict }) => {
    const isThing = (x: unknown): x is Record<string, unknown> =>
      typeof x === 'object' && x !== null && !Array.isArray(x);
    let wrapped = root;
    if (at.length === 0 && !isThing(root)) wrapped = { response: root };
    let holder = wrapped;
    for (const key of at) {
      const has = Array.isArray(holder)
        ? typeof key === 'number' && key < holder.length
        : isThing(holder) && typeof key === 'string' && Object.hasOwn(holder, key);
      if (!has) return 'kept';
      holder = holder[key];
    }
    if (!isThing(holder) || path.length === 0) return 'kept';
    let probe: unknown = holder;
    let free = false;
    for (const key of path) {
      if (!isThing(probe)) return 'kept';
      if (!Object.hasOwn(probe, key)) {
        free = true;
        break;
      }
      probe = probe[key];
    }
    if (!free && onConflict === 'keep') return 'kept';
    root = wrapped;
    for (const key of path.slice(0, -1)) {
      if (!Object.hasOwn(holder, key)) define(holder, key, {});
      holder = holder[key];
    }
    const last = path.at(-1) as string;
    const copy = structuredClone(plain(value));
    if (!Object.hasOwn(holder, last) || onConflict === 'replace') define(holder, last, copy);
    else
      define(
        holder,
        last,
        [holder[last], copy].flatMap((part) => (Array.isArray(part) ? part : [part])),
      );
    return 'merged';
  });
  return { response: root, outcomes };
}

function define(object: object, key: string, value: unknown): void {
  Object.defineProperty(object, key, { value, enumerable: true, writable: true, configurable: true });
}

const plain = (value: Json): unknown => JSON.parse(jsonText(value));

/** Few keys, so that additions meet what is there. */
const key = fc.constantFrom('a', 'b', 'c', 'response', '__proto__', 'é"\\', '1');
const leaf = fc.oneof(
  fc.constantFrom<Json>(null, true, 0, 1.5, '', 'x', '\u2028é\ud83d\ude00"\\/', '\ud83d', '}{]["'),
  fc.string({ unit: 'binary', maxLength: 4 }),
  fc.integer(),
);
const value = fc.letrec<{ json: Json }>((tie) => ({
  json: fc.oneof(
    { depthSize: 'small' },
    leaf,
    fc.array(tie('json'), { maxLength: 4 }),
    fc.array(fc.tuple(key, tie('json')), { maxLength: 5 }).map((entries) => {
      const object = {};
      for (const [name, item] of entries) define(object, name, item);
      return object;
    }),
  ),
})).json;

/** One of the ways in which a writer may write a value: spaces, and escapes where none are needed. */
function written(json: Json, choices: () => number): string {
  const space = () => ['', '', ' ', '\n  ', '\t'][choices() % 5] as string;
  const string = (text: string) =>
    `"${[
      ...JSON.stringify(text)
        .slice(1, -1)
        .matchAll(/\\u....|\\.|./gsu),
    ]
      .map(([part]) => {
        if (part.startsWith('\\') || choices() % 3 > 0) return part;
        return part === '/'
          ? '\\/'
          : part.replace(/./gs, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
      })
      .join('')}"`;
  const go = (item: Json): string => {
    if (typeof item === 'string') return string(item);
    if (Array.isArray(item)) return `[${space()}${item.map((x: Json) => go(x) + space()).join(`,${space()}`)}]`;
    if (!isObject(item)) return jsonText(item);
    const members = Object.entries(item).map(([name, x]) => `${string(name)}${space()}:${space()}${go(x)}${space()}`);
    return `{${space()}${members.join(`,${space()}`)}}`;
  };
  return space() + go(json) + space();
}

const choices = fc.infiniteStream(fc.nat(59)).map((stream) => () => stream.next().value as number);

function places(json: Json, at: Place = []): Place[] {
  const inner = Array.isArray(json)
    ? json.flatMap((item: Json, i) => places(item, [...at, i]))
    : isObject(json)
      ? Object.entries(json).flatMap(([name, item]) => places(item, [...at, name]))
      : [];
  return [at, ...inner];
}

interface Step {
  readonly where: number;
  readonly path: readonly string[];
  readonly value: Json;
  readonly onConflict: Addition['onConflict'];
  readonly text: Addition['text'];
}
const steps = (text: fc.Arbitrary<Addition['text']>) =>
  fc.array(
    fc.record<Step>({
      where: fc.oneof(fc.constant(0), fc.nat(40)),
      path: fc.array(key, { minLength: 1, maxLength: 3 }),
      value,
      onConflict: fc.constantFrom('keep', 'replace', 'array'),
      text,
    }),
    { minLength: 1, maxLength: 8 },
  );

/** Adds at places that are there at that moment, as paths find them. */
function run(merge: Merge, all: readonly Step[]): { additions: Addition[]; outcomes: string[] } {
  const additions: Addition[] = [];
  const outcomes: string[] = [];
  for (const { where, ...step } of all) {
    const open = places(merge.response);
    const addition = { ...step, at: open[where % open.length] as Place };
    additions.push(addition);
    outcomes.push(merge.add(addition));
  }
  return { additions, outcomes };
}

/** Whether all of `original` is in `bytes`, in order. */
function isKept(original: Buffer, bytes: Buffer): boolean {
  let at = 0;
  for (const byte of bytes) if (byte === original[at]) at++;
  return at === original.length;
}

t.test('structured content gets every addition where it stands', async (t) => {
  let merged = 0;
  fc.assert(
    fc.property(value, steps(fc.constant('keep')), choices, (response, all, choose) => {
      fc.pre(response !== null);
      const before = jsonText(response);
      const message = sent(`{"content":[],"structuredContent":${written(response, choose)},"_meta":{}}`);
      const merge = mergeOf(message);
      const { additions, outcomes } = run(merge, all);
      const expected = reference(response, additions);
      assert.deepEqual(outcomes, expected.outcomes);
      assert(isEqual(merge.response, expected.response as Json));
      const result = received(message, merge, [note('keep')]);
      assert(isEqual(result.structuredContent as Json, merge.response));
      assert.equal(jsonText(parseJson(before)), jsonText(response), 'what was parsed is as it was');
      merged += outcomes.filter((outcome) => outcome === 'merged').length;
      if (!all.some(({ onConflict }) => onConflict === 'replace')) {
        assert(
          isKept(
            message.bytes,
            splice(message.bytes, resultEdits(message.bytes, message.result, merge, [note('keep')])),
          ),
        );
      }
    }),
    { numRuns: 800 },
  );
  t.ok(merged > 800, `${merged} additions merged`);
});

t.test('JSON in a text becomes structured content, and gets the additions of rules that splice', async () => {
  fc.assert(
    fc.property(value, steps(fc.constant('splice')), choices, (response, all, choose) => {
      fc.pre(typeof response === 'object' && response !== null);
      const text = written(response, choose);
      const escaped = written(text, choose).trim();
      const message = sent(` {"content" : [{"type":"text","text":${escaped}} ]} `.trim());
      const merge = mergeOf(message);
      const { outcomes } = run(merge, all);
      const result = received(message, merge, [note('splice')]);
      if (!outcomes.includes('merged')) return;
      const now = merge.response;
      assert(isEqual(result.structuredContent as Json, isObject(now) ? now : { response: now }));
      assert.equal(texts(result).length, 1);
      assert(isEqual(parseJson(texts(result)[0] as string), now));
      if (!all.some(({ onConflict }) => onConflict === 'replace')) {
        const whole = splice(message.bytes, resultEdits(message.bytes, message.result, merge, [note('splice')]));
        assert(isKept(message.bytes, whole));
      }
      assert(CallToolResultSchema.safeParse(plain(result)).success);
    }),
    { numRuns: 800 },
  );
});

t.test('a text that says the same as the structured content stays in step with it', async () => {
  fc.assert(
    fc.property(value, steps(fc.constant('splice')), choices, (response, all, choose) => {
      fc.pre(isObject(response));
      const text = written(written(response, choose), choose).trim();
      const message = sent(
        `{"content":[{"type":"text","text":"Here:"},{"type":"text","text":"[]"},{"type":"text","text":${text}}],"structuredContent":${written(response, choose)}}`,
      );
      const merge = mergeOf(message);
      const { outcomes } = run(merge, all);
      const result = received(message, merge, [note('splice')]);
      assert(isEqual(parseJson(texts(result)[2] as string), result.structuredContent as Json));
      assert.equal(texts(result).length, outcomes.includes('merged') ? 3 : texts(result).length);
    }),
    { numRuns: 300 },
  );
});

t.test('rules of all modes in one call', async () => {
  const message = sent('{"content":[{"type":"text","text":"{\\"id\\": 1}"}]}');
  const merge = mergeOf(message);
  add(merge, 'kept', 1, { text: 'keep' });
  add(merge, 'told', 2);
  add(merge, 'in.text', 3, { text: 'splice' });
  add(merge, 'kept2.x', 4, { text: 'splice' });
  const result = received(message, merge, [note('keep', 1), note('append', 2), note('splice', 3)]);
  assert.deepEqual(result.structuredContent, { id: 1, kept: 1, told: 2, in: { text: 3 }, kept2: { x: 4 } });
  assert.equal(texts(result)[0], '{"id": 1,"in":{"text":3},"kept2":{"x":4}}');
  assert.equal(texts(result)[1], 'Added by the gateway\'s rule "owners" as "a.b":\n2');
  assert.equal(texts(result).length, 2);
});

t.test('without a text to splice into, the addition is told in one of its own', async () => {
  const message = sent('{"content":[{"type":"text","text":"Two orders."}],"structuredContent":{"orders":2}}');
  const merge = mergeOf(message);
  add(merge, 'owner', 'é', { text: 'splice' });
  const result = received(message, merge, [note('splice', 'é')]);
  assert.deepEqual(texts(result), ['Two orders.', 'Added by the gateway\'s rule "owners" as "a.b":\n"é"']);
});

t.test("every digit, key and space of the upstream's stays", async (t) => {
  const json = '{ "id" : 9007199254740993, "z":1.10,\n"a":1e400 , "z2":[ ] }';
  const message = sent(`{"content":[{"type":"text","text":${JSON.stringify(json)}}]}`);
  const merge = mergeOf(message);
  add(merge, 'row', parseJson('{"n":12345678901234567890}'), { text: 'splice' });
  const { bytes, result } = message;
  const whole = splice(bytes, resultEdits(bytes, result, merge, [note('splice')])).toString();
  const now = json.replace(' }', ',"row":{"n":12345678901234567890} }');
  t.equal(
    whole,
    `{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":${JSON.stringify(now)}}],"structuredContent":${now}}}`,
  );
});

t.test('what is no object is wrapped, and rules go on inside', async (t) => {
  const message = sent('{"content":[],"structuredContent":[{"id":1},{"id":2}]}');
  const merge = mergeOf(message);
  t.equal(add(merge, 'owner', 'a', { at: [1] }), 'merged');
  t.equal(add(merge, 'total', 2), 'merged');
  t.equal(add(merge, 'owner', 'b', { at: ['response', 0] }), 'merged');
  t.equal(add(merge, 'owner', 'c', { at: [0] }), 'kept');
  t.equal(add(merge, 'response', [{ id: 3 }], { onConflict: 'array' }), 'merged');
  t.equal(add(merge, 'owner', 'd', { at: ['response', 2] }), 'merged');
  t.strictSame(plain(received(message, merge, []).structuredContent as Json), {
    response: [
      { id: 1, owner: 'b' },
      { id: 2, owner: 'a' },
      { id: 3, owner: 'd' },
    ],
    total: 2,
  });
  const list = sent('{"content":[{"type":"text","text":"[1]"}]}');
  const of = mergeOf(list);
  t.equal(add(of, 'response', 1), 'kept');
  t.strictSame(of.response, [1]);
  t.equal(add(of, 'x', 1, { at: [0] }), 'kept');
  t.equal(add(of, '1', 'one'), 'merged');
  t.strictSame(plain(received(list, of, []).structuredContent as Json), { 1: 'one', response: [1] });
  const elements = mergeOf(sent('{"content":[{"type":"text","text":"[{}]"}]}'));
  add(elements, 'x', 1, { at: [0] });
  t.strictSame(
    plain(received(sent('{"content":[{"type":"text","text":"[{}]"}]}'), elements, []).structuredContent as Json),
    {
      response: [{ x: 1 }],
    },
  );
});

t.test('what a rule has seen does not change', async (t) => {
  const message = sent('{"structuredContent":{"a":{"b":[1]}}}');
  const merge = mergeOf(message);
  const first = merge.response;
  const row = { x: 1 };
  add(merge, 'a.row', row);
  const second = merge.response;
  add(merge, 'a.row.y', 2);
  add(merge, 'a.b', 2, { onConflict: 'array' });
  t.strictSame(first, { a: { b: [1] } });
  t.strictSame(second, { a: { b: [1], row: { x: 1 } } });
  t.strictSame(merge.response, { a: { b: [1, 2], row: { x: 1, y: 2 } } });
  t.strictSame(row, { x: 1 });
});

t.test('of a key that comes twice the last one counts', async (t) => {
  const message = sent('{"structuredContent":{"a":{"old":[{}]},"b":[],"a":{"new":1},"\\u0061":{"n":{}}}}');
  const merge = mergeOf(message);
  add(merge, 'a.n.x', 1);
  add(merge, 'b', 1, { onConflict: 'array' });
  t.strictSame(plain(received(message, merge, []).structuredContent as Json), { a: { n: { x: 1 } }, b: [1] });
});

t.test('where the response is looked for', async (t) => {
  const of = (result: string): Json | undefined => found(sent(result))?.value;
  t.strictSame(of('{"content":[{"type":"text","text":"{\\"a\\":1}"}],"structuredContent":{"b":1}}'), { b: 1 });
  t.strictSame(of('{"structuredContent":"text"}'), 'text');
  t.strictSame(of('{"structuredContent":null,"content":[{"type":"text","text":"\\n [1]"}]}'), [1]);
  t.strictSame(
    of('{"content":[{"type":"text","text":"Hi"},{"type":"text","text":"{broken"},{"text":"{}","type":"text"}]}'),
    {},
  );
  t.strictSame(
    of('{"content":[{"type":"image","data":"e30=","text":"{}"},{"type":"resource","resource":{"text":"{}"}}]}'),
    undefined,
  );
  t.equal(
    of('{"content":[{"type":"text","text":"17"},{"type":"text","text":"\\u0031"},{"type":"text","text":"\\"x\\""}]}'),
    undefined,
  );
  t.equal(of('{"content":[{"type":"text","text":"{}","text":"{}"},7,null,[{"type":"text","text":"{}"}]]}'), undefined);
  for (const odd of [
    '{"content":"{}"}',
    '{"content":{"type":"text","text":"{}"}}',
    '{"content":null}',
    '{}',
    '[]',
    '"x"',
    '7',
  ]) {
    t.equal(of(odd), undefined, odd);
  }
  t.equal(of('{"structuredContent":{"a":1},"structuredContent":{"b":1}}'), undefined);
  t.equal(of(`{"content":[{"type":"text","text":"${'['.repeat(250)}${']'.repeat(250)}"}]}`), undefined);
  t.equal(of(`{"structuredContent":["${'x'.repeat(5 << 20)}"]}`), undefined);
  t.equal(of(`{"content":[{"type":"text","text":"[\\"${'x'.repeat(5 << 20)}\\"]"}]}`), undefined);
  const nothing = sent('{"structuredContent":null,"content":[{"type":"text","text":"{}"}]}');
  const merge = mergeOf(nothing);
  add(merge, 'a', 1);
  t.strictSame(plain(received(nothing, merge, []).structuredContent as Json), { a: 1 });
});

t.test('additions stay within the depth that messages may have', async (t) => {
  const deep = (levels: number): Json => parseJson('['.repeat(levels) + ']'.repeat(levels));
  const message = sent('{"content":[{"type":"text","text":"{}"}]}');
  const merge = mergeOf(message);
  t.equal(add(merge, 'a', deep(256)), 'kept');
  t.equal(add(merge, 'a', deep(230)), 'merged');
  t.equal(merge.add({ at: [], path: Array(239).fill('x'), value: deep(10), onConflict: 'keep', text: 'keep' }), 'kept');
  received(message, merge, []);
  t.equal(merge.add({ at: [], path: [], value: 1, onConflict: 'replace', text: 'keep' }), 'kept');
});

t.test('texts are bounded, and tell of warnings last', async (t) => {
  const message = sent('{"content":[ ],"structuredContent":{}}');
  const merge = mergeOf(message);
  const long = '€'.repeat(100_000);
  add(merge, 'a', long);
  const result = received(message, merge, [{ kind: 'warning', text: 'No.' }, note('append', long)].reverse() as Note[]);
  const [added, warning] = texts(result) as [string, string];
  t.ok(Buffer.byteLength(added) <= 64 * 1024 && Buffer.byteLength(added) > 65_000);
  t.match(added, /€\n… cut here; all of it is in the structured content, at a\.b$/);
  t.equal(warning, 'No.');
  t.ok(CallToolResultSchema.safeParse(plain(result)).success);
  t.ok(
    CallToolResultSchema.safeParse(
      plain(received(sent('{"structuredContent":{"a":1}}'), undefined, [{ kind: 'warning', text: '"\u0000' }])),
    ).success,
  );
  for (const odd of ['{"content":"x"}', '{"content":null}', '[]', '{"a":1,"a":2}']) {
    const { bytes, result: at } = sent(odd);
    t.strictSame(resultEdits(bytes, at, undefined, [{ kind: 'warning', text: 'No.' }]), [], odd);
  }
});

t.test('ten thousand elements in one pass', async (t) => {
  const times = [1000, 10_000].map((count) => {
    const rows = Array.from({ length: count }, (_, i) => ({ id: i, name: `Order ${i}`, tags: ['a', 'b'] }));
    const json = JSON.stringify({ orders: rows });
    const message = sent(`{"content":[{"type":"text","text":${JSON.stringify(json)}}],"structuredContent":${json}}`);
    const start = performance.now();
    const merge = mergeOf(message);
    for (let i = 0; i < count; i++) add(merge, 'customer', { name: `C${i}` }, { at: ['orders', i], text: 'splice' });
    const edits = resultEdits(message.bytes, message.result, merge, [note('splice')]);
    const whole = splice(message.bytes, edits);
    const ms = performance.now() - start;
    const { result } = JSON.parse(whole.toString());
    t.strictSame(result.structuredContent.orders[count - 1], {
      ...rows[count - 1],
      customer: { name: `C${count - 1}` },
    });
    assert.deepStrictEqual(JSON.parse(result.content[0].text), result.structuredContent);
    t.comment(`${count} elements: ${ms.toFixed(1)} ms`);
    return ms;
  });
  t.ok((times[1] as number) < 5000, 'far from quadratic');
});
