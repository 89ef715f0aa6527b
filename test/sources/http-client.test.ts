/** What the sources that are asked by HTTP have in common, against servers that write bytes. */
import { type AddressInfo, createServer, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { openDataHub } from '../../src/sources/datahub/client.ts';
import { renderEntities } from '../../src/sources/datahub/template.ts';
import { openHttp } from '../../src/sources/http/client.ts';
import { compileHttp } from '../../src/sources/http/template.ts';
import { openHttpClient } from '../../src/sources/http-client.ts';
import type { Compiled, Rendered, SourceAnswer } from '../../src/sources/source.ts';
import { openTrino } from '../../src/sources/trino/client.ts';
import { compileTrino } from '../../src/sources/trino/template.ts';
import { eventually } from '../support/eventually.ts';

interface Request {
  readonly socket: Socket;
  /** Of the connection, and of the request on it, from 1 on. */
  readonly connection: number;
  readonly request: number;
}

/** `says` is called once for each request, all of which are small. */
async function serve(t: Test, says: (request: Request) => void) {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    const connection = sockets.push(socket.on('error', () => {}));
    let request = 0;
    socket.on('data', () => says({ socket, connection, request: ++request }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, sockets };
}

const common = { enabled: true, maxConcurrent: 1, circuitBreaker: { consecutiveErrors: 5, openForMs: 1000 } };
const limits = { timeoutMs: 5_000, maxRows: 1, maxBytes: 1000 };
const signal = (): AbortSignal => AbortSignal.timeout(5_000);

function rendered(compiled: Compiled): Rendered {
  if ('faults' in compiled) throw new Error(compiled.faults[0]?.message);
  return compiled.template.render(new Map());
}

type Ask = () => Promise<SourceAnswer>;

/** One source of each kind at that URL. */
function sourcesAt(t: Test, url: string): Readonly<Record<'http' | 'trino' | 'datahub', Ask>> {
  const http = openHttp({ ...common, type: 'http', headers: {}, url });
  const trino = openTrino({ ...common, type: 'trino', user: 'u', session: {}, url });
  const datahub = openDataHub({ ...common, type: 'datahub', url });
  t.teardown(() => Promise.all([http, trino, datahub].map((client) => client.close())));
  return {
    http: () => http.ask(rendered(compileHttp({ request: 'GET /x' })), { ...limits, signal: signal() }),
    trino: () => trino.ask(rendered(compileTrino('select 1')), { ...limits, signal: signal() }),
    datahub: () => datahub.ask(renderEntities(['urn:li:tag:x']), { ...limits, signal: signal() }),
  };
}

const answer = (body: string, headers = ''): string =>
  `HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n${headers}\r\n${body}`;

t.test('a source that changes the protocol is an error, not a question that never ends', async (t) => {
  const { url } = await serve(t, ({ socket }) => {
    socket.write('HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n');
  });
  for (const ask of Object.values(sourcesAt(t, url))) {
    await t.rejects(ask(), { name: 'SourceError', kind: 'bad answer', message: /101/ });
  }
});

t.test('what does not speak HTTP, or stops to, is a bad answer, also in the middle of one', async (t) => {
  const chunked = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n';
  for (const parts of [
    ['SSH-2.0-OpenSSH_9.9\r\n'],
    ['HTTP/1.1 200 OK\r\nno header\r\n\r\n'],
    [`HTTP/1.1 200 OK\r\nx: ${'x'.repeat(20_000)}\r\n\r\n`],
    [`${chunked}1\r\n{\r\nnot a length\r\n`],
    [`${chunked}1\r\n{\r\n`, 'not a length\r\n'],
  ]) {
    const { url } = await serve(t, ({ socket }) => {
      const [first = '', then] = parts;
      // In a segment of its own.
      socket.setNoDelay().write(first, () => then !== undefined && setImmediate(() => socket.write(then)));
    });
    for (const [kind, ask] of Object.entries(sourcesAt(t, url))) {
      const expected = { name: 'SourceError', kind: 'bad answer', message: /does not speak HTTP: Parse Error/ };
      await t.rejects(ask(), expected, `${kind}: ${parts.join('|').slice(0, 80)}`);
    }
  }
});

t.test('a packed answer is not unpacked', async (t) => {
  const { url } = await serve(t, ({ socket }) => socket.write(answer('{}', 'content-encoding: gzip\r\n')));
  for (const ask of Object.values(sourcesAt(t, url))) {
    await t.rejects(ask(), { name: 'SourceError', kind: 'bad answer', message: /the encoding gzip/ });
  }
});

/** The first connection answers once, and is reset by the next request on it. */
const forgetful = (body: string) => (request: Request) => {
  if (request.connection === 1 && request.request === 2) request.socket.resetAndDestroy();
  else request.socket.write(answer(body, 'x-trino-started-transaction-id: t\r\n'));
};

t.test('a kept connection that the source closes in the meantime costs no answer', async (t) => {
  for (const [kind, body, rows] of [
    ['http', '{"a":1}', [{ a: 1 }]],
    ['trino', '{"columns":[{"name":"a","type":"bigint"}],"data":[[1]]}', [{ a: 1 }]],
    [
      'datahub',
      '{"data":{"entities":[{"urn":"urn:li:tag:x","type":"TAG","properties":{"name":"x"}}]}}',
      [{ urn: 'urn:li:tag:x' }],
    ],
  ] as const) {
    const { url, sockets } = await serve(t, forgetful(body));
    const ask = sourcesAt(t, url)[kind];
    for (let asked = 0; asked < 2; asked++) t.match((await ask()).rows, rows, kind);
    t.ok(sockets.length >= 2, kind);
  }
});

t.test('what may write is sent again only if it did not leave', async (t) => {
  const read: number[] = [];
  const { url, sockets } = await serve(t, (request) => {
    read.push(request.connection);
    forgetful('{}')(request);
  });
  const client = openHttpClient({ url: new URL(url), name: 'it', headers: {}, maxBytes: 1000 });
  t.teardown(() => client.close());
  const post = () => client.send({ method: 'POST', path: '/', body: '{}', signal: signal() });
  await post();
  await t.rejects(post(), { kind: 'unavailable', message: /^it cannot be reached: / }, 'it may have been acted upon');
  t.same(read, [1, 1]);

  await post();
  t.same(read, [1, 1, 2]);
  // Before the client can know.
  (sockets[1] as Socket).resetAndDestroy();
  t.equal((await post()).status, 200);
  t.same(read, [1, 1, 2, 3]);
});

t.test('a second connection that is closed is an error', async (t) => {
  let served = 0;
  const { url } = await serve(t, ({ socket }) => {
    if (++served === 1) socket.write(answer('{"data":{"entities":[]}}'));
    else socket.resetAndDestroy();
  });
  const { datahub } = sourcesAt(t, url);
  t.same((await datahub()).rows, []);
  await t.rejects(datahub(), { kind: 'unavailable', message: /^DataHub cannot be reached: / });
  t.equal(served, 3);
});

t.test('the head alone may be enough: the body is not waited for', async (t) => {
  const { url, sockets } = await serve(t, ({ socket }) => {
    socket.write('HTTP/1.1 503 Busy\r\ncontent-length: 10\r\n\r\n');
  });
  await t.rejects(sourcesAt(t, url).datahub(), { kind: 'unavailable', message: /503/ });
  await eventually(() => sockets[0]?.destroyed);
});
