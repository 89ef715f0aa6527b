import t from 'tap';
import type { RuleConfig } from '../../src/config/document.ts';
import { inOrder } from '../../src/config/running-order.ts';
import type { Asking } from '../../src/enrichment/ask.ts';
import { compileRule } from '../../src/enrichment/compile.ts';
import { enrich } from '../../src/enrichment/engine.ts';
import type { CompiledRule } from '../../src/enrichment/rule.ts';
import { RuleBook } from '../../src/enrichment/rule-book.ts';
import { createTold } from '../../src/enrichment/told.ts';
import type { Told } from '../../src/enrichment/world.ts';
import { type Json, parseJson } from '../../src/mcp/exact-json.ts';
import { parseResponse } from '../../src/mcp/response.ts';
import { type Rendered, type SourceDefinition, SourceError } from '../../src/sources/source.ts';
import { createLogger } from '../../src/telemetry/log.ts';

const CONFIG: RuleConfig = {
  enabled: true,
  connection: 'crm',
  tool: '*',
  source: { use: 'pg', query: 'select * from accounts where id = :id', bind: { id: '$.response.id' } },
  merge: { path: 'more', onConflict: 'keep', as: 'auto', text: 'append' },
  repeat: 'none',
  priority: 0,
  timeoutMs: 1000,
  maxRows: 100,
  maxBytes: 65_536,
  cacheMs: 0,
  errorBudget: { failures: 20, perMs: 300_000 },
};

function rule(name: string, change: Partial<RuleConfig> = {}): CompiledRule {
  const written = { id: name, name, version: 1, tenant: 'default', config: { ...CONFIG, ...change } };
  const compiled = compileRule(written, new Map([['pg', 'postgres']]));
  if ('faults' in compiled) throw new Error(JSON.stringify(compiled.faults));
  return compiled;
}

interface Answering {
  readonly asking: Asking;
  readonly asked: Rendered[];
}

/** A source that answers as the test says. */
function answering(answer: (rendered: Rendered & { values: unknown[] }) => Json[] | Promise<Json[]>): Answering {
  const asked: Rendered[] = [];
  const asking: Asking = {
    definitions: new Map([['pg', { fault: undefined } as SourceDefinition]]),
    sources: {
      async ask(_source, rendered, { maxRows }) {
        asked.push(rendered);
        const rows = await answer(rendered as never);
        return { rows: rows.slice(0, maxRows), isTruncated: rows.length > maxRows, isCached: false };
      },
      update: () => {},
      health: () => [],
      close: async () => {},
    },
    callTool: undefined,
    budgets: undefined,
    told: undefined,
    isDryRun: false,
  };
  return { asking, asked };
}

async function run(result: string, rules: readonly CompiledRule[], { asking }: Answering, args: Json = {}) {
  const message = parseResponse(Buffer.from(`{"jsonrpc":"2.0","id":1,"result":${result}}`));
  if (message?.outcome === undefined) throw new Error('no result');
  const enriched = await enrich(
    {
      bytes: message.bytes,
      result: message.outcome,
      rules: [...rules].sort(inOrder),
      args,
      principal: { subject: 'ada' },
      tool: { name: 'get' },
      sessionId: undefined,
    },
    asking,
    new AbortController().signal,
  );
  const parsed = JSON.parse(enriched.bytes.toString()).result;
  return { ...enriched, text: enriched.bytes.toString(), result: parsed, value: parsed.structuredContent };
}

const structured = (json: string): string => `{"content":[],"structuredContent":${json}}`;

t.test('rows become an object or a list, and nothing where there are none', async (t) => {
  const rows: Json[] = [{ a: 1 }, { a: 2 }];
  for (const [as, count, expected] of [
    ['auto', 1, { a: 1 }],
    ['auto', 2, [{ a: 1 }, { a: 2 }]],
    ['array', 1, [{ a: 1 }]],
    ['object', 2, { a: 1 }],
  ] as const) {
    const { value, outcomes } = await run(
      structured('{"id":7}'),
      [rule('r', { merge: { ...CONFIG.merge, as } })],
      answering(() => rows.slice(0, count)),
    );
    t.same(value, { id: 7, more: expected });
    t.match(outcomes, [{ rule: 'r', outcome: 'merged', rows: count, source: 'pg' }]);
  }
  const nothing = await run(
    structured('{"id":7}'),
    [rule('r')],
    answering(() => []),
  );
  t.same(nothing.value, { id: 7 });
  t.match(nothing.outcomes, [{ outcome: 'empty' }]);
  t.equal(nothing.text, `{"jsonrpc":"2.0","id":1,"result":${structured('{"id":7}')}}`);
});

t.test('a rule sees what those before it added; priority is the order', async (t) => {
  const source = answering((rendered) => [{ owner: `o${rendered.values[0]}` }]);
  const late = rule('a-late', {
    source: { use: 'pg', query: 'select :owner as x', bind: { owner: '$.response.more.owner' } },
    merge: { ...CONFIG.merge, path: 'more.deeper' },
  });
  const { value, outcomes } = await run(structured('{"id":7}'), [late, rule('z-early', { priority: 5 })], source);
  t.same(value, { id: 7, more: { owner: 'o7', deeper: { owner: 'oo7' } } });
  t.same(
    outcomes.map(({ rule: name }) => name),
    ['z-early', 'a-late'],
  );
});

t.test('values keep every digit on their way to the source', async (t) => {
  const source = answering(() => []);
  await run(structured('{"id":9007199254740993}'), [rule('r')], source);
  t.match(JSON.stringify(source.asked[0]), '9007199254740993');
});

t.test('a rule without what it asks by is skipped, and says so without the value', async (t) => {
  const source = answering(() => [{ a: 1 }]);
  for (const json of ['{}', '{"id":null}', '{"id":[1,2]}', '{"id":{"secret":"s3cret"}}', '{"id":"a\\u0000b"}']) {
    const { outcomes, value } = await run(structured(json), [rule('r')], source);
    t.match(outcomes, [{ outcome: 'skipped', reason: /.+/ }], json);
    t.notMatch(JSON.stringify(outcomes), /s3cret/);
    t.same(value, JSON.parse(json));
  }
  t.equal(source.asked.length, 0);
});

t.test('each element gets its own rows from one request', async (t) => {
  const source = answering(() => [
    { id: 1, name: 'one' },
    { id: 2, name: 'two' },
    { id: 2, name: 'zwei' },
    { id: 9, name: 'nobody asked' },
    { name: 'without a key' },
    'not even a row',
  ]);
  const each = rule('each', {
    forEach: '$.response.orders[*]',
    source: { use: 'pg', query: 'select id, name from t where id in (:id)', bind: { id: '$.item.customer' } },
    merge: { ...CONFIG.merge, path: 'who' },
  });
  const { value, outcomes } = await run(
    structured('{"orders":[{"customer":1},{"customer":"2"},{"customer":1},{"customer":5},{},{"customer":{}},7]}'),
    [each],
    source,
  );
  t.equal(source.asked.length, 1);
  t.match(outcomes, [{ outcome: 'merged', elements: [3, 7] }]);
  t.same(value.orders, [
    { customer: 1, who: { id: 1, name: 'one' } },
    {
      customer: '2',
      who: [
        { id: 2, name: 'two' },
        { id: 2, name: 'zwei' },
      ],
    },
    { customer: 1, who: { id: 1, name: 'one' } },
    { customer: 5 },
    {},
    { customer: {} },
    7,
  ]);
});

t.test('what a source says of a value is for the agent, not for the record', async (t) => {
  const source = answering(() => {
    throw new SourceError('bad value', 'invalid input syntax for type integer: "s3cr3t"');
  });
  const { outcomes, warnings } = await run(structured('{"id":"s3cr3t"}'), [rule('r')], source);
  t.match(outcomes, [{ outcome: 'failed', reason: 'invalid input syntax for type integer: …' }]);
  t.match(warnings[0], /s3cr3t/);
});

t.test('rows beyond what an element may gain are left out, and the agent is told', async (t) => {
  const source = answering(() => [
    { id: 1, n: 'a' },
    { id: 1, n: 'b' },
    { id: 2, n: 'c' },
  ]);
  const each = rule('each', {
    forEach: '$.response.orders[*]',
    maxRows: 1,
    source: { use: 'pg', query: 'select id, n from t where id in (:id)', bind: { id: '$.item.id' } },
  });
  const { value, outcomes, warnings } = await run(
    structured('{"orders":[{"id":1},{"id":2},{"id":3}]}'),
    [each],
    source,
  );
  t.same(value.orders, [{ id: 1, more: { id: 1, n: 'a' } }, { id: 2, more: { id: 2, n: 'c' } }, { id: 3 }]);
  t.match(outcomes, [{ outcome: 'merged', truncated: true, elements: [2, 3] }]);
  t.match(warnings, [/"each".*first 1 rows of each/]);
});

t.test('a failing source leaves a warning, and the next rule runs', async (t) => {
  const source = answering(({ values }) => {
    if (values[0] === 'bad') throw new SourceError('unavailable', 'the database is away');
    return [{ ok: true }];
  });
  const bad = rule('bad', { priority: 1, source: { use: 'pg', query: 'select :x', bind: { x: 'bad' } } });
  const { result, outcomes, warnings } = await run(structured('{"id":7}'), [bad, rule('good')], source);
  t.match(outcomes, [{ outcome: 'failed', reason: 'the database is away' }, { outcome: 'merged' }]);
  t.match(result.content.at(-1).text, /"bad".*the database is away/);
  t.equal(warnings.length, 1);
  t.same(result.structuredContent, { id: 7, more: { ok: true } });
});

t.test("a source that answers never is left after the rule's time, and all rules together after theirs", async (t) => {
  const source = answering(() => new Promise(() => {}));
  const hanging = { ...source.asking, sources: { ...source.asking.sources } };
  hanging.sources.ask = (_source, _rendered, { signal }) =>
    new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('socket closed'))));
  const { outcomes } = await run(structured('{"id":7}'), [rule('r', { timeoutMs: 20 })], {
    ...source,
    asking: hanging,
  });
  t.match(outcomes, [{ outcome: 'failed', reason: /did not answer within 20 ms/ }]);
});

t.test('a rule that spent its budget asks nothing', async (t) => {
  const source = answering(() => [{ a: 1 }]);
  const budgets = { isOff: () => true, failed: () => {} };
  const { outcomes } = await run(structured('{"id":7}'), [rule('r')], {
    ...source,
    asking: { ...source.asking, budgets },
  });
  t.match(outcomes, [{ outcome: 'off' }]);
  t.equal(source.asked.length, 0);
});

t.test('values that a caller chose cannot spend a budget', async (t) => {
  const failed: string[] = [];
  const budgets = { isOff: () => false, failed: (_: unknown, reason: string) => void failed.push(reason) };
  for (const kind of ['bad value', 'unavailable'] as const) {
    const source = answering(() => {
      throw new SourceError(kind, kind);
    });
    await run(structured('{"id":7}'), [rule('r')], { ...source, asking: { ...source.asking, budgets } });
  }
  t.same(failed, ['unavailable']);
});

t.test('what has been told is referred to, or summed up, and what is short is said', async (t) => {
  const seen = new Set<string>();
  const told: Told = {
    look: (session, text) => ({ name: 'ctx_abc', again: seen.has(`${session} ${text}`) }),
    tell(session, text) {
      const known = told.look(session, text);
      seen.add(`${session} ${text}`);
      return known;
    },
    forget: () => {},
  };
  const message = parseResponse(Buffer.from(`{"jsonrpc":"2.0","id":1,"result":${structured('{"id":7}')}}`));
  const once = async (repeat: RuleConfig['repeat'], row: Json) => {
    if (message?.outcome === undefined) throw new Error('no result');
    const { bytes, outcomes } = await enrich(
      {
        bytes: message.bytes,
        result: message.outcome,
        rules: [rule(`r-${repeat}`, { repeat })],
        args: {},
        principal: {},
        tool: {},
        sessionId: 's',
      },
      { ...answering(() => [row]).asking, told },
      new AbortController().signal,
    );
    return { more: JSON.parse(bytes.toString()).result.structuredContent.more, outcome: outcomes[0] };
  };
  const long = { name: 'customer', text: 'x'.repeat(500), tier: 'gold', owner: 'ada', note: 'y' };
  t.match(await once('reference', long), { more: { context: 'ctx_abc', ...long }, outcome: { outcome: 'merged' } });
  const again = await once('reference', long);
  t.match(again, { more: { context: 'ctx_abc', text: undefined }, outcome: { outcome: 'repeated' } });
  t.ok((again.outcome?.tokensSaved ?? 0) > 80);
  await once('summary', long);
  t.match((await once('summary', long)).more, { name: 'customer', tier: 'gold', owner: 'ada', context: 'ctx_abc' });
  await once('reference', { a: 1 });
  t.match(await once('reference', { a: 1 }), { more: { a: 1 }, outcome: { outcome: 'merged' } });
});

t.test('a session has not been told what found no place, nor what nobody waited for', async (t) => {
  const told = createTold({ broadcast: async () => {}, log: createLogger('test', 'silent') });
  t.teardown(() => told.close());
  const row = { text: 'x'.repeat(500) };
  const once = async (response: string, signal = new AbortController().signal, leave?: () => void) => {
    const message = parseResponse(Buffer.from(`{"jsonrpc":"2.0","id":1,"result":${structured(response)}}`));
    if (message?.outcome === undefined) throw new Error('no result');
    const rules = [rule('r', { repeat: 'reference' })];
    const { asking } = answering(() => {
      leave?.();
      return [row];
    });
    const { outcomes } = await enrich(
      { bytes: message.bytes, result: message.outcome, rules, args: {}, principal: {}, tool: {}, sessionId: 's' },
      { ...asking, told },
      signal,
    );
    return outcomes[0]?.outcome;
  };
  t.equal(await once('{"id":7,"more":"taken"}'), 'kept');
  const gone = new AbortController();
  await once('{"id":7}', gone.signal, () => gone.abort());
  t.equal(await once('{"id":7}'), 'merged', 'now it is said in full');
  t.equal(await once('{"id":7}'), 'repeated');
});

t.test('a question whose asker leaves ends without a fault, and the result with what there was', async (t) => {
  const message = parseResponse(Buffer.from(`{"jsonrpc":"2.0","id":1,"result":${structured('{"id":7}')}}`));
  if (message?.outcome === undefined) throw new Error('no result');
  const gone = new AbortController();
  const { asking } = answering(() => []);
  const sources: Asking['sources'] = {
    ...asking.sources,
    ask: (_source, _rendered, { signal }) =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason));
        gone.abort();
      }),
  };
  const what = { bytes: message.bytes, result: message.outcome, rules: [rule('r'), rule('s')], args: {} };
  const { bytes, outcomes } = await enrich(
    { ...what, principal: {}, tool: {}, sessionId: undefined },
    { ...asking, sources },
    gone.signal,
  );
  t.equal(bytes, message.bytes);
  t.match(outcomes, [
    { rule: 'r', outcome: 'skipped', reason: /nobody waits/ },
    { rule: 's', outcome: 'skipped' },
  ]);
});

t.test('a rule that others left too little time has not failed by itself', async (t) => {
  const message = parseResponse(Buffer.from(`{"jsonrpc":"2.0","id":1,"result":${structured('{"id":7}')}}`));
  if (message?.outcome === undefined) throw new Error('no result');
  const failed: string[] = [];
  const budgets = { isOff: () => false, failed: ({ name }: CompiledRule) => void failed.push(name) };
  const { asking } = answering(() => []);
  const sources: Asking['sources'] = {
    ...asking.sources,
    ask: (_source, _rendered, { signal }) =>
      new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
  };
  const rules = [rule('hangs', { timeoutMs: 4900 }), rule('next'), rule('last')];
  const what = { bytes: message.bytes, result: message.outcome, rules, args: {}, principal: {}, tool: {} };
  const { outcomes } = await enrich(
    { ...what, sessionId: undefined },
    { ...asking, sources, budgets },
    new AbortController().signal,
  );
  t.same(
    outcomes.map(({ outcome }) => outcome),
    ['failed', 'failed', 'failed'],
  );
  t.same(failed, ['hangs']);
});

t.test('rules that only think let others in between, and stop when their time is up', async (t) => {
  const items = Array.from({ length: 20_000 }, (_, i) => `{"n":${i}}`).join(',');
  const message = parseResponse(Buffer.from(`{"jsonrpc":"2.0","id":1,"result":${structured(`{"items":[${items}]}`)}}`));
  if (message?.outcome === undefined) throw new Error('no result');
  const rules = Array.from({ length: 300 }, (_, i) => rule(`r${i}`, { when: { exists: ['$.response..nowhere'] } }));
  const gone = new AbortController();
  // Whoever leaves is heard of by the loop alone.
  setImmediate(() => setImmediate(() => gone.abort()));
  const what = { bytes: message.bytes, result: message.outcome, rules, args: {}, principal: {}, tool: {} };
  const { outcomes } = await enrich({ ...what, sessionId: undefined }, answering(() => []).asking, gone.signal);
  t.equal(outcomes.length, 300);
  t.match(outcomes[0]?.reason, /nowhere/);
  t.match(outcomes[299]?.reason, /nobody waits/);
});

t.test('rules are found by connection and tool, in the order in which they run', (t) => {
  const book = new RuleBook([
    rule('b', { tool: 'get_*' }),
    rule('a', { connection: 'c*', tool: 'get_one' }),
    rule('first', { priority: 9 }),
    rule('off', { enabled: false }),
    rule('other', { connection: 'files' }),
  ]);
  const names = (connection: string, tool: string) => book.forTool(connection, tool).map(({ name }) => name);
  t.same(names('crm', 'get_one'), ['first', 'a', 'b']);
  t.same(names('crm', 'put'), ['first']);
  t.same(names('files', 'put'), ['other']);
  t.same(names('mail', 'get_one'), []);
  t.equal(book.forTool('crm', 'put'), book.forTool('crm', 'put'), 'worked out once');
  t.end();
});

t.test('everything that is wrong with a rule is said at once', (t) => {
  const faults = (change: Partial<RuleConfig>) => {
    const compiled = compileRule(
      { id: '', name: '', version: 1, tenant: '', config: { ...CONFIG, ...change } },
      new Map([
        ['pg', 'postgres'],
        ['hub', 'datahub'],
      ] as const),
    );
    return 'faults' in compiled ? compiled.faults.map(({ path, message }) => `${path}: ${message}`).join('\n') : '';
  };
  const bind = { id: '$.response.id' };
  t.equal(faults({}), '');
  t.match(faults({ source: { use: 'gone', query: 'select 1', bind: {} } }), /source\.use: there is no source "gone"/);
  t.match(
    faults({ source: { use: 'hub', query: 'select 1', bind: {} } }),
    /source\.query: .*type datahub.*"operation"/,
  );
  t.match(faults({ source: { use: 'pg', query: 'select :id, :x', bind } }), /":x" has no binding/);
  t.match(faults({ source: { use: 'pg', query: 'select 1', bind } }), /source\.bind\.id: is not used/);
  t.match(faults({ source: { use: 'pg', query: 'select :id', bind: { id: '$.answer.id' } } }), /source\.bind\.id: /);
  t.match(faults({ source: { use: 'pg', query: 'select :id', bind: { id: '$.item.id' } } }), /source\.bind\.id: /);
  t.match(
    faults({ source: { use: 'pg', query: 'delete from t where id = :id', bind } }),
    /source\.query: line 1, column 1/,
  );
  const forEach = '$.response.rows[*]';
  t.match(faults({ forEach }), /at least one binding begins with "\$\.item"/);
  t.match(
    faults({ forEach, source: { use: 'pg', query: 'select :id', bind: { id: '$.item.id' } } }),
    /":id" must stand in a list/,
  );
  const inList = { use: 'pg', query: 'select 1 where 1 in (:id)', bind: { id: '$.item.id' } };
  t.equal(faults({ forEach, source: inList }), '');
  t.match(faults({ forEach, source: { ...inList, match: { a: 'b' } } }), /source\.match\.a/);
  t.match(faults({ source: { ...inList, bind, match: { a: 'id' } } }), /source\.match: belongs to "forEach"/);
  t.end();
});

t.test('numbers of the response itself stay as they are', async (t) => {
  const { text } = await run(
    structured('{"id":1.10, "n":12345678901234567890}'),
    [rule('r')],
    answering(() => [{ n: parseJson('0.1000000000000000055') }]),
  );
  t.match(text, '{"id":1.10, "n":12345678901234567890');
  t.match(text, '0.1000000000000000055');
});
