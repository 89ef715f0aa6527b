import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import t, { type Test } from 'tap';
import { packageRoot } from '../../src/package-root.ts';
import { signal } from '../../src/runtime/leash.ts';
import { runtimeDirOf } from '../../src/supervisor/directories.ts';
import type { UpReport } from '../../src/supervisor/greeting.ts';
import { choosePorts } from '../../src/supervisor/ports.ts';
import { isAlive } from '../../src/supervisor/processes.ts';
import { MUST_STAPLE, selfSigned } from '../xds/certificates.ts';
import { eventually, processesMentioning, type Started, startNode, temporaryDirectory } from './support.ts';

const command = join(packageRoot, 'bin', 'sallyport.mjs');
/** A cold start on a machine that is busy with other tests. */
const START_MS = 60_000;

function up(
  t: Test,
  dataDir: string,
  flags: string[] = ['--port', '0', '--admin-port', '0'],
  env: NodeJS.ProcessEnv = {},
): Started {
  const { DATABASE_URL: _, ...own } = process.env;
  const started = startNode(t, [command, 'up', '--data-dir', dataDir, ...flags], { ...own, ...env });
  // A test that fails must not leave a gateway behind; the supervisor's death ends the rest.
  t.teardown(() => eventually('everything to end', () => processesOf(dataDir).length === 0, 15_000));
  t.teardown(() => signal(started.child.pid, 'SIGKILL'));
  return started;
}

async function report(dataDir: string, started: Started): Promise<UpReport> {
  const file = join(dataDir, 'up.json');
  const ended = () => started.child.exitCode !== null || started.child.signalCode !== null;
  await eventually('up.json', () => existsSync(file) || ended(), START_MS);
  if (!existsSync(file)) throw new Error(`up ended without being ready:\n${started.errors()}`);
  return JSON.parse(readFileSync(file, 'utf8')) as UpReport;
}

/** Children of this data directory's `up`: all of them have one of the two on their command line. */
function processesOf(dataDir: string) {
  return [...processesMentioning(dataDir), ...processesMentioning(runtimeDirOf(dataDir))];
}

function children(dataDir: string): Record<string, number> {
  return JSON.parse(readFileSync(join(runtimeDirOf(dataDir), 'children.json'), 'utf8'));
}

async function withClient<T>(mcpUrl: string, key: string, use: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ name: 'test', version: '1' });
  await client.connect(
    new StreamableHTTPClientTransport(new URL(mcpUrl), {
      requestInit: { headers: { authorization: `Bearer ${key}` } },
    }),
  );
  try {
    return await use(client);
  } finally {
    await client.close();
  }
}

/** A call of the demo server through the gateway, tried until it works: after a crash things come back one by one. */
async function addsUp(mcpUrl: string, key: string): Promise<void> {
  await eventually(
    'a call to work',
    async () => {
      try {
        return await withClient(mcpUrl, key, async (client) => {
          const { tools } = await client.listTools();
          const add = tools.find(({ name }) => /add$/.test(name));
          const result = add && (await client.callTool({ name: add.name, arguments: { numbers: [2, 3] } }));
          return JSON.stringify(result?.structuredContent) === '{"sum":5}';
        });
      } catch {
        return false;
      }
    },
    30_000,
  );
}

t.test('from nothing to the first call, and nothing left behind', async (t) => {
  const dataDir = join(temporaryDirectory(t), 'data');
  const first = up(t, dataDir);
  const { mcpUrl, adminUrl, pid, firstKey = '' } = await report(dataDir, first);
  t.equal(pid, first.child.pid, 'the supervisor is the process that was started');
  t.match(firstKey, /^sp_/);
  t.equal(statSync(join(dataDir, 'up.json')).mode & 0o777, 0o600);
  await addsUp(mcpUrl, firstKey);

  const said = first.output();
  for (const part of [mcpUrl, adminUrl, firstKey, 'claude mcp add', '"mcpServers"', 'Admin token']) t.match(said, part);
  const token = readFileSync(join(dataDir, 'admin-token'), 'utf8').trim();
  t.match(said, token);
  const status = async (bearer: string) =>
    (await fetch(`${adminUrl}/api/v1/connections`, { headers: { authorization: `Bearer ${bearer}` } })).status;
  t.equal(await status(token), 200);
  t.equal(await status('wrong'), 401);
  for (const secret of [firstKey, token]) t.notMatch(first.errors(), secret, 'no secret in the logs');

  const rival = up(t, dataDir);
  t.equal(await rival.exited, 1);
  t.match(rival.errors(), `Another "sallyport up" (pid ${pid})`);
  t.ok(existsSync(join(dataDir, 'up.json')), 'and it leaves the report of the first alone');

  const stoppedAt = Date.now();
  signal(pid, 'SIGINT');
  t.equal(await first.exited, 0);
  t.ok(Date.now() - stoppedAt < 5_000, 'Ctrl-C takes less than 5 s');
  t.strictSame(processesOf(dataDir), []);
  t.notOk(existsSync(join(dataDir, 'up.json')));

  const secretKey = readFileSync(join(dataDir, 'secret-key'), 'utf8').trim();
  const secrets = { SALLYPORT_ADMIN_TOKEN: 'chosen-admin-token', SALLYPORT_SECRET_KEY: secretKey, CRM_TOKEN: 's3cret' };
  const second = up(t, dataDir, undefined, secrets);
  const again = await report(dataDir, second);
  t.equal(again.firstKey, undefined, 'the first key is shown once');
  t.notMatch(second.output(), 'Admin token', 'and so is the admin token');
  await addsUp(again.mcpUrl, firstKey);
  const environment = (name: string) => readFileSync(`/proc/${children(dataDir)[name]}/environ`, 'utf8');
  t.match(environment('control-plane'), 'chosen-admin-token');
  t.match(environment('envoy'), /PATH=/);
  for (const secret of Object.values(secrets)) t.notMatch(environment('envoy'), secret, 'Envoy is told no secret');
  signal(again.pid, 'SIGTERM');
  t.equal(await second.exited, 0);
});

t.test('kill -9 leaves no process behind, and the next start recovers', async (t) => {
  const dataDir = join(temporaryDirectory(t), 'data');
  const first = up(t, dataDir);
  const { firstKey = '' } = await report(dataDir, first);
  signal(first.child.pid, 'SIGKILL');
  await first.exited;
  // At once, while the children of the first are still ending.
  const secretKey = readFileSync(join(dataDir, 'secret-key'), 'utf8').trim();
  const secrets = { SALLYPORT_ADMIN_TOKEN: 'chosen-admin-token', SALLYPORT_SECRET_KEY: secretKey, CRM_TOKEN: 's3cret' };
  const second = up(t, dataDir, undefined, secrets);
  await eventually('the stale report to go', () => !existsSync(join(dataDir, 'up.json')));
  const { mcpUrl, pid } = await report(dataDir, second);
  await addsUp(mcpUrl, firstKey);
  signal(pid, 'SIGKILL');
  await second.exited;
  await eventually('every process to end', () => processesOf(dataDir).length === 0);
  t.pass('nothing is left running');
});

t.test('whatever crashes comes back', async (t) => {
  const dataDir = join(temporaryDirectory(t), 'data');
  const started = up(t, dataDir, ['--port', '0', '--admin-port', '0', '--workers', '2']);
  const { mcpUrl, pid, firstKey = '' } = await report(dataDir, started);
  const before = children(dataDir);
  t.strictSame(Object.keys(before).sort(), [
    'control-plane',
    'demo',
    'envoy',
    'postgres',
    'processor-0',
    'processor-1',
    'relay-0',
  ]);
  for (const name of Object.keys(before)) {
    signal(before[name], 'SIGKILL');
    await eventually(`${name} to be back`, () => {
      const now = children(dataDir)[name];
      return now !== undefined && now !== before[name] && isAlive(now);
    });
    await addsUp(mcpUrl, firstKey);
    t.pass(`calls work after a crash of ${name}`);
  }
  signal(pid, 'SIGINT');
  t.equal(await started.exited, 0);
  t.strictSame(processesOf(dataDir), []);
});

t.test('what makes a start impossible is said, and leaves nothing running', async (t) => {
  const dataDir = join(temporaryDirectory(t), 'data');
  const blocker = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => blocker.once('listening', resolve));
  t.teardown(() => blocker.close());
  const { port } = blocker.address() as { port: number };
  const fails = async (flags: string[], env: NodeJS.ProcessEnv, reason: RegExp) => {
    const started = up(t, dataDir, flags, env);
    t.equal(await started.exited, 1);
    t.match(started.errors(), reason);
    t.strictSame(processesOf(dataDir), []);
    t.notOk(existsSync(join(dataDir, 'up.json')));
  };
  const free = ['--port', '0', '--admin-port', '0'];
  await fails(
    ['--port', String(port), '--admin-port', '0'],
    {},
    new RegExp(`Port ${port} on 127.0.0.1 is in use.*--port`),
  );
  await fails(['--port', '0', '--admin-port', String(port)], {}, /is in use.*--admin-port/);
  const [closed] = await choosePorts([{ host: '127.0.0.1', port: 0, flag: '' }]);
  await fails(free, { DATABASE_URL: `postgresql://a:b@127.0.0.1:${closed}/c` }, /does not answer.*DATABASE_URL/s);
  mkdirSync(dataDir, { recursive: true });
  writeFileSync(join(dataDir, 'bad.yaml'), 'connections:\n  one: { ulr: "http://127.0.0.1:1/mcp" }\n');
  await fails([...free, '--config', join(dataDir, 'bad.yaml')], {}, /2:\d+.*ulr.*control-plane could not start/s);
  // A certificate that only Envoy refuses: nothing but its answer tells.
  const { certPem, keyPem } = selfSigned(MUST_STAPLE);
  writeFileSync(join(dataDir, 'tls.crt'), certPem);
  writeFileSync(join(dataDir, 'tls.key'), keyPem);
  writeFileSync(
    join(dataDir, 'tls.yaml'),
    `listener: { tls: { cert: "${dataDir}/tls.crt", key: "${dataDir}/tls.key" } }\n`,
  );
  const staple = /Envoy refuses the MCP listener.*listener: OCSP response is required/;
  await fails([...free, '--config', join(dataDir, 'tls.yaml')], {}, staple);
});
