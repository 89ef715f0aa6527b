import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { createEgress } from '../../src/egress/egress.ts';
import { EMPTY_CATALOG } from '../../src/snapshot/compile.ts';

t.test('streams take no socket from calls', async (t) => {
  const streams = new Set<ServerResponse>();
  const server = createServer((request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(': open\n\n');
    if (request.method === 'GET') streams.add(response);
    else response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const egress = createEgress('direct');
  t.teardown(() => {
    egress.close();
    server.closeAllConnections();
    server.close();
  });
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`);
  const connection = { tenant: 'default', name: 'c', route: 'default/c', url, path: '/mcp', catalog: EMPTY_CATALOG };
  const signal = AbortSignal.timeout(10_000);
  const headers = { accept: 'text/event-stream' };
  const open = await Promise.all(
    Array.from({ length: 400 }, () =>
      egress.send(connection, { method: 'GET', path: '/mcp', headers, signal, stream: true }),
    ),
  );
  t.equal(streams.size, 400, 'more than there are sockets for calls');
  t.ok(open.every(({ status }) => status === 200));
  const call = await egress.send(connection, {
    method: 'POST',
    path: '/mcp',
    headers,
    signal,
    body: Buffer.from('{}'),
  });
  t.equal(call.status, 200);
  call.body.resume();
  for (const { body } of open) body.on('error', () => {}).destroy();
});
