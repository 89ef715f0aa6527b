import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import type { HttpSource } from '../../../src/config/document.ts';
import { ExactNumber, type Json } from '../../../src/mcp/exact-json.ts';
import { openHttp } from '../../../src/sources/http/client.ts';
import { compileHttp } from '../../../src/sources/http/template.ts';
import { type Asked, type Bound, SourceError } from '../../../src/sources/source.ts';

type Handler = (request: IncomingMessage & { readonly text: string }, response: ServerResponse) => void;

/** A server whose answers the test writes. */
async function serve(t: Test, handler: Handler) {
  const server = createServer((request, response) => {
    let text = '';
    request.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
    });
    request.on('end', () => handler(Object.assign(request, { text }), response));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  let connections = 0;
  server.on('connection', () => connections++);
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url, server, connections: () => connections };
}

function open(t: Test, url: string, headers: Record<string, string> = {}) {
  const config: HttpSource = {
    type: 'http',
    enabled: true,
    maxConcurrent: 4,
    circuitBreaker: { consecutiveErrors: 5, openForMs: 1_000 },
    url,
    headers,
  };
  const client = openHttp(config);
  t.teardown(() => client.close());
  return client;
}

function rendered(source: Parameters<typeof compileHttp>[0], values: Readonly<Record<string, Bound>> = {}) {
  const compiled = compileHttp(source);
  if ('faults' in compiled) throw new Error(compiled.faults.map(({ message }) => message).join('; '));
  return compiled.template.render(new Map(Object.entries(values)));
}

const asked = (over: Partial<Asked> = {}): Asked => ({
  signal: AbortSignal.timeout(5_000),
  timeoutMs: 5_000,
  maxRows: 20,
  maxBytes: 65_536,
  ...over,
});

const json = (response: ServerResponse, value: Json | string, status = 200) =>
  response
    .writeHead(status, { 'content-type': 'text/plain' })
    .end(typeof value === 'string' ? value : JSON.stringify(value));

t.test('asks below the URL of the source, with its headers, over kept connections', async (t) => {
  const seen: {
    url?: string | undefined;
    headers: IncomingMessage['headers'];
    text: string;
    method?: string | undefined;
  }[] = [];
  const { url, connections } = await serve(t, ({ url, headers, text, method }, response) => {
    seen.push({ url, headers, text, method });
    json(response, '{"id": 9007199254740993, "tier": "gold"}');
  });
  const client = open(t, `${url}/api/v1/`, { Authorization: 'Bearer hush' });
  const answer = await client.ask(rendered({ request: 'GET /accounts/:id?f=:f' }, { id: 'a/b', f: [1, 2] }), asked());
  t.strictSame(answer, { rows: [{ id: new ExactNumber('9007199254740993'), tier: 'gold' }], isTruncated: false });
  t.equal((answer.rows[0] as { id: ExactNumber }).id.text, '9007199254740993');
  t.equal(seen[0]?.url, '/api/v1/accounts/a%2Fb?f=1,2');
  t.equal(seen[0]?.headers.authorization, 'Bearer hush');
  t.equal(seen[0]?.headers['accept-encoding'], 'identity');
  await client.ask(rendered({ request: 'POST /find', body: { id: ':id' } }, { id: 'ü' }), asked());
  t.equal(seen[1]?.text, '{"id":"ü"}');
  t.equal(seen[1]?.headers['content-type'], 'application/json');
  await client.ask(rendered({ request: 'POST /touch' }), asked());
  t.equal(seen[2]?.headers['content-length'], '0');
  t.equal(connections(), 1);
});

t.test('rows are an array, what a path finds, or the one answer', async (t) => {
  const { url } = await serve(t, ({ url }, response) => {
    if (url === '/array') return json(response, [1, { a: 1 }]);
    if (url === '/null') return json(response, 'null');
    if (url === '/nothing') return void response.writeHead(204).end();
    if (url === '/bom') return json(response, '\ufeff{"a":1}');
    return json(response, { items: [{ id: 1 }, { id: 2 }, { id: 3 }], next: null });
  });
  const client = open(t, url);
  const rows = async (source: Parameters<typeof compileHttp>[0], over = {}) => {
    const answer = await client.ask(rendered(source), asked(over));
    return [answer.rows, answer.isTruncated];
  };
  t.strictSame(await rows({ request: 'GET /array' }), [[1, { a: 1 }], false]);
  t.strictSame(await rows({ request: 'GET /null' }), [[], false]);
  t.strictSame(await rows({ request: 'GET /nothing' }), [[], false]);
  t.strictSame(await rows({ request: 'GET /bom' }), [[{ a: 1 }], false]);
  t.strictSame(await rows({ request: 'GET /', rows: '$.items' }), [[{ id: 1 }, { id: 2 }, { id: 3 }], false]);
  t.strictSame(await rows({ request: 'GET /', rows: '$.items[*].id' }), [[1, 2, 3], false]);
  t.strictSame(await rows({ request: 'GET /', rows: '$.missing' }), [[], false]);
  t.strictSame(await rows({ request: 'GET /', rows: '$.items' }, { maxRows: 2 }), [[{ id: 1 }, { id: 2 }], true]);
  t.strictSame(await rows({ request: 'GET /', rows: '$.items' }, { maxBytes: 17 }), [[{ id: 1 }, { id: 2 }], true]);
  await t.rejects(client.ask(rendered({ request: 'GET /' }), asked({ maxBytes: 10 })), {
    name: 'SourceError',
    kind: 'too large',
  });
});

t.test('answers that are none', async (t) => {
  let status = 200;
  let body = 'null';
  let headers: Record<string, string> = {};
  const { url } = await serve(t, (_, response) => void response.writeHead(status, headers).end(body));
  const client = open(t, url, { 'x-key': 'hush' });
  const kind = async (method: 'GET' | 'POST' = 'GET', values?: Record<string, Bound>) => {
    const request = `${method} /x${values === undefined ? '' : '/:v'}`;
    try {
      return (await client.ask(rendered({ request }, values), asked())).rows;
    } catch (error) {
      t.ok(error instanceof SourceError);
      t.notMatch((error as Error).message, /hush/);
      return (error as SourceError).kind;
    }
  };
  const statuses: [number, 'GET' | 'POST', unknown][] = [
    [404, 'GET', []],
    [410, 'GET', []],
    [404, 'POST', 'refused'],
    [400, 'GET', 'refused'],
    [401, 'GET', 'refused'],
    [403, 'GET', 'refused'],
    [429, 'GET', 'busy'],
    [500, 'GET', 'unavailable'],
    [503, 'GET', 'unavailable'],
    [504, 'GET', 'timeout'],
  ];
  for (const [code, method, expected] of statuses) {
    status = code;
    t.strictSame(await kind(method), expected, `${method} ${code}`);
  }
  // May be about the values of the call, and then nobody else's fault.
  for (const code of [400, 404, 414, 422]) {
    status = code;
    t.equal(await kind('POST', { v: 'x' }), 'bad value', `${code}`);
  }
  status = 403;
  t.equal(await kind('POST', { v: 'x' }), 'refused');
  status = 200;
  for (const text of ['<html>', '{"a":', '\xff', `${'['.repeat(300)}${']'.repeat(300)}`, 'NaN']) {
    body = text;
    t.equal(await kind(), 'bad answer', text.slice(0, 10));
  }
  body = 'x';
  headers = { 'content-encoding': 'gzip' };
  t.equal(await kind(), 'bad answer');
});

t.test('a redirect is not followed', async (t) => {
  let other = 0;
  const elsewhere = await serve(t, (_, response) => {
    other++;
    json(response, {});
  });
  const { url } = await serve(t, (_, response) => void response.writeHead(302, { location: elsewhere.url }).end());
  const client = open(t, url, { authorization: 'hush' });
  await t.rejects(client.ask(rendered({ request: 'GET /a' }), asked()), {
    kind: 'refused',
    message: /redirect \(302\)/,
  });
  t.equal(other, 0);
  t.match(await client.test(AbortSignal.timeout(5_000)), { ok: true, notes: [/redirect/] });
});

t.test('a large answer is cut off, wherever its end is', async (t) => {
  let sent = 0;
  const { url } = await serve(t, ({ url }, response) => {
    response.on('error', () => {});
    if (url === '/told') return void response.writeHead(200, { 'content-length': '4000000000' }).write('[');
    const chunk = Buffer.alloc(65_536, ' ');
    const more = (): void => {
      if (response.destroyed) return;
      sent += chunk.length;
      response.write(chunk, more);
    };
    more();
  });
  const client = open(t, url);
  for (const path of ['/told', '/endless']) {
    await t.rejects(client.ask(rendered({ request: `GET ${path}` }), asked()), {
      name: 'SourceError',
      kind: 'too large',
    });
  }
  t.ok(sent < 32_000_000, `${sent} bytes`);
});

t.test('a server that hangs, at any point, is given up', async (t) => {
  const { url } = await serve(t, ({ url }, response) => {
    if (url === '/silent') return;
    response.writeHead(200).write('{"a":');
  });
  const client = open(t, url);
  for (const path of ['/silent', '/half']) {
    const reason = new SourceError('timeout', 'no answer within 50 ms');
    const controller = new AbortController();
    setTimeout(() => controller.abort(reason), 50);
    await t.rejects(client.ask(rendered({ request: `GET ${path}` }), asked({ signal: controller.signal })), reason);
  }
  const gone = AbortSignal.abort(new Error('the client left'));
  await t.rejects(client.ask(rendered({ request: 'GET /x' }), asked({ signal: gone })), /the client left/);
});

t.test('servers that die or speak something else', async (t) => {
  const sockets = new Set<Socket>();
  let answer = 'SSH-2.0-OpenSSH_9.9\r\n';
  const server = createTcpServer((socket) => {
    sockets.add(socket.on('error', () => {}));
    socket.once('data', () => (answer === '' ? socket.destroy() : socket.end(answer)));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const client = open(t, url);
  const ask = () => client.ask(rendered({ request: 'GET /x' }), asked());
  await t.rejects(ask(), { name: 'SourceError', kind: 'bad answer' });
  answer = '';
  await t.rejects(ask(), { name: 'SourceError', kind: 'unavailable' });
  answer = 'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"a"';
  await t.rejects(ask(), { name: 'SourceError', kind: 'unavailable' });
  await new Promise((resolve) => server.close(resolve));
  for (const socket of sockets) socket.destroy();
  await t.rejects(ask(), { kind: 'unavailable', message: /ECONNREFUSED/ });
  t.match(await client.test(AbortSignal.timeout(5_000)), { ok: false, error: /ECONNREFUSED/ });
});

t.test('a kept connection that the server closes in the meantime costs no answer', async (t) => {
  const sockets: Socket[] = [];
  const server = createTcpServer((socket) => {
    const number = sockets.push(socket.on('error', () => {}));
    let requests = 0;
    socket.on('data', () => {
      // The first connection answers once, and resets when it is used again.
      if (number === 1 && ++requests === 2) return socket.resetAndDestroy();
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const client = open(t, `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const ask = async () => (await client.ask(rendered({ request: 'GET /x' }), asked())).rows;
  t.strictSame([await ask(), await ask()], [[1], [1]]);
  t.equal(sockets.length, 2);
});

t.test('a test tells what answers', async (t) => {
  let status = 404;
  const { url } = await serve(t, ({ url }, response) => {
    t.equal(url, '/api');
    response.writeHead(status, { server: 'crm/7' }).end();
  });
  const client = open(t, `${url}/api/`);
  t.strictSame(await client.test(AbortSignal.timeout(5_000)), { ok: true, server: 'crm/7' });
  status = 401;
  t.match(await client.test(AbortSignal.timeout(5_000)), { ok: false, error: /denied access \(401\)/ });
});
