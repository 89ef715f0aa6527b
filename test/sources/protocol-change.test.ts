import { type AddressInfo, createServer, type Socket } from 'node:net';
import t from 'tap';
import { openDataHub } from '../../src/sources/datahub/client.ts';
import { renderEntities } from '../../src/sources/datahub/template.ts';
import { openHttp } from '../../src/sources/http/client.ts';
import { compileHttp } from '../../src/sources/http/template.ts';
import type { Compiled, Rendered } from '../../src/sources/source.ts';
import { openTrino } from '../../src/sources/trino/client.ts';
import { compileTrino } from '../../src/sources/trino/template.ts';

const sockets: Socket[] = [];
const server = createServer((socket) => {
  sockets.push(socket.on('error', () => {}));
  socket.once('data', () => socket.write('HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n'));
});
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
t.teardown(() => {
  for (const socket of sockets) socket.destroy();
  server.close();
});

const common = {
  enabled: true,
  maxConcurrent: 1,
  circuitBreaker: { consecutiveErrors: 5, openForMs: 1000 },
  url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
};

function rendered(compiled: Compiled): Rendered {
  if ('faults' in compiled) throw new Error(compiled.faults[0]?.message);
  return compiled.template.render(new Map());
}

t.test('a source that changes the protocol is an error, not a question that never ends', async (t) => {
  const asked = { signal: AbortSignal.timeout(5_000), timeoutMs: 5_000, maxRows: 1, maxBytes: 1000 };
  for (const [client, request] of [
    [openHttp({ ...common, type: 'http', headers: {} }), rendered(compileHttp({ request: 'GET /x' }))],
    [openTrino({ ...common, type: 'trino', user: 'u', session: {} }), rendered(compileTrino('select 1'))],
    [openDataHub({ ...common, type: 'datahub' }), renderEntities(['urn:li:domain:x'])],
  ] as const) {
    await t.rejects(client.ask(request, asked), { name: 'SourceError', kind: 'bad answer', message: /101/ });
    await client.close();
  }
});
