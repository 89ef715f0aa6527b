import t from 'tap';
import { eventually } from '../support/eventually.ts';
import { legacySession, modernPost, resultOf } from '../support/raw-client.ts';
import type { Call, ScriptedUpstream } from '../support/scripted-upstream.ts';
import { type Agent, KEY, stand } from './quadrants.ts';

const lastOf = (upstream: ScriptedUpstream, method: string): Call => upstream.of(method).at(-1) as Call;
const textIn = (result: Record<string, unknown>): string =>
  (result.content as { text: string }[])[0]?.text ?? JSON.stringify(result);

t.test('clients of both eras before servers of both eras', async (t) => {
  const s = await stand(t);
  const { gateway, agents, upstreams, old, fresh, dual } = s;

  await t.test('three servers are one, and the dead one hides nobody', async (t) => {
    for (const { era, ask } of agents) {
      const list = async (method: string, key: string, own: string): Promise<string[]> =>
        (resultOf(await ask(method))[key] as Record<string, string>[]).map((item) => item[own] as string);
      const each = (names: string[]): string[] =>
        ['fresh', 'old', 'plain'].flatMap((server) => names.map((name) => name.replace('*', server)));
      t.same(
        (await list('tools/list', 'tools', 'name')).sort(),
        [...each(['*__echo', '*__held', '*__links', '*__placed']), 'old__odd', 'plain__odd'].sort(),
        `${era}: what has a bad annotation cannot be called where annotations count`,
      );
      t.same((await list('prompts/list', 'prompts', 'name')).sort(), each(['*__greet', '*__held-prompt']), era);
      const uris = ['*+file:///a.txt', '*+file:///held', '*+memo:insights', 'ui://*/app/main'];
      t.same((await list('resources/list', 'resources', 'uri')).sort(), each(uris).sort(), era);
      t.same(
        (await list('resources/templates/list', 'resourceTemplates', 'uriTemplate')).sort(),
        each(['*+file:///logs/{day}']),
        era,
      );
    }
  });

  for (const { era, ask, stream } of agents) {
    for (const { name, era: theirs, upstream } of upstreams) {
      await t.test(`${era} client, ${theirs} server (${name})`, async (t) => {
        const crosses = era !== theirs;
        const echoed = resultOf(
          await ask('tools/call', {
            name: `${name}__echo`,
            arguments: { a: 'é' },
            _meta: { traceparent: '00-1-2-01' },
          }),
        );
        t.equal(echoed.resultType, era === 'modern' ? 'complete' : undefined);
        const heard = JSON.parse(textIn(echoed)) as { arguments: unknown; _meta: Record<string, unknown> };
        t.same(heard.arguments, { a: 'é' });
        t.equal(heard._meta.traceparent, era === 'legacy' ? '00-1-2-01' : heard._meta.traceparent);
        t.equal(heard._meta[`${KEY}protocolVersion`], theirs === 'modern' ? '2026-07-28' : undefined);
        t.equal(`${KEY}clientCapabilities` in heard._meta, theirs === 'modern');
        const method = theirs === 'modern' ? 'tools/call' : undefined;
        t.equal(lastOf(upstream, 'tools/call').headers['mcp-method'], method);

        const links = resultOf(await ask('tools/call', { name: `${name}__links` }));
        t.match(links.content, [
          { uri: `${name}+file:///a.txt` },
          { resource: { uri: `${name}+memo:insights`, text: 'file:///a.txt' } },
          { uri: 'https://example.com/x' },
          { text: 'file:///a.txt' },
        ]);
        t.same(links.structuredContent, { uri: 'file:///a.txt' }, 'what a tool says is its own');

        const prompt = resultOf(await ask('prompts/get', { name: `${name}__greet`, arguments: { who: 'me' } }));
        t.match(prompt.messages, [{}, { content: { resource: { uri: `${name}+file:///a.txt` } } }]);
        const read = resultOf(await ask('resources/read', { uri: `${name}+memo:insights` }));
        t.match(read.contents, [{ uri: `${name}+memo:insights`, text: 'text of memo:insights' }]);
        if (era === 'modern')
          t.match(read, { resultType: 'complete', ttlMs: Number, cacheScope: /^(private|public)$/ });
        else
          t.strictSame(
            Object.keys(read).filter((key) => /^(resultType|ttlMs|cacheScope)$/.test(key)),
            [],
          );
        const log = resultOf(await ask('resources/read', { uri: `${name}+file:///logs/today` }));
        t.match(log.contents, [{ uri: `${name}+file:///logs/today` }]);
        const app = resultOf(await ask('resources/read', { uri: `ui://${name}/app/main` }));
        t.match(app.contents, [{ uri: `ui://${name}/app/main` }]);

        const argument = { name: 'who', value: 'm' };
        const byPrompt = resultOf(
          await ask('completion/complete', { ref: { type: 'ref/prompt', name: `${name}__greet` }, argument }),
        );
        t.match(byPrompt.completion, { values: ['{"type":"ref/prompt","name":"greet"}', JSON.stringify(argument)] });
        const byUri = resultOf(
          await ask('completion/complete', {
            ref: { type: 'ref/resource', uri: `${name}+file:///logs/{day}` },
            argument,
          }),
        );
        t.match(byUri.completion, { values: ['{"type":"ref/resource","uri":"file:///logs/{day}"}'] });

        const missing = await ask('resources/read', { uri: `${name}+file:///nope` });
        t.equal(missing.json.error?.code, era === 'modern' ? -32602 : -32002, missing.text);
        t.match(missing.json.error, { data: { uri: `${name}+file:///nope` } });
        t.equal(missing.status, 200);

        // Progress and a log message arrive one by one, under the client's own token.
        const opening = stream('tools/call', { name: `${name}__held`, _meta: { progressToken: 'mine' } });
        const held = await upstream.nextCall();
        const token = held.message.params?._meta?.progressToken;
        if (name === 'fresh' || (name === 'old' && crosses))
          t.not(token, 'mine', 'others are there who may call theirs so');
        held.progress(1);
        const call = await opening;
        t.match((await call.next())?.message, {
          method: 'notifications/progress',
          params: { progressToken: 'mine', progress: 1 },
        });
        held.event({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'debug', data: 'low' } });
        held.event({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'error', data: 'loud' } });
        const told = await call.next();
        t.match(
          told?.message,
          { method: 'notifications/message', params: { data: era === 'modern' ? 'loud' : 'low' } },
          'a modern client hears what it asked for',
        );
        held.result({ content: [{ type: 'text', text: 'done' }] });
        const rest = await call.rest();
        t.match(rest.at(-1)?.message, { id: 1, result: { content: [{ text: 'done' }] } });
        t.match(call.headers.get('content-type'), /^text\/event-stream/);
        t.equal(call.headers.get('mcp-session-id'), null);
        t.equal(call.headers.get('x-accel-buffering'), 'no', 'no proxy on the way may hold events back');
      });
    }
  }

  await t.test('arguments that travel in headers are checked, and made where the client sent none', async (t) => {
    const placed = { name: 'fresh__placed', arguments: { region: 'eu ü', count: 7, deep: { flag: true } } };
    const [legacy, modern] = agents as [Agent, Agent];
    resultOf(await legacy.ask('tools/call', placed));
    const mirrored = {
      'mcp-param-region': `=?base64?${Buffer.from('eu ü').toString('base64')}?=`,
      'mcp-param-count': '7',
      'mcp-param-flag': 'true',
    };
    t.match(lastOf(fresh, 'tools/call').headers, mirrored);
    const before = fresh.of('tools/call').length;
    for (const headers of [{}, { ...mirrored, 'mcp-param-count': '8' }, { ...mirrored, 'mcp-param-flag': 'false' }]) {
      const refused = await modern.ask('tools/call', placed, headers);
      t.match(refused, { status: 400, json: { id: 1, error: { code: -32020 } } });
    }
    t.equal(fresh.of('tools/call').length, before, 'and none of these gets there');
    resultOf(await modern.ask('tools/call', placed, { ...mirrored, 'mcp-param-other': 'kept' }));
    t.match(lastOf(fresh, 'tools/call').headers, { ...mirrored, 'mcp-param-other': 'kept' });
    resultOf(await legacy.ask('tools/call', { name: 'fresh__placed', arguments: { region: '', count: null } }));
    t.match(lastOf(fresh, 'tools/call').headers, { 'mcp-param-region': /./ }, 'an empty value survives the way');
    resultOf(
      await modern.ask('tools/call', { name: 'fresh__placed', arguments: { region: '' } }, { 'mcp-param-region': '' }),
    );
    resultOf(await modern.ask('tools/call', { ...placed, name: 'old__placed' }, mirrored));
    const { headers } = lastOf(old, 'tools/call');
    t.notOk(
      Object.keys(headers).some((name) => /^mcp-(param|name|method)/.test(name)),
      'a legacy one has no use for them',
    );
  });

  await t.test('numbers, escapes and what nobody knows arrive as they were sent, both ways', async (t) => {
    const args = '{"n":9007199254740993,"e":1e400 , "s":"\\u00e9\\/","d":{"__proto__":1}}';
    const session = await legacySession(gateway.mcpUrl, gateway.key);
    for (const { name, upstream } of upstreams) {
      upstream.handlers['tools/call'] = (call) => {
        const id = JSON.stringify(call.message.id);
        call.json(`{"jsonrpc":"2.0","result":{ "content":[],"structuredContent":${args},"x/y":[1.0]},"id":${id}}`);
      };
      const sent = await session.send(
        `{"jsonrpc":"2.0","id":9007199254740993,"method":"tools/call","params":{"name":"${name}__echo","arguments":${args},"x/y":1}}`,
      );
      t.ok(lastOf(upstream, 'tools/call').body.includes(`"arguments":${args},"x/y":1`), name);
      t.ok(sent.text.includes(`"structuredContent":${args},"x/y":[1.0]`), sent.text);
      t.match(sent.text, /"id":9007199254740993/);
      delete upstream.handlers['tools/call'];
    }
  });

  await t.test('where nothing is prefixed, nothing is renamed', async (t) => {
    const url = gateway.mcpUrl.replace(/\/mcp$/, '/solo/mcp');
    const names = resultOf(await modernPost(url, gateway.key, 'tools/list')).tools as { name: string }[];
    t.same(
      names.map(({ name }) => name),
      ['echo', 'links', 'held', 'placed'],
    );
    t.match(resultOf(await modernPost(url, gateway.key, 'tools/call', { name: 'links' })).content, [
      { uri: 'file:///a.txt' },
    ]);
    t.match(resultOf(await modernPost(url, gateway.key, 'resources/read', { uri: 'ui://app/main' })).contents, [
      { uri: 'ui://app/main' },
    ]);
    const old = await legacySession(gateway.mcpUrl.replace(/\/mcp$/, '/solo-old/mcp'), gateway.key);
    t.match(resultOf(await old.request('resources/read', { uri: 'memo:insights' })).contents, [
      { uri: 'memo:insights' },
    ]);
  });

  await t.test('a server of both eras is called in the one of its client', async (t) => {
    const url = gateway.mcpUrl.replace(/\/mcp$/, '/both/mcp');
    const session = await legacySession(url, gateway.key);
    await eventually(async () => (await session.request('tools/list')).text.includes('both__echo'));
    // Only now that a legacy client has come is the server asked whether it knows such.
    await eventually(async () => {
      resultOf(await session.request('tools/call', { name: 'both__echo' }));
      return dual.legacy.of('tools/call').length > 0;
    });
    const before = [dual.legacy, dual.modern].map((half) => half.of('tools/call').length) as [number, number];
    resultOf(await session.request('tools/call', { name: 'both__echo' }));
    resultOf(await modernPost(url, gateway.key, 'tools/call', { name: 'both__echo' }));
    t.equal(dual.legacy.of('tools/call').length, before[0] + 1);
    t.equal(dual.modern.of('tools/call').length, before[1] + 1);
    t.same(dual.modern.faults, []);
  });

  await t.test('tasks are known by handles that are good for their owner', async (t) => {
    const url = gateway.mcpUrl.replace(/\/mcp$/, '/both/mcp');
    const session = await legacySession(url, gateway.key);
    const task = { taskId: 't/1', status: 'working', createdAt: '2026-01-01T00:00:00Z', ttl: null };
    const { handlers } = dual.legacy;
    handlers['tools/call'] = (call) => call.result({ task });
    handlers['tasks/get'] = (call) => call.result({ ...task, status: 'completed' });
    handlers['tasks/cancel'] = (call) => call.result({ ...task, status: 'cancelled' });
    handlers['tasks/result'] = (call) =>
      call.result({
        content: [{ type: 'resource_link', uri: 'file:///a.txt', name: 'a' }],
        _meta: { 'io.modelcontextprotocol/related-task': { taskId: 't/1' } },
      });
    const made = resultOf(await session.request('tools/call', { name: 'both__echo', task: { ttl: 1000 } }));
    const handle = (made.task as { taskId: string }).taskId;
    t.not(handle, 't/1');
    t.match(lastOf(dual.legacy, 'tools/call').message.params, { task: { ttl: 1000 } });
    for (const method of ['tasks/get', 'tasks/cancel']) {
      t.match(resultOf(await session.request(method, { taskId: handle })), { taskId: handle }, method);
      t.match(lastOf(dual.legacy, method).message.params, { taskId: 't/1' }, method);
    }
    t.match(resultOf(await session.request('tasks/result', { taskId: handle })), {
      content: [{ uri: 'both+file:///a.txt' }],
      _meta: { 'io.modelcontextprotocol/related-task': { taskId: handle } },
    });
    const { json: other } = await gateway.admin<{ key: string }>('POST', 'keys', { name: 'other', roles: ['admin'] });
    const stranger = await eventually(() => legacySession(url, other.key));
    const asked = dual.legacy.of('tasks/get').length;
    for (const [who, taskId] of [
      [stranger, handle],
      [session, 't/1'],
      [session, `${handle}x`],
    ] as const) {
      t.match(await who.request('tasks/get', { taskId }), { json: { error: { code: -32602 } } });
    }
    t.equal(dual.legacy.of('tasks/get').length, asked);
  });

  await t.test('errors have the status of their client, and the words of their server', async (t) => {
    const [legacy, modern] = agents as [Agent, Agent];
    for (const { name, era, upstream } of upstreams) {
      for (const [code, theirs] of [
        [-32601, 404],
        [-32602, 200],
        [-32603, 200],
        [-1, 200],
      ] as const) {
        upstream.handlers['prompts/get'] = (call) =>
          call.error(code, 'as I said', { why: 1 }, era === 'modern' ? theirs : 200);
        for (const [{ ask }, status] of [
          [legacy, 200],
          [modern, theirs],
        ] as const) {
          const answer = await ask('prompts/get', { name: `${name}__greet` });
          t.match(answer, { status, json: { id: 1, error: { code, message: 'as I said', data: { why: 1 } } } }, name);
        }
      }
      delete upstream.handlers['prompts/get'];
    }
    for (const [code, legacyCode, modernCode, modernStatus] of [
      [-32020, -32603, -32603, 200],
      [-32022, -32603, -32603, 200],
      [-32021, -32603, -32021, 400],
    ] as const) {
      fresh.handlers['prompts/get'] = (call) => call.error(code, 'no', { supported: ['2099-01-01'] }, 400);
      t.match(await legacy.ask('prompts/get', { name: 'fresh__greet' }), { json: { error: { code: legacyCode } } });
      const answer = await modern.ask('prompts/get', { name: 'fresh__greet' });
      t.match(answer, { status: modernStatus, json: { error: { code: modernCode } } }, `${code}`);
    }
    delete fresh.handlers['prompts/get'];
  });

  await t.test('a session that the server forgot is opened again, and the answer is none the worse', async (t) => {
    for (const { era, ask } of agents) {
      old.sessions.clear();
      const echoed = resultOf(await ask('tools/call', { name: 'old__echo', arguments: { n: era } }));
      t.match(textIn(echoed), `"n":"${era}"`);
      t.equal(echoed.resultType, era === 'modern' ? 'complete' : undefined);
      old.sessions.clear();
      t.match(resultOf(await ask('resources/read', { uri: 'old+memo:insights' })).contents, [
        { uri: 'old+memo:insights' },
      ]);
      old.sessions.clear();
      const missing = await ask('resources/read', { uri: 'old+file:///nope' });
      t.match(missing, { status: 200, json: { error: { code: era === 'modern' ? -32602 : -32002 } } });
      old.sessions.clear();
      old.handlers['prompts/get'] = (call) => {
        if (old.sessions.has(call.session ?? '')) call.error(-32601, 'gone');
        else call.error(-32000, 'Session not found', undefined, 404);
      };
      const status = era === 'modern' ? 404 : 200;
      t.match(await ask('prompts/get', { name: 'old__greet' }), { status, json: { error: { code: -32601 } } });
      delete old.handlers['prompts/get'];
    }
  });

  // The gateway asks once whether a modern server knows legacy clients, too.
  const faults = fresh.faults.filter((text) => !text.startsWith('initialize'));
  t.same(faults, [], 'a strict modern server had nothing to complain of');
  const sessions = [...old.sessions.values()];
  t.ok(
    sessions.every(({ protocolVersion }) => /^202[45]-/.test(protocolVersion)),
    'each hop negotiates for itself',
  );
});
