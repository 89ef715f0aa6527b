import t from 'tap';
import { eventually } from '../support/eventually.ts';
import { startGateway } from '../support/gateway.ts';
import { openSession, post, sdkClient, textOf } from '../support/mcp.ts';
import { startEverything, startUpstream } from '../support/upstream.ts';

interface AuditItem {
  method: string;
  tool: string | null;
  verdict: string;
  rule: string | null;
  principal: string | null;
}

t.test('a fresh start, the official client, a real server, two keys', async (t) => {
  const gateway = await startGateway(t);
  t.match(gateway.key, /^sp_/);
  const demo = await sdkClient(t, gateway.mcpUrl, gateway.key);
  await gateway.ready('demo');
  t.ok(
    (await demo.listTools()).tools.some((tool) => tool.name === 'demo__echo'),
    'the first tool is there without configuration',
  );
  const echoed = await demo.callTool({ name: 'demo__echo', arguments: { message: 'hello' } });
  t.match(JSON.stringify(echoed.content), /hello/);

  const everything = await startEverything(t);
  const added = await gateway.admin('POST', 'connections', { name: 'everything', url: everything.url });
  t.equal(added.status, 201, JSON.stringify(added.json));
  await gateway.ready('everything');
  await eventually(async () => (await demo.listTools()).tools.some((tool) => tool.name === 'everything__echo'));
  const sum = await demo.callTool({ name: 'everything__get-sum', arguments: { a: 2, b: 40 } });
  t.match(JSON.stringify(sum.content), /42/, 'an event stream answer arrives');

  t.equal(
    (
      await gateway.admin('POST', 'personas', {
        name: 'reader',
        roles: ['reader'],
        tools: { allow: ['everything__echo', 'demo__*'], deny: ['demo__roll_dice'] },
      })
    ).status,
    201,
  );
  const { json: made } = await gateway.admin<{ key: string }>('POST', 'keys', { name: 'second', roles: ['reader'] });
  const second = await eventually(() => openSession(gateway.mcpUrl, made.key));
  t.same(
    (
      await eventually(async () => {
        const names = await second.tools();
        return names.includes('everything__echo') && names;
      })
    ).sort(),
    ['demo__add', 'demo__echo', 'demo__now', 'demo__uuid', 'everything__echo'],
  );
  t.match(
    textOf(await second.call('everything__get-sum', '{"a":1,"b":1}')),
    /No tool named everything__get-sum is available to you/,
  );
  t.equal(textOf(await second.call('everything__echo', '{"message":"x"}')), 'Echo: x');
  t.ok((await demo.listTools()).tools.length > 10, 'the first key may do what it could before');

  const rows = await eventually(async () => {
    const { json } = await gateway.admin<{ items: AuditItem[] }>('GET', 'audit/events?method=tools/call&limit=50');
    return json.items.length >= 4 && json.items;
  });
  t.match(rows.slice(0, 2), [
    { tool: 'everything__echo', verdict: 'allowed', principal: 'second', rule: 'persona reader: tools allow' },
    { tool: 'everything__get-sum', verdict: 'denied', principal: 'second', rule: 'persona reader: tools default' },
  ]);
  const { json: why } = await gateway.admin('POST', 'personas/explain', {
    principal: 'second',
    tool: 'demo__roll_dice',
  });
  t.match(JSON.stringify(why), /roll_dice/);

  t.equal((await gateway.admin('DELETE', 'keys/second')).status, 204);
  await eventually(
    async () => (await post(gateway.mcpUrl, made.key, '{"jsonrpc":"2.0","id":1,"method":"ping"}')).status === 401,
    2000,
  );
  t.pass('a revoked key is refused within two seconds');
  t.equal(await gateway.stop(), 0);
});

t.test('what an upstream receives, and what a client gets back', async (t) => {
  const upstream = await startUpstream(t, { authorization: 'Bearer upstream-secret-1' });
  const gateway = await startGateway(t, {
    config: `
connections:
  up:
    url: "${upstream.url}?fixed=1"
    auth: { type: bearer, token: { env: UP_TOKEN } }
    headers: { x-static: here }
    forward: [x-tenant]
  query: { url: "${upstream.url}", auth: { type: api_key, query: key, value: "s3cr&t value" }, enabled: false }
identity:
  apiKeys: [{ name: ci, key: { env: CI_KEY }, roles: [admin] }]
`,
    env: { UP_TOKEN: 'upstream-secret-1', CI_KEY: 'a-configured-key-0001' },
  });
  await gateway.ready('up');
  const session = await openSession(gateway.mcpUrl, 'a-configured-key-0001');
  const args = '{"big":9007199254740993,"b":1.0e2 , "a":"\\u00e9\\/", "a2":{"__proto__":1}}';
  const answer = await session.send(
    `{"jsonrpc":"2.0","id":"q\\u0031","method":"tools/call","params":{"name":"up__echo","arguments":${args},"_meta":{"x/y":1}}}`,
    {
      'x-tenant': 'acme',
      cookie: 'c=1',
      'x-other': 'no',
      'last-event-id': '3',
      'x-sallyport-route': 'default/query',
      'x-forwarded-for': '1.2.3.4',
    },
  );
  t.equal(answer.status, 200);
  t.match(answer.text, /"id":"q1"|"id":"q\\u0031"/);
  const [call] = upstream.calls();
  t.equal(call?.path, '/mcp?fixed=1');
  t.ok(call?.body.includes(`"arguments":${args}`), 'arguments arrive byte for byte');
  t.match(call?.body, /"name":"echo"/);
  const headers = call?.headers ?? {};
  t.match(headers, {
    authorization: 'Bearer upstream-secret-1',
    'x-static': 'here',
    'x-tenant': 'acme',
    host: `127.0.0.1:${upstream.port}`,
  });
  t.ok(upstream.sessions.has(String(headers['mcp-session-id'])), "the upstream's own session");
  for (const name of Object.keys(headers)) {
    t.notMatch(
      name,
      /^(cookie|x-other|last-event-id|x-forwarded-.*|x-envoy-.*|x-sallyport-.*|accept-encoding)$/,
      `${name} reaches the upstream`,
    );
  }
  t.notMatch(JSON.stringify(upstream.arrivals), /a-configured-key-0001/, "the caller's key goes nowhere");
  t.notOk(answer.headers.has('mcp-session-id') && upstream.sessions.has(answer.headers.get('mcp-session-id') ?? ''));

  const exported = JSON.stringify((await gateway.admin('GET', 'config/export')).json);
  const listed = JSON.stringify((await gateway.admin('GET', 'connections')).json);
  for (const text of [exported, listed, gateway.output()])
    t.notMatch(text, /upstream-secret-1|s3cr&t|a-configured-key-0001/);
  t.equal((await gateway.admin('DELETE', 'connections/up')).status, 409, 'a row of the file is not edited by the API');

  // DELETE ends the upstream session too.
  const before = upstream.sessions.size;
  const deleted = await fetch(gateway.mcpUrl, {
    method: 'DELETE',
    headers: { authorization: 'Bearer a-configured-key-0001', 'mcp-session-id': session.id },
  });
  t.equal(deleted.status, 204);
  await eventually(() => upstream.sessions.size < before);
  t.equal((await session.call('up__echo')).status, 404);
});

t.test('the operator calls through the gateway whatever the personas say, byte for byte', async (t) => {
  const upstream = await startUpstream(t);
  const gateway = await startGateway(t, {
    config: `
connections: { up: { url: "${upstream.url}" } }
personas: { none: { roles: [someone], tools: { allow: ["nothing"] } } }
`,
  });
  await gateway.ready('up');
  t.equal(gateway.key, '', 'no first key where no persona would fit it');
  const call = async (): Promise<Response> =>
    fetch(`${gateway.adminUrl}/api/v1/tools/call`, {
      method: 'POST',
      headers: { authorization: `Bearer ${gateway.adminToken}`, 'content-type': 'application/json' },
      body: '{"name":"up__echo","arguments":{"n":9007199254740993}}',
    });
  await eventually(async () => !(await (await call()).text()).includes('isError'));
  t.match(upstream.calls().at(-1)?.body, /9007199254740993/);
  const rows = await eventually(async () => {
    const { json } = await gateway.admin<{ items: AuditItem[] }>(
      'GET',
      'audit/events?method=tools/call&verdict=allowed',
    );
    return json.items.length > 0 && json.items;
  });
  t.match(rows[0], { tool: 'up__echo', principal: 'admin', rule: 'persona sallyport:operator: tools allow' });
});
