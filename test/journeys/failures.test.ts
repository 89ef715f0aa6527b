import { mkdtempSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { removeDataDir } from '../supervisor/support.ts';
import { eventually } from '../support/eventually.ts';
import { startGateway } from '../support/gateway.ts';
import { openSession, type Session } from '../support/mcp.ts';
import { startUpstream } from '../support/upstream.ts';

interface Load {
  /** Calls that ended, and those of them that were no good: what the client saw. */
  done: number;
  failures: string[];
  stop(): Promise<void>;
}

/** Calls in a loop, `width` at a time, until stopped. */
function startLoad(sessions: readonly Session[]): Load {
  let running = true;
  const load: Load = { done: 0, failures: [], stop: async () => {} };
  const workers = sessions.map(async (session, worker) => {
    for (let n = 0; running; n++) {
      const argument = `{"worker":${worker},"n":${n}}`;
      const answer = await session
        .call('u__echo', argument, String(n))
        .catch((error: unknown) => ({ status: 0, text: String(error), json: {} as { id?: unknown } }));
      load.done++;
      const good = answer.status === 200 && answer.json.id === n && answer.text.includes(JSON.stringify(argument));
      if (!good) load.failures.push(`${answer.status} ${answer.text.slice(0, 300)}`);
    }
  });
  load.stop = async () => {
    running = false;
    await Promise.all(workers);
  };
  return load;
}

t.test('parts die under load', async (t) => {
  const upstream = await startUpstream(t);
  const gateway = await startGateway(t, {
    config: `connections: { u: { url: "${upstream.url}" } }`,
    args: ['--workers', '2'],
  });
  await gateway.ready('u');
  const sessions = await Promise.all(Array.from({ length: 8 }, () => openSession(gateway.mcpUrl, gateway.key)));
  await eventually(async () => (await sessions[0]?.tools())?.includes('u__echo'));

  await t.test('the control plane is killed: nobody notices', async (t) => {
    const load = startLoad(sessions);
    await eventually(() => load.done > 100);
    const pid = gateway.children()['control-plane'] as number;
    process.kill(pid, 'SIGKILL');
    const before = load.done;
    await eventually(
      async () => gateway.children()['control-plane'] !== pid && (await fetch(`${gateway.adminUrl}/readyz`)).ok,
      30_000,
    );
    await eventually(() => load.done > before + 100);
    await load.stop();
    t.same(load.failures, []);
    // And it still governs: a change after the restart arrives.
    await gateway.admin('POST', 'personas', {
      name: 'none',
      roles: ['admin'],
      priority: 1,
      tools: { allow: ['nothing'] },
    });
    await eventually(async () => (await sessions[0]?.tools())?.length === 0, 3000);
    await gateway.admin('DELETE', 'personas/none');
    await eventually(async () => (await sessions[0]?.tools())?.length === 1, 3000);
  });

  await t.test('a processor worker is killed: only its calls in flight may fail, with a JSON-RPC error', async (t) => {
    const load = startLoad(sessions);
    await eventually(() => load.done > 100);
    const pid = gateway.children()['processor-0'] as number;
    process.kill(pid, 'SIGKILL');
    await eventually(() => gateway.children()['processor-0'] !== pid, 30_000);
    const before = load.done;
    await eventually(() => load.done > before + 300);
    await load.stop();
    t.ok(load.failures.length <= sessions.length * 2, `${load.failures.length} of ${load.done} failed`);
    for (const failure of load.failures)
      t.match(
        failure,
        /^503 \{"jsonrpc":"2\.0","id":null,"error":\{"code":-32000,"message":"The gateway cannot process/,
      );
  });

  await t.test('Envoy is killed: it comes back, and sessions with it', async () => {
    const pid = gateway.children().envoy as number;
    process.kill(pid, 'SIGKILL');
    await eventually(
      async () => gateway.children().envoy !== pid && (await sessions[0]?.call('u__echo'))?.status === 200,
      20_000,
    );
  });

  t.equal(await gateway.stop(), 0);
});

t.test('thousands of calls at 64 connections, and not one fails', async (t) => {
  const description = 'd'.repeat(1500);
  const tools = ['echo', ...Array.from({ length: 200 }, (_, i) => `tool_${i}`)];
  const upstream = await startUpstream(t, {
    tools: tools.map((name) => ({ name, description, inputSchema: { type: 'object' } })),
  });
  const dataDir = mkdtempSync(join(tmpdir(), 'sp-up-'));
  t.teardown(() => removeDataDir(dataDir));
  const gateway = await startGateway(t, { dataDir, config: `connections: { u: { url: "${upstream.url}" } }` });
  await gateway.ready('u');
  const sessions = await Promise.all(Array.from({ length: 64 }, () => openSession(gateway.mcpUrl, gateway.key)));
  await eventually(async () => (await sessions[0]?.tools())?.includes('u__echo'));
  const load = startLoad(sessions);
  await eventually(() => load.done > 3000, 60_000);
  await load.stop();
  t.same(load.failures, []);
  const { done } = load;
  // Lists that leave by the edge service, and what is answered at once: every kind of exchange there is.
  for (let round = 0; round < 10; round++) {
    const lists = await Promise.all(sessions.map((session) => session.tools()));
    t.ok(lists.every((names) => names.length === tools.length));
  }
  // Not one stream to the processor was reset: Node's HTTP/2 drops the connection of a peer that resets many.
  t.match(await envoyStats(gateway.runtimeDir, 'sallyport_processor.http2.tx_reset'), /tx_reset: 0$/m);
  // Each of them has its row, also those of the last moment.
  await gateway.stop();
  t.equal(await countRows(dataDir, t), done, 'one audit row per call survives the stop');
});

function envoyStats(runtimeDir: string, filter: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socketPath = join(runtimeDir, 'envoy-admin.sock');
    request({ socketPath, path: `/stats?filter=${filter}` }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve(text));
    })
      .on('error', reject)
      .end();
  });
}

/** Counts the recorded calls by starting again on the same data. */
async function countRows(dataDir: string, t: Test): Promise<number> {
  const again = await startGateway(t, { dataDir });
  const { json } = await again.admin<{ calls: { count: number } }>('GET', 'audit/stats?method=tools/call');
  await again.stop();
  return json.calls.count;
}
