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
import { eventually } from '../support/eventually.ts';

t.test('a connection is retired before its resets end it, and what is open on it goes on', async (t) => {
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
  let goaway: { code: number; last: number } | undefined;
  client.on('goaway', (code, last) => {
    goaway ??= { code, last };
  });
  const kept = client.request({ ':path': '/mcp' });
  let heard = '';
  kept.setEncoding('utf8').on('data', (chunk) => {
    heard += chunk;
  });
  await eventually(() => streams.length === 1);
  for (let i = 0; i < 400; i++) {
    const one = client.request({ ':path': '/mcp' });
    one.on('error', () => {});
    await new Promise<void>((resolve) => one.once('response', () => resolve()));
    one.close(constants.NGHTTP2_CANCEL);
    await new Promise<void>((resolve) => one.once('close', () => resolve()));
  }
  await eventually(() => goaway !== undefined);
  t.same(goaway, { code: 0, last: 2 ** 31 - 1 }, 'nothing is refused that is under way');
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
  for (const own of beats) {
    const gaps = own.map((at, i) => at - (own[i - 1] ?? 0));
    t.ok(
      gaps.every((gap) => gap >= 15 && gap <= 25),
      gaps.join(' '),
    );
  }
  t.ok(new Set(beats.map(([first]) => first)).size > 5);
  for (const one of all) pulse.remove(one);
  const before = beats.flat().length;
  for (let i = 0; i < 40; i++) mock.timers.tick(1000);
  t.equal(beats.flat().length, before);
  t.equal(pulse.size, 0);
  t.end();
});
