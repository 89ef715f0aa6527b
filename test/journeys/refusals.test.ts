import { connect } from 'node:net';
import t from 'tap';
import { eventually } from '../support/eventually.ts';
import { startGateway } from '../support/gateway.ts';
import { openSession, post } from '../support/mcp.ts';
import { startUpstream } from '../support/upstream.ts';

/** Writes bytes to the listener as no HTTP library would, and reads until it closes. */
async function raw(url: string, text: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  let answer = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    answer += chunk;
  });
  socket.on('error', () => {});
  socket.write(text);
  // A reset after the answer is Envoy's way to stop reading.
  await new Promise((resolve) => socket.once('close', resolve));
  return answer;
}

t.test('everything refused, by us or by Envoy, is a JSON-RPC error that says what to do', async (t) => {
  const upstream = await startUpstream(t);
  const gateway = await startGateway(t, { config: `connections: { u: { url: "${upstream.url}" } }` });
  await gateway.ready('u');
  const { mcpUrl, key } = gateway;
  const { host } = new URL(mcpUrl);
  const session = await openSession(mcpUrl, key);
  const ping = '{"jsonrpc":"2.0","id":1,"method":"ping"}';
  const started = upstream.calls().length;

  const cases: [string, Promise<{ status: number; text: string }>, number][] = [
    ['malformed JSON', post(mcpUrl, key, '{"jsonrpc"'), 400],
    ['a batch', session.send(`[${ping}]`), 400],
    [
      'a repeated key',
      session.send('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"u__echo","name":"u__echo"}}'),
      400,
    ],
    [
      'a deep tree',
      session.send(
        `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"u__echo","arguments":{"a":${'['.repeat(300)}${']'.repeat(300)}}}}`,
      ),
      400,
    ],
    [
      'ten mebibytes',
      session.send(
        `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"u__echo","arguments":{"a":"${'x'.repeat(10 << 20)}"}}}`,
      ),
      413,
    ],
    ['a wrong content type', post(mcpUrl, key, ping, { 'content-type': 'text/plain' }), 415],
    [
      'an unknown session',
      post(mcpUrl, key, ping.replace('ping', 'tools/list'), { 'mcp-session-id': 'nonsense' }),
      404,
    ],
    ['no session', post(mcpUrl, key, ping.replace('ping', 'tools/list')), 400],
    ['a wrong key', post(mcpUrl, 'sp_wrong', ping), 401],
    ['no key', post(mcpUrl, undefined, ping), 401],
    ['an unknown namespace', post(mcpUrl.replace('/mcp', '/nope/mcp'), key, ping), 404],
    ['an unknown path', post(mcpUrl.replace('/mcp', '/other'), key, ping), 404],
    ['an evil origin', post(mcpUrl, key, ping, { origin: 'https://evil.example' }), 403],
    ['an escaped path', post(mcpUrl.replace('/mcp', '/x%2f..%2fmcp'), key, ping), 400],
  ];
  for (const [name, pending, status] of cases) {
    const answer = await pending;
    t.equal(answer.status, status, name);
    const json = JSON.parse(answer.text) as { jsonrpc: string; error: { code: number; message: string } };
    t.equal(json.jsonrpc, '2.0', name);
    t.ok(json.error.code < 0 && json.error.message.length > 20, `${name}: ${json.error.message}`);
  }
  const get = await fetch(mcpUrl, { headers: { authorization: `Bearer ${key}`, accept: 'text/event-stream' } });
  t.equal(get.status, 400, 'a stream belongs to a session');
  t.match(await get.json(), { error: { code: -32000, message: /Mcp-Session-Id header is missing/ } });
  const put = await fetch(mcpUrl, { method: 'PUT', headers: { authorization: `Bearer ${key}` } });
  t.equal(put.status, 405);
  t.equal(put.headers.get('allow'), 'GET, POST, DELETE');
  await put.body?.cancel();

  // What never becomes a request for the processor.
  const chunked = `POST /mcp HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${key}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n`;
  const huge = `${chunked}${`10000\r\n${'x'.repeat(65536)}\r\n`.repeat(80)}0\r\n\r\n`;
  const bytes: [string, string, RegExp][] = [
    ['not HTTP', 'hello\r\n\r\n', /^HTTP\/1\.1 400 .*"jsonrpc":"2\.0"/s],
    [
      'headers without end',
      `POST /mcp HTTP/1.1\r\nHost: ${host}\r\nX-Big: ${'x'.repeat(100_000)}\r\n\r\n`,
      /^HTTP\/1\.1 431 .*"jsonrpc":"2\.0"/s,
    ],
    ['a body that turns out too large', huge, /^HTTP\/1\.1 413 .*"jsonrpc":"2\.0".*larger than 4194304 bytes/s],
    [
      'a foreign host',
      `POST /mcp HTTP/1.1\r\nHost: evil.example\r\nContent-Type: application/json\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`,
      /^HTTP\/1\.1 403 .*"jsonrpc":"2\.0"/s,
    ],
    [
      'a forged route header',
      `POST /mcp HTTP/1.1\r\nHost: ${host}\r\nX-Sallyport-Route: default/u\r\nContent-Type: application/json\r\nContent-Length: ${ping.length}\r\nConnection: close\r\n\r\n${ping}`,
      /^HTTP\/1\.1 401 .*"jsonrpc":"2\.0"/s,
    ],
  ];
  for (const [name, text, expected] of bytes) t.match(await raw(mcpUrl, text), expected, name);

  t.equal(upstream.calls().length, started, 'none of it reached the upstream');
  t.equal((await session.send(ping)).text, '{"jsonrpc":"2.0","id":1,"result":{}}', 'and the gateway is as before');
  const { json } = await eventually(async () => {
    const answer = await gateway.admin<{ items: { verdict: string; method: string }[] }>(
      'GET',
      'audit/events?limit=100',
    );
    return answer.json.items.length > 16 && answer;
  });
  t.ok(json.items.some((row) => row.verdict === 'failed') && json.items.some((row) => row.verdict === 'denied'));
});
