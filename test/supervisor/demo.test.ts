import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import t from 'tap';
import { runDemo } from '../../src/demo/server.ts';

type Answer = {
  content: { type: string; text: string }[];
  structuredContent?: Record<string, unknown>;
  isError?: boolean;
};

t.test('the demo server with the official client', async (t) => {
  const demo = await runDemo({ port: 0 });
  t.teardown(() => demo.close());
  const transport = new StreamableHTTPClientTransport(new URL(demo.url));
  const client = new Client({ name: 'test', version: '1' });
  await client.connect(transport);
  t.type(transport.sessionId, 'string', 'it has sessions');

  const { tools } = await client.listTools();
  t.strictSame(tools.map(({ name }) => name).sort(), ['add', 'echo', 'now', 'roll_dice', 'uuid']);
  t.ok(tools.every(({ description, annotations }) => description && annotations?.readOnlyHint === true));

  const call = async (name: string, args: Record<string, unknown>) =>
    (await client.callTool({ name, arguments: args })) as Answer;
  t.strictSame((await call('echo', { message: 'héllo' })).content, [{ type: 'text', text: 'héllo' }]);
  t.strictSame((await call('add', { numbers: [1, 2, 3.5] })).structuredContent, { sum: 6.5 });
  t.match((await call('now', { timeZone: 'Asia/Tokyo' })).structuredContent, {
    timeZone: 'Asia/Tokyo',
    date: /^\d{4}-\d\d-\d\d$/,
    time: /^\d\d:\d\d:\d\d$/,
  });
  t.match(await call('now', { timeZone: 'Mars/Olympus' }), { isError: true, content: [{ text: /no time zone/ }] });
  const { uuids } = (await call('uuid', { count: 3 })).structuredContent as { uuids: string[] };
  t.equal(new Set(uuids).size, 3);
  const dice = (await call('roll_dice', { dice: 5, sides: 4 })).structuredContent as { rolls: number[]; total: number };
  t.ok(dice.rolls.every((roll) => roll >= 1 && roll <= 4));
  t.equal(
    dice.total,
    dice.rolls.reduce((sum, roll) => sum + roll, 0),
  );
  t.match(await call('add', { numbers: ['x'] }), { isError: true }, 'arguments are checked');

  await transport.terminateSession();
  await client.close();
});

t.test('sessions are bounded, and bad input is answered', async (t) => {
  const demo = await runDemo({ port: 0 });
  t.teardown(() => demo.close());
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
  const post = (body: string, more: Record<string, string> = {}) =>
    fetch(demo.url, { method: 'POST', headers: { ...headers, ...more }, body });
  const hello = JSON.stringify({
    jsonrpc: '2.0',
    id: 1,
    method: 'initialize',
    params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'flood', version: '1' } },
  });
  const open = async () => {
    const answer = await post(hello);
    await answer.text();
    return answer.headers.get('mcp-session-id') ?? '';
  };
  const first = await open();
  const ping = JSON.stringify({ jsonrpc: '2.0', id: 2, method: 'ping' });
  t.equal((await post(ping, { 'mcp-session-id': first })).status, 200);
  let last = '';
  for (let count = 0; count < 201; count += 1) last = await open();
  t.equal((await post(ping, { 'mcp-session-id': first })).status, 404, 'the one idle longest had to go');
  t.equal((await post(ping, { 'mcp-session-id': last })).status, 200);

  t.equal((await post(ping)).status, 400, 'no session, not initialize');
  t.equal((await post('{')).status, 400);
  t.equal((await post(`"${'x'.repeat(2 * 1024 * 1024)}"`)).status, 413);
  t.equal((await fetch(demo.url.replace('/mcp', '/other'))).status, 404);
});

t.test('a port that somebody has for a moment is waited for', async (t) => {
  const holder = createServer().listen(0, '127.0.0.1');
  await once(holder, 'listening');
  const { port } = holder.address() as AddressInfo;
  const starting = runDemo({ port });
  // It has met whoever has the port before this is gone.
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  holder.close();
  const demo = await starting;
  t.equal(demo.url, `http://127.0.0.1:${port}/mcp`);
  await demo.close();
});
