import { randomUUID } from 'node:crypto';
import t, { type Test } from 'tap';
import { DEFAULT_SETTINGS } from '../../../src/config/schema.ts';
import type { Exchange, Session } from '../../../src/exchange/exchange.ts';
import { clientCapabilities } from '../../../src/mcp/capabilities.ts';
import { type Json, parseJson } from '../../../src/mcp/exact-json.ts';
import type { Era } from '../../../src/mcp/revision.ts';
import { compileSnapshot } from '../../../src/snapshot/compile.ts';
import type { Catalog, Injection } from '../../../src/snapshot/snapshot.ts';
import { createCallTool } from '../../../src/sources/mcp/call-tool.ts';
import { SourceError } from '../../../src/sources/source.ts';
import { connectionConfig } from '../../support/connection.ts';
import { type Stage, stage, tools } from '../../support/conversation.ts';
import { eventually } from '../../support/eventually.ts';
import { startLegacy } from '../../support/legacy-upstream.ts';
import { startModern } from '../../support/modern-upstream.ts';
import { freePort, reply, startUpstream } from '../../support/upstream.ts';

const NAMES = ['echo', 'hidden', 'get'];

interface Part {
  readonly url: string;
  readonly catalog?: Partial<Catalog>;
  readonly injection?: Partial<Injection>;
  readonly era?: Era;
  readonly capabilities?: object;
  readonly session?: Session | undefined;
  readonly headers?: Record<string, string>;
}

/** A caller who may call everything but `crm__hidden`, in the middle of a call. */
function caller(
  set: Part,
): Stage & { exchange: Exchange; call: (name: string, args?: Json, more?: More) => Promise<Json> } {
  const { era = 'legacy', headers = {} } = set;
  const played = stage();
  const snapshot = compileSnapshot({
    revision: 1,
    document: {
      settings: {
        ...DEFAULT_SETTINGS,
        audit: { ...DEFAULT_SETTINGS.audit, record: { arguments: 'full', results: 'full' } },
      },
      tenants: [
        {
          id: 'default',
          connections: [
            {
              id: 'id-crm',
              name: 'crm',
              config: connectionConfig(set.url, { forward: ['x-tenant'] }),
              credentialId: 'cred-1',
            },
            { id: 'id-other', name: 'other', config: connectionConfig('http://127.0.0.1:1/'), credentialId: null },
          ],
          namespaces: [{ name: 'default', connections: ['crm'], prefix: 'always', presentation: 'flat' }],
          personas: [
            {
              name: 'analyst',
              roles: ['analyst'],
              subjects: [],
              priority: 0,
              tools: { allow: ['*'], deny: ['*__hidden'] },
              connections: { allow: ['*'], deny: [] },
            },
          ],
        },
      ],
    },
    catalogs: new Map([
      ['id-crm', { ...tools(NAMES), hasSessions: true, ...set.catalog }],
      ['id-other', tools(['get'])],
    ]),
    injections: new Map([
      [
        'id-crm',
        {
          fault: undefined,
          credentialId: 'cred-1',
          headers: [['authorization', 'Bearer upstream-secret']],
          query: undefined,
          ...set.injection,
        },
      ],
    ]),
  });
  const tenant = snapshot.tenants.get('default');
  const namespace = tenant?.namespaces.get('default');
  const persona = tenant?.personas[0];
  if (tenant === undefined || namespace === undefined) throw new Error('no namespace');
  const exchange: Exchange = {
    head: {
      method: 'POST',
      path: '/mcp',
      authority: 'x',
      header: (name) => headers[name],
      names: Object.keys(headers),
      endOfStream: false,
    },
    requestId: 'r-1',
    at: Date.now(),
    snapshot,
    tenant,
    namespace,
    persona,
    principal: { tenant: 'default', subject: 'ada', roles: ['analyst'], method: 'api_key', binding: 'api_key:ada' },
    session: 'session' in set ? set.session : era === 'legacy' ? session() : undefined,
    client: {
      era,
      protocolVersion: era === 'legacy' ? '2025-06-18' : '2026-07-28',
      capabilities: clientCapabilities(JSON.stringify(set.capabilities ?? { elicitation: {} })),
      clientName: 'agent/1',
      logLevel: 'debug',
    },
  };
  const callTool = createCallTool(exchange, played.world);
  return {
    ...played,
    exchange,
    async call(name, args = {}, more = {}) {
      try {
        const { answer } = await callTool(name, args as never, {
          signal: new AbortController().signal,
          timeoutMs: 5000,
          maxRows: 10,
          maxBytes: 10_000,
          rule: 'account',
          ...more,
        });
        return answer;
      } finally {
        await played.world.audit.close(1000);
      }
    },
  };
}

interface More {
  readonly signal?: AbortSignal;
  readonly maxBytes?: number;
}

const session = (): Session => ({
  id: randomUUID(),
  tenant: 'default',
  namespace: 'default',
  binding: 'api_key:ada',
  protocolVersion: '2025-06-18',
  clientName: 'agent/1',
  capabilities: '{"elicitation":{}}',
  expiresAt: Date.now() + 60_000,
});

const failed = (kind: SourceError['kind'], message: RegExp) => ({ name: 'SourceError', kind, message });

/** An upstream whose tools answer with this result. */
const answering = (t: Test, result: () => unknown) =>
  startUpstream(t, {
    onCall({ message }, response) {
      reply(response, 200, { jsonrpc: '2.0', id: message.id, result: result() });
      return true;
    },
  });

t.test('as the caller: on its own session, with its forwarded headers and the operator’s credential', async (t) => {
  const upstream = await startUpstream(t, { authorization: 'Bearer upstream-secret' });
  const one = caller({
    url: upstream.url,
    headers: { 'x-tenant': 'acme', authorization: 'Bearer mine', cookie: 'c', 'mcp-param-region': 'eu' },
  });
  const args = parseJson('{"id":9007199254740993,"ids":[1,"2"]}');
  t.match(await one.call('crm__echo', args), { ids: [1, '2'] });
  await one.call('crm__echo');
  t.equal(upstream.sessions.size, 1, 'opened once');
  const [first, second] = upstream.calls();
  t.match(first?.body, '"arguments":{"id":9007199254740993,"ids":[1,"2"]}', 'every digit');
  t.match(first?.headers, { 'x-tenant': 'acme', 'mcp-protocol-version': '2025-06-18' });
  t.notOk(first?.headers.cookie);
  t.notOk(first?.headers['mcp-param-region']);
  t.match(first?.message.id, /^sp-/, 'an id that is not the client’s');
  t.not(first?.message.id, second?.message.id);
  const initialize = upstream.arrivals.find(({ message }) => message.method === 'initialize');
  t.match(
    initialize?.body,
    '"capabilities":{"elicitation":{}}',
    'the session is the caller’s, as its own calls have it',
  );
  const other = { ...one.exchange, session: session() };
  await createCallTool(other, one.world)(
    'crm__echo',
    {},
    {
      signal: new AbortController().signal,
      timeoutMs: 1000,
      maxRows: 1,
      maxBytes: 1000,
      rule: 'x',
    },
  );
  t.equal(upstream.sessions.size, 2, 'nobody else’s session');
});

t.test('a row of its own in the audit', async (t) => {
  const upstream = await startUpstream(t);
  const one = caller({ url: upstream.url });
  await one.call('crm__echo', { id: 5 });
  t.equal(one.rows.length, 1);
  t.match(one.rows[0], {
    request_id: 'r-1',
    namespace: 'default',
    subject: 'ada',
    persona: 'analyst',
    method: 'tools/call',
    connection: 'crm',
    tool: 'crm__echo',
    upstream_tool: 'echo',
    arguments: '{"id":5}',
    verdict: 'allowed',
    rule: 'persona analyst: tools allow',
    pattern: '*',
    reason: 'for rule account',
    credential_id: 'cred-1',
    upstream_status: 200,
    is_error: false,
    result: /content/,
  });
  t.ok((one.rows[0]?.upstream_us ?? 0) > 0);
  t.equal(one.exchange.upstream, undefined, 'the call that is enriched is none of its business');
});

t.test('what the caller may not call is refused in the words of any call, and is no fault of the rule', async (t) => {
  const upstream = await startUpstream(t);
  const one = caller({ url: upstream.url });
  for (const name of ['crm__hidden', 'crm__unknown', 'other__get', 'get']) {
    const words = new RegExp(`^No tool named ${name} is available to you; tools/list shows what is$`);
    await t.rejects(one.call(name), failed('bad value', words));
  }
  t.equal(upstream.arrivals.length, 0);
  t.match(
    one.rows.map(({ verdict, tool, rule, reason }) => ({ verdict, tool, rule, reason })),
    [
      { verdict: 'denied', tool: 'crm__hidden', reason: 'for rule account: persona analyst: tools deny' },
      { verdict: 'denied', tool: 'crm__unknown', reason: /no such tool in this namespace/ },
      { verdict: 'denied', tool: 'other__get', rule: 'no_tool' },
      { verdict: 'denied', tool: 'get' },
    ],
  );
});

t.test('what an answer says', async (t) => {
  let result: unknown;
  const upstream = await answering(t, () => result);
  const one = caller({ url: upstream.url });
  const text = (...texts: string[]) => texts.map((each) => ({ type: 'text', text: each }));
  for (const [what, answer] of [
    [{ structuredContent: { a: 1 }, content: text('{"b":2}') }, { a: 1 }],
    [{ content: text('Here it is:', '[{"b":2}]') }, [{ b: 2 }]],
    [{ content: text('plain', 'words') }, { text: 'plain' }],
    [{ content: [{ type: 'image', data: '' }, null] }, []],
    [{}, []],
    [{ resultType: 'complete', content: text('1') }, 1],
  ] as const) {
    result = what;
    t.same(await one.call('crm__get'), answer, JSON.stringify(what));
  }
  result = { isError: true, content: text('no account', '5', 'x'.repeat(1000)) };
  await t.rejects(one.call('crm__get'), failed('bad value', /^the tool crm__get failed: no account 5 x{280,290}…$/));
  t.match(one.rows.at(-1), {
    verdict: 'allowed',
    is_error: true,
    reason: /for rule account: the tool crm__get failed/,
  });
  result = { resultType: 'input_required', inputRequests: {} };
  await t.rejects(one.call('crm__get'), failed('refused', /wants something first \(input_required\)/));
  result = [];
  await t.rejects(one.call('crm__get'), failed('bad answer', /something that is no result/));
  result = { structuredContent: { a: 'x'.repeat(200_000) } };
  await t.rejects(one.call('crm__get'), failed('unavailable', /larger than/));
});

t.test('errors of the upstream', async (t) => {
  let answer: (response: Parameters<typeof reply>[0], id: unknown) => void = () => {};
  const upstream = await startUpstream(t, {
    onCall({ message }, response) {
      answer(response, message.id);
      return true;
    },
  });
  const one = caller({ url: upstream.url });
  answer = (response, id) => reply(response, 200, { jsonrpc: '2.0', id, error: { code: -32602, message: 'bad id' } });
  await t.rejects(one.call('crm__get'), failed('bad value', /^the tool crm__get was refused: bad id$/));
  answer = (response) => reply(response, 401, 'secret page');
  await t.rejects(one.call('crm__get'), failed('unavailable', /did not accept the gateway's credential \(401\)$/));
  answer = (response) => response.writeHead(500).end('stack trace');
  await t.rejects(one.call('crm__get'), failed('bad answer', /^the MCP server behind "crm" answered HTTP 500$/));
  answer = (response) => response.socket?.destroy();
  await t.rejects(one.call('crm__get'), failed('unavailable', /cannot be reached/));
  t.same(
    one.rows.map(({ verdict, upstream_status }) => [verdict, upstream_status]),
    [
      ['allowed', 200],
      ['failed', 401],
      ['failed', 500],
      ['failed', null],
    ],
  );
  const away = caller({ url: `http://127.0.0.1:${await freePort()}/mcp` });
  await t.rejects(away.call('crm__get'), failed('unavailable', /cannot be reached \(.*ECONNREFUSED/));
  const locked = caller({ url: upstream.url, injection: { fault: 'its secrets were replaced' } });
  await t.rejects(locked.call('crm__get'), failed('unavailable', /cannot read its credential/));
  const sse = caller({ url: upstream.url, catalog: { transport: 'sse' } });
  await t.rejects(sse.call('crm__get'), failed('unavailable', /takes a relay/), 'where there is none');
  t.equal(locked.rows.length + sse.rows.length, 2);
});

t.test('a lost session is replaced, and the call made again', async (t) => {
  for (const lostStatus of [404, 400] as const) {
    const upstream = await startUpstream(t, { lostStatus });
    const one = caller({ url: upstream.url });
    await one.call('crm__echo', { n: 1 });
    upstream.sessions.clear();
    t.same(await one.call('crm__echo', { n: 2 }), { n: 2 });
    t.equal(upstream.sessions.size, 1);
    t.match(one.rows, [{ verdict: 'allowed' }, { verdict: 'allowed', upstream_status: 200 }]);
    t.equal(one.rows.length, 2);
  }
});

t.test('when its time is up it ends, and a legacy upstream is told', async (t) => {
  const controller = new AbortController();
  const upstream = await startUpstream(t, {
    onCall() {
      controller.abort(new SourceError('timeout', 'the tool crm__get did not answer within 1 s'));
      return true;
    },
  });
  const one = caller({ url: upstream.url });
  await t.rejects(one.call('crm__get', {}, { signal: controller.signal }), failed('timeout', /within 1 s/));
  t.match(one.rows, [{ verdict: 'failed', reason: /^for rule account: the tool crm__get did not answer/ }]);
  const [call] = upstream.calls();
  const isTold = (): boolean => upstream.arrivals.some(({ message }) => message.method === 'notifications/cancelled');
  await eventually(isTold);
  const told = upstream.arrivals.find(({ message }) => message.method === 'notifications/cancelled');
  t.match(told?.message.params, { requestId: call?.message.id });
  const late = new AbortController();
  late.abort(new Error('the client left'));
  await t.rejects(one.call('crm__get', {}, { signal: late.signal }), { message: 'the client left' });
  t.equal(upstream.calls().length, 1);
});

t.test('answers on an event stream', async (t) => {
  const upstream = await startUpstream(t, { sse: true });
  t.same(await caller({ url: upstream.url }).call('crm__echo', { a: 1 }), { a: 1 });
});

t.test('every combination of eras, to servers that refuse what the specification refuses', async (t) => {
  const modern = await startModern(t);
  const legacy = await startLegacy(t);
  for (const era of ['legacy', 'modern'] as const) {
    const toModern = caller({
      url: modern.url,
      era,
      catalog: { era: 'modern', legacyVersion: undefined, hasSessions: false, protocolVersion: '2026-07-28' },
    });
    const { arguments: args, _meta } = (await toModern.call('crm__echo', { a: 1 })) as Record<string, Json>;
    t.same(args, { a: 1 });
    t.match(_meta, {
      'io.modelcontextprotocol/clientInfo': { name: 'agent', version: '1' },
      'io.modelcontextprotocol/clientCapabilities': {},
    });
    t.notOk('io.modelcontextprotocol/logLevel' in (_meta as object));
    const toLegacy = caller({ url: legacy.url, era });
    t.match(await toLegacy.call('crm__echo', { a: 2 }), { arguments: { a: 2 } }, `${era} to legacy`);
  }
  t.same(modern.faults, []);
  t.same(
    [...legacy.sessions.values()].map(({ capabilities }) => capabilities),
    [{ elicitation: {} }, {}],
    'a modern caller’s questions are not for a rule to ask',
  );
});
