import { mkdtempSync, rmSync } from 'node:fs';
import { connect, constants } from 'node:http2';
import { connect as connectSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mock } from 'node:test';
import t from 'tap';
import { createRelayListener } from '../../src/relay/connections.ts';
import { Pulse } from '../../src/relay/pulse.ts';
import { EventStream } from '../../src/relay/stream.ts';
import { socketsIn } from '../../src/runtime/sockets.ts';
import { envoyBootstrap } from '../../src/xds/bootstrap.ts';
import { eventually } from '../support/eventually.ts';

/** How many requests Envoy puts on one connection to the relay. */
function requestsPerConnection(): number {
  const text = JSON.stringify(envoyBootstrap({ sockets: socketsIn('/r'), workers: 1, relays: 1, nodeId: 'x' }));
  return Number(/"max_requests_per_connection":(\d+)/.exec(text)?.[1]);
}

t.test('a connection survives as many resets as it can carry', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'sp-relay-'));
  const path = join(directory, 'r.sock');
  const server = createRelayListener();
  const pulse = new Pulse();
  const streams: EventStream[] = [];
  server.on('request', (_request, response) => void streams.push(new EventStream(response, pulse, () => {})));
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const client = connect('http://relay', { createConnection: () => connectSocket(path) });
  t.teardown(() => {
    client.destroy();
    server.close();
    pulse.stop();
    rmSync(directory, { recursive: true });
  });
  client.on('goaway', (code) => t.fail(`the connection was ended: ${code}`));
  const kept = client.request({ ':path': '/mcp' });
  let heard = '';
  kept.setEncoding('utf8').on('data', (chunk) => {
    heard += chunk;
  });
  await eventually(() => streams.length === 1);
  for (let i = 1; i < requestsPerConnection(); i++) {
    const one = client.request({ ':path': '/mcp' });
    one.on('error', () => {});
    await new Promise<void>((resolve) => one.once('response', () => resolve()));
    one.close(constants.NGHTTP2_CANCEL);
    await new Promise<void>((resolve) => one.once('close', () => resolve()));
  }
  await eventually(() => pulse.size === 1);
  streams[0]?.send(Buffer.from('{"jsonrpc":"2.0",\n"method":"x"}'), 'id-1');
  await eventually(() => heard.includes('method'));
  t.equal(heard, 'id: id-1\nevent: message\ndata: {"jsonrpc":"2.0",\ndata: "method":"x"}\n\n');
  streams[0]?.end({ retryMs: 1500 });
  await eventually(() => heard.endsWith('retry: 1500\n\n'));
});

t.test('each stream is kept alive every 15 to 25 s, and no two in step', (t) => {
  mock.timers.enable({ apis: ['setInterval'] });
  t.teardown(() => mock.timers.reset());
  const pulse = new Pulse();
  let second = 0;
  const beats = Array.from({ length: 200 }, () => [] as number[]);
  const all = beats.map((own) => ({ beat: () => void own.push(second) }));
  for (const one of all) pulse.add(one);
  t.equal(pulse.size, 200);
  for (second = 1; second <= 300; second++) mock.timers.tick(1000);
  const gaps = beats.flatMap((own) => own.map((at, i) => at - (own[i - 1] ?? 0)));
  t.equal(Math.min(...gaps), 15);
  t.equal(Math.max(...gaps), 25);
  t.ok(new Set(beats.map(([first]) => first)).size > 5);
  for (const one of all) pulse.remove(one);
  const before = beats.flat().length;
  for (let i = 0; i < 40; i++) mock.timers.tick(1000);
  t.equal(beats.flat().length, before);
  t.equal(pulse.size, 0);
  t.end();
});
