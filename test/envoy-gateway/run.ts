import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import t from 'tap';
import { goTool } from '../helm/go-tool.ts';
import { eventually } from '../support/eventually.ts';
import { startPostgres } from '../support/postgres.ts';
import { envoyBinary } from './envoy-binary.ts';
import { manifestsFor, type Variant } from './manifests.ts';
import { scratch, startRole } from './roles.ts';
import { startEnvoyGateway } from './standalone.ts';
import { freePort, startUpstream } from './upstream.ts';

/*
 * `npm run test:envoy-gateway`: the processor under somebody else's Envoy. The real Envoy Gateway (built once, some
 * minutes) reads the manifests of envoy/envoy-gateway/ and runs a real Envoy; processor, control plane, Postgres and
 * the MCP server are real too.
 */
const KEY = 'sp_envoy_gateway_test_key';
const UPSTREAM_TOKEN = 'token-of-the-upstream';
const DENIED = 'everything__get-env';

const list = { jsonrpc: '2.0', id: 1, method: 'tools/list' };
const callEcho = {
  jsonrpc: '2.0',
  id: 2,
  method: 'tools/call',
  params: { name: 'everything__echo', arguments: { message: 'forged' } },
};
const callDenied = { jsonrpc: '2.0', id: 3, method: 'tools/call', params: { name: DENIED, arguments: {} } };

// Building Envoy Gateway and fetching Envoys takes minutes, once.
t.setTimeout(1_200_000);
const gateway = await goTool({ module: 'github.com/envoyproxy/gateway/cmd/envoy-gateway', version: 'v1.9.1' });
if (gateway.path === undefined) t.bailout(`Envoy Gateway cannot be run: ${gateway.why}.`);
const program = gateway.path ?? '';

const postgres = await startPostgres();
const upstream = await startUpstream();
const port = await freePort();
const processorPort = await freePort();
const { directory, configFile, remove } = scratch({
  publicUrl: `http://localhost:${port}`,
  connections: {
    everything: { url: `http://localhost:${upstream.port}/mcp`, auth: { type: 'bearer', token: UPSTREAM_TOKEN } },
  },
  personas: { tester: { roles: ['tester'], tools: { allow: ['everything__*'], deny: [DENIED] } } },
  identity: { apiKeys: [{ name: 'tester', key: KEY, roles: ['tester'] }] },
});
const environment = {
  DATABASE_URL: await postgres.createDatabase(),
  SALLYPORT_SECRET_KEY: randomBytes(32).toString('hex'),
  SALLYPORT_ADMIN_TOKEN: randomBytes(16).toString('hex'),
  SALLYPORT_EGRESS: 'direct',
};
const socket = join(directory, 'processor.sock');
const adminPort = String(await freePort());
const roles = [
  startRole(
    [
      'control-plane',
      '--runtime-dir',
      directory,
      '--config',
      configFile,
      '--admin-host',
      '127.0.0.1',
      '--admin-port',
      adminPort,
    ],
    environment,
  ),
  startRole(['processor', '--listen', `unix:${socket}`, '--egress', 'direct'], environment),
  startRole(['processor', '--listen', `tcp:127.0.0.1:${processorPort}`, '--egress', 'direct'], environment),
];
t.teardown(async () => {
  if (!t.passing()) for (const role of roles) t.comment(role.log().slice(-6000));
  await Promise.all([...roles.map((role) => role.stop()), upstream.stop()]);
  await postgres.stop();
  remove();
});

/** The Envoy that Sallyport is tested with, and the oldest that it supports. */
const CASES: readonly (readonly [name: string, envoyVersion: string, variant: Variant])[] = [
  ['Envoy 1.40, processor on a unix socket', '1.40.0', { unix: socket }],
  ['Envoy 1.40, processor as a Service', '1.40.0', { port: processorPort }],
  ['Envoy 1.36, processor on a unix socket', '1.36.4', { unix: socket }],
];

for (const [name, envoyVersion, variant] of CASES) {
  t.test(name, async (t) => {
    const manifests = manifestsFor(variant, { envoyVersion, port, upstreamPort: upstream.port });
    const envoy = await envoyBinary(envoyVersion);
    const running = await startEnvoyGateway({ program, envoy, envoyVersion, manifests, port });
    t.teardown(async () => {
      if (!t.passing()) t.comment(running.log().slice(-6000));
      await running.stop();
    });
    const url = `http://localhost:${port}/mcp`;
    const client = new Client({ name: 'envoy-gateway-test', version: '1' });
    // Until the processor has its snapshot and the catalog is there.
    await eventually(async () => (await post(url, list)).text.includes('everything__echo'), 60_000);

    t.test('lists and calls tools with the official client', async (t) => {
      const headers = { authorization: `Bearer ${KEY}` };
      await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }));
      t.teardown(() => client.close());
      const { tools } = await client.listTools();
      const names = tools.map((tool) => tool.name);
      t.ok(names.includes('everything__echo'));
      t.notOk(names.includes(DENIED), 'what the persona may not do is not listed');

      upstream.seen.length = 0;
      const result = await client.callTool({
        name: 'everything__echo',
        arguments: { message: 'through Envoy Gateway' },
      });
      t.match(result.content, [{ type: 'text', text: /through Envoy Gateway/ }]);
      const call = upstream.seen.at(-1);
      t.equal(call?.authorization, `Bearer ${UPSTREAM_TOKEN}`, 'the injected credential arrives');
      t.match(call?.host, /^localhost/, "the host is the upstream's own");
      t.notMatch(JSON.stringify(upstream.seen), KEY, "the caller's key does not");
      t.notOk(Object.keys(call ?? {}).some((header) => /^x-(sallyport|forwarded|envoy)-/.test(header)));

      const denied = await client.callTool({ name: DENIED, arguments: {} });
      t.match(denied, { isError: true, content: [{ text: new RegExp(`No tool named ${DENIED}`) }] });
    });

    t.test('a route header from outside chooses nothing', async (t) => {
      upstream.seen.length = 0;
      const forged = { 'x-sallyport-route': 'default/everything' };
      for (const path of ['/mcp', '/', '/nowhere']) {
        const { status } = await post(`http://localhost:${port}${path}`, callEcho, { ...forged, authorization: '' });
        t.ok(status >= 400, `${path} without a key: ${status}`);
      }
      const { text } = await post(url, callDenied, forged);
      t.match(text, /No tool named/);
      t.strictSame(upstream.seen, [], 'the upstream has seen none of them');
    });
  });
}

/** One message in a session of its own. */
async function post(
  url: string,
  message: object,
  more: Readonly<Record<string, string>> = {},
): Promise<{ status: number; text: string }> {
  const headers = {
    authorization: `Bearer ${KEY}`,
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    ...more,
  };
  const send = (body: object, session?: string) =>
    fetch(url, {
      method: 'POST',
      headers: session ? { ...headers, 'mcp-session-id': session } : headers,
      body: JSON.stringify(body),
    });
  const clientInfo = { name: 'raw', version: '1' };
  const params = { protocolVersion: '2025-06-18', capabilities: {}, clientInfo };
  const opened = await send({ jsonrpc: '2.0', id: 0, method: 'initialize', params });
  await opened.arrayBuffer();
  const answer = await send(message, opened.headers.get('mcp-session-id') ?? undefined);
  return { status: answer.status, text: await answer.text() };
}
