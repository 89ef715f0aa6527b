import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import type { SourceDefinition } from '../../src/sources/source.ts';
import { testSource } from '../../src/sources/test-source.ts';

const { signal } = new AbortController();

const definition = (url: string, fault?: string): SourceDefinition => ({
  id: 'crm',
  tenant: 'default',
  name: 'crm',
  digest: 'one',
  config: {
    type: 'http',
    url,
    headers: {},
    enabled: true,
    maxConcurrent: 2,
    circuitBreaker: { consecutiveErrors: 2, openForMs: 1000 },
  },
  fault,
});

t.test('says who answers, and keeps no connection', async (t) => {
  const server = createServer((_, response) => void response.setHeader('server', 'Stage 1').end('{}'));
  t.teardown(() => server.close());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const closed = new Promise((resolve) => server.once('connection', (socket) => socket.once('close', resolve)));
  const { port } = server.address() as AddressInfo;
  t.match(await testSource(definition(`http://127.0.0.1:${port}/`), signal), {
    ok: true,
    server: 'Stage 1',
    durationMs: Number,
  });
  await closed;
});

t.test('what cannot be used, and what does not even open, says why', async (t) => {
  const replaced = definition('http://127.0.0.1:1/', 'its secrets were replaced');
  t.match(await testSource(replaced, signal), { ok: false, error: 'its secrets were replaced', durationMs: Number });
  t.match(await testSource(definition('nowhere'), signal), { ok: false, error: 'Invalid URL' });
});
