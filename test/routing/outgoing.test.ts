import fc from 'fast-check';
import t from 'tap';
import { catalog, type Played, type Stage, stage } from '../support/conversation.ts';
import { modernRequest, type Overrides } from '../support/raw-client.ts';

const KEY = 'io.modelcontextprotocol/';
const annotated = {
  type: 'object',
  properties: {
    region: { type: 'string', 'x-mcp-header': 'Region' },
    count: { type: 'integer', 'x-mcp-header': 'Count' },
    deep: { type: 'object', properties: { flag: { type: 'boolean', 'x-mcp-header': 'Flag' } } },
  },
};
/** `files` is modern, `crm` legacy; both have the same. */
function twoEras(): Stage {
  const kinds = {
    tools: [{ name: 'read' }, { name: 'placed', inputSchema: annotated }],
    prompts: [{ name: 'greet' }],
    resources: [{ name: 'file:///naïve' }],
    templates: [{ name: 'file:///{x}' }],
  };
  return stage({
    files: catalog(kinds, { era: 'modern', protocolVersion: '2026-07-28', legacyVersion: undefined }),
    crm: catalog(kinds),
  });
}

const sentBody = ({ forwarded, text }: Played): string => {
  if (forwarded === undefined) throw new Error(`not forwarded: ${text}`);
  return forwarded.body?.toString() ?? '';
};
type Sent = { params: { _meta: Record<string, unknown>; [key: string]: unknown }; id: unknown };
const sent = (played: Played): Sent => JSON.parse(sentBody(played)) as Sent;

/** Keys of every object in a JSON text: none may come twice, whoever reads it. */
function refuseTwice(text: string): void {
  const keys: Set<string>[] = [];
  const token = /"(?:[^"\\]|\\.)*"\s*(:)?|[{}]/g;
  for (const [whole, colon] of text.matchAll(token)) {
    if (whole === '{') keys.push(new Set());
    else if (whole === '}') keys.pop();
    else if (colon !== undefined) {
      const key = JSON.parse(whole.slice(0, -1).trimEnd()) as string;
      if (keys.at(-1)?.has(key)) throw new Error(`${key} comes twice in ${text}`);
      keys.at(-1)?.add(key);
    }
  }
}

t.test('a legacy request to a modern upstream describes itself, all else keeps its bytes', async (t) => {
  const s = twoEras();
  const session = { 'mcp-session-id': await s.initialize() };
  const args = '{"n":9007199254740993, "e":1e400,"s":"\\u00e9"}';
  const played = await s.send(
    `{"jsonrpc":"2.0","id":"\\u0061","method":"tools/call","params":{ "name":"files__read","arguments":${args},"vendor":{"x":1}}}`,
    session,
  );
  const text = sentBody(played);
  t.ok(text.includes(`"arguments":${args},"vendor":{"x":1}`));
  t.ok(text.includes('"id":"\\u0061"'), "the id is the client's own: this upstream stream is nobody else's");
  t.match(sent(played).params, {
    name: 'read',
    _meta: {
      [`${KEY}protocolVersion`]: '2026-07-28',
      [`${KEY}clientCapabilities`]: {},
      [`${KEY}clientInfo`]: { name: 't', version: '1' },
    },
  });
  t.match(played.forwarded?.set, {
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': 'tools/call',
    'mcp-name': 'read',
    accept: 'application/json, text/event-stream',
  });
  t.notOk(played.forwarded?.set['mcp-session-id']);
  t.ok(played.forwarded?.removed.includes('mcp-session-id'));
});

t.test('whatever a legacy client has in _meta, a modern upstream reads one description', async (t) => {
  const s = twoEras();
  const session = { 'mcp-session-id': await s.initialize() };
  for (const meta of [
    'null',
    '5',
    '[]',
    '{}',
    '{"progressToken":1}',
    '{ "traceparent":"00-1-2-03" , "x/y":{"z":1} }',
    `{"${KEY}clientCapabilities":{"elicitation":{},"sampling":{}}}`,
    `{"a":1,"${KEY}clientInfo":{"name":"liar"},"${KEY}logLevel":"debug","b":2}`,
    `{"io.modelcontextprotocol\\/clientCapabilities":{"roots":{}}}`,
  ]) {
    const played = await s.send(
      `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":${meta},"name":"files__read"}}`,
      session,
    );
    if (played.forwarded === undefined) {
      t.equal(played.json.error?.code, -32602, `${meta}: refused`);
      continue;
    }
    t.doesNotThrow(() => refuseTwice(sentBody(played)), meta);
    const { _meta } = sent(played).params;
    t.equal(_meta[`${KEY}protocolVersion`], '2026-07-28', meta);
    t.same(_meta[`${KEY}clientCapabilities`], {}, `${meta}: a session without capabilities gains none by its requests`);
    t.match(_meta[`${KEY}clientInfo`], { name: 't' }, meta);
    t.equal(_meta[`${KEY}logLevel`], 'info', `${meta}: what a session that never said hears`);
  }
});

t.test("progress tokens to a modern upstream are nobody's but this call's", async (t) => {
  const s = twoEras();
  const session = { 'mcp-session-id': await s.initialize() };
  const tokens = new Set<unknown>();
  for (const token of ['1', '1', '"1"', '9007199254740993']) {
    const played = await s.send(
      `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"files__read","_meta":{"progressToken":${token}}}}`,
      session,
    );
    tokens.add(sent(played).params._meta.progressToken);
  }
  t.equal(tokens.size, 4);
  t.notOk(tokens.has(1));
});

t.test('a modern request to a legacy upstream says nothing that its session has said', async (t) => {
  const s = twoEras();
  const ask = (params: Record<string, unknown>, overrides: Overrides = {}) => {
    const { body, headers } = modernRequest('tools/call', params, overrides);
    return s.send(body, headers);
  };
  const played = await ask(
    { name: 'crm__read', arguments: { a: 1 }, inputResponses: { q: {} }, requestState: 's', vendor: 1 },
    { meta: { traceparent: '00-1', [`${KEY}logLevel`]: 'info', 'x/y': 2 } },
  );
  t.same(sent(played).params, {
    name: 'read',
    arguments: { a: 1 },
    vendor: 1,
    _meta: { traceparent: '00-1', 'x/y': 2 },
  });
  t.equal(played.forwarded?.set['mcp-protocol-version'], '2025-11-25');
  for (const name of ['mcp-method', 'mcp-name']) t.notOk(played.forwarded?.set[name], name);
  const bare = await ask({ name: 'crm__read' });
  t.same(sent(bare).params, { name: 'read', _meta: {} });
});

t.test('a modern request to a modern upstream is passed on as it is', async (t) => {
  const s = twoEras();
  const { body, headers } = modernRequest(
    'tools/call',
    { name: 'files__read', inputResponses: { q: { action: 'accept' } }, requestState: 'opaque', _x: 1 },
    { meta: { [`${KEY}clientCapabilities`]: { elicitation: {}, extensions: { 'a/b': {} } }, baggage: 'a=b' } },
  );
  const played = await s.send(body, headers);
  t.equal(sentBody(played), body.replace('files__read', 'read'));
  t.match(played.forwarded?.set, { 'mcp-name': 'read', 'mcp-method': 'tools/call' });
});

t.test('what an upstream reads in headers is made from the body', async (t) => {
  const s = twoEras();
  const session = { 'mcp-session-id': await s.initialize() };
  const legacy = (args: string, headers: Record<string, string> = {}) =>
    s.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"files__placed","arguments":${args}}}`, {
      ...session,
      ...headers,
    });
  const set = async (args: string, headers?: Record<string, string>) =>
    Object.fromEntries(
      Object.entries((await legacy(args, headers)).forwarded?.set ?? {}).filter(([name]) =>
        name.startsWith('mcp-param'),
      ),
    );
  t.same(await set('{"region":"eu-west","count":42,"deep":{"flag":false}}'), {
    'mcp-param-region': 'eu-west',
    'mcp-param-count': '42',
    'mcp-param-flag': 'false',
  });
  t.same(await set('{"region":"é","count":null,"deep":null}'), { 'mcp-param-region': '=?base64?w6k=?=' });
  t.same(await set('{"region":"a\\r\\nauthorization: x"}'), {
    'mcp-param-region': `=?base64?${Buffer.from('a\r\nauthorization: x').toString('base64')}?=`,
  });
  t.same(await set('{"region":""}'), { 'mcp-param-region': '=?base64??=' }, 'an empty one is there all the same');
  t.same(await set('{}'), {});
  t.same(await set('{}', { 'mcp-param-region': 'forged' }), {}, 'what the body does not say is not said');
  t.same(await set('{"region":"eu"}', { 'mcp-param-region': 'us' }), { 'mcp-param-region': 'eu' });
  t.same(await set('{}', { 'mcp-param-unknown': 'x' }), { 'mcp-param-unknown': 'x' });
  const { forwarded } = await legacy('{}', { 'mcp-param-region': 'forged' });
  t.ok(forwarded?.removed.includes('mcp-param-region'));
});

t.test('resources and prompts are mirrored under the names of their owner', async (t) => {
  const s = twoEras();
  const session = { 'mcp-session-id': await s.initialize() };
  const read = await s.send(
    '{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"files+file:///naïve"}}',
    session,
  );
  t.equal(read.forwarded?.set['mcp-name'], `=?base64?${Buffer.from('file:///naïve').toString('base64')}?=`);
  t.equal(sent(read).params.uri, 'file:///naïve');
  const prompt = await s.send(
    '{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"files__greet"}}',
    session,
  );
  t.equal(prompt.forwarded?.set['mcp-name'], 'greet');
  const complete = (ref: unknown) =>
    s.send(
      JSON.stringify({
        jsonrpc: '2.0',
        id: 1,
        method: 'completion/complete',
        params: { ref, argument: { name: 'x', value: '' } },
      }),
      session,
    );
  t.match(sent(await complete({ type: 'ref/prompt', name: 'files__greet' })).params.ref, { name: 'greet' });
  t.match(sent(await complete({ type: 'ref/resource', uri: 'files+file:///{x}' })).params.ref, { uri: 'file:///{x}' });
  t.match(sent(await complete({ type: 'ref/resource', uri: 'crm+file:///{x}' })).params.ref, { uri: 'file:///{x}' });
});

t.test('any params, in any order: what is meant for the upstream arrives once', async () => {
  const s = twoEras();
  const session = { 'mcp-session-id': await s.initialize() };
  const member: fc.Arbitrary<string> = fc.constantFrom(
    '"arguments":{"a":1}',
    '"_meta":{"progressToken":1,"x":2}',
    '"_meta":{}',
    `"_meta":{"${KEY}clientInfo":{}}`,
    '"requestState":"s"',
    '"inputResponses":{}',
    '"vendor":[1]',
  );
  const keyOf = (text: string): string => text.slice(0, text.indexOf(':'));
  const members = fc.uniqueArray(member, { selector: keyOf, maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(members, fc.nat(), fc.constantFrom('', ' ', '\n'), async (list, at, gap) => {
      const all = [...list];
      all.splice(at % (all.length + 1), 0, '"name":"files__read"');
      const body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{${gap}${all.join(`${gap},${gap}`)}${gap}}}`;
      const played = await s.send(body, session);
      refuseTwice(sentBody(played));
      const { params } = sent(played);
      return params.name === 'read' && params._meta[`${KEY}protocolVersion`] === '2026-07-28';
    }),
    { numRuns: 300 },
  );
  await fc.assert(
    fc.asyncProperty(members, fc.nat(), fc.constantFrom('', ' ', '\n'), async (list, at, gap) => {
      const description = `"${KEY}protocolVersion":"2026-07-28"${gap},"${KEY}clientCapabilities":{}`;
      const all = list.filter((one) => !one.startsWith('"_meta"'));
      const keep = at % 2 === 0 ? `,"keep":1` : '';
      all.splice(at % (all.length + 1), 0, '"name":"crm__read"', `"_meta":{${gap}${description}${keep}}`);
      const body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{${all.join(`${gap},${gap}`)}}}`;
      const { headers } = modernRequest('tools/call', { name: 'crm__read' });
      const { params } = sent(await s.send(body, headers));
      const left = Object.keys(params._meta);
      return left.every((key) => key === 'keep') && !('requestState' in params) && !('inputResponses' in params);
    }),
    { numRuns: 300 },
  );
});
