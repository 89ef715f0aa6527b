/** How a server without streamable HTTP is found out, and where it is asked from then on. */
import { randomBytes } from 'node:crypto';
import { createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import { Acquaintance } from '../../src/catalog/introduction.ts';
import { readCatalog } from '../../src/catalog/read.ts';
import { createVault, type Vault } from '../../src/credentials/vault.ts';
import { createEgress } from '../../src/egress/egress.ts';
import { openTicket } from '../../src/relay/ticket.ts';
import type { Connection } from '../../src/snapshot/snapshot.ts';
import { type SseServer, sseServer, usual } from '../relay/sse-server.ts';
import { startUpstream } from './upstream.ts';

const patience = () => AbortSignal.timeout(20_000);
const vault = createVault(randomBytes(32).toString('hex'));

/** An egress listener: one route leads to the upstream, the other to a relay, which answers in its place. */
async function listener(t: Test, origin: string, byVault: Vault) {
  const routes: string[] = [];
  const server = createServer((request, response) => {
    const { 'x-sallyport-route': route, 'x-sallyport-ticket': ticket, ...headers } = request.headers;
    routes.push(`${request.method} ${route}`);
    if (route !== 'relay') {
      const onward = httpRequest(origin + request.url, { method: request.method ?? '', headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 0, answer.headers);
        answer.pipe(response);
      });
      onward.on('error', () => response.destroy());
      response.once('close', () => onward.destroy());
      request.pipe(onward);
      return;
    }
    const opened = openTicket(byVault, String(ticket), Date.now());
    if (opened?.work !== 'upstream' || opened.connection !== 'c') return void response.writeHead(403).end();
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString();
      const message = text === '' ? {} : JSON.parse(text);
      const answer = usual({ message, text, path: '', headers: {}, stream: 0 });
      response.writeHead(answer === undefined ? 202 : 200, {
        'content-type': 'application/json',
        'mcp-session-id': 'by-relay',
      });
      response.end(answer);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const egress = createEgress(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, byVault);
  t.teardown(() => {
    egress.close();
    server.closeAllConnections();
    server.close();
  });
  return { egress, routes };
}

async function connectionTo(t: Test, { url }: SseServer, name = 'c'): Promise<Connection> {
  const { connection } = await startUpstream(t);
  return { ...connection, name, url: new URL(url), path: '/old' };
}

t.test('it is asked over streamable HTTP, then over HTTP+SSE, then by the relay', async (t) => {
  const upstream = await sseServer(t);
  const { egress, routes } = await listener(t, upstream.origin, vault);
  const connection = await connectionTo(t, upstream);
  let now = 1e12;
  const server = new Acquaintance(connection, egress, () => now);
  const met = await server.meet(patience());
  t.match(met, { era: 'legacy', transport: 'sse', sessionId: 'by-relay', serverName: 'old' });
  const direct = connection.route;
  t.same(routes.splice(0), [`POST ${direct}`, `POST ${direct}`, `GET ${direct}`, 'POST relay', 'POST relay']);
  t.match((await readCatalog(server.reached, egress, met, patience(), undefined)).lists, { tools: [{ name: 'echo' }] });
  t.same(routes.splice(0), ['POST relay']);
  t.match(upstream.opened[0], { accept: 'text/event-stream', 'x-key': 'k' });

  now += 11 * 60_000;
  t.match(await server.meet(patience()), { transport: 'sse', sessionId: 'by-relay' });
  t.same(routes.splice(0), [`POST ${direct}`], 'only its era is in doubt while its session is open');
  server.close();
  routes.splice(0);
  server.doubt();
  upstream.getStatus = 404;
  await t.rejects(server.meet(patience()), { message: /answered initialize with HTTP 405/ }, 'as it is asked first');
  t.equal(server.transport, 'sse', 'nothing says that it is another one');
});

t.test('what has no stream either, or another one, stays as it is', async (t) => {
  const upstream = await sseServer(t);
  const { egress } = await listener(t, upstream.origin, vault);
  const server = new Acquaintance(await connectionTo(t, upstream), egress);
  upstream.first = ': nothing\n\nevent: message\ndata: {}\n\n';
  await t.rejects(server.meet(patience()), { message: /405/ });
  t.equal(server.transport, 'http');
});

t.test('without a relay it is out of reach', async (t) => {
  const upstream = await sseServer(t);
  const egress = createEgress('direct', vault);
  t.teardown(() => egress.close());
  const server = new Acquaintance(await connectionTo(t, upstream), egress);
  await t.rejects(server.meet(patience()), { message: /speaks only HTTP\+SSE .* takes a relay/ });
  t.equal(server.transport, 'sse', 'and the data plane knows why');
});
