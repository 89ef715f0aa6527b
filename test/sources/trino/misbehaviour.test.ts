/** Coordinators that hang, lie, refuse or send too much: bounded, told in words, and never followed elsewhere. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import type { TrinoSource } from '../../../src/config/document.ts';
import { type Asked, type SourceAnswer, type SourceClient, SourceError } from '../../../src/sources/source.ts';
import { openTrino } from '../../../src/sources/trino/client.ts';
import type { TrinoRequest } from '../../../src/sources/trino/template.ts';
import { eventually } from '../../support/eventually.ts';

interface Seen {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** What a fake says; undefined: what a sound coordinator would (of START TRANSACTION, ROLLBACK, and one page of any other). */
type Says = (seen: Seen, response: ServerResponse, base: string) => object | true | undefined;

interface Fake {
  readonly base: string;
  readonly seen: Seen[];
  readonly client: SourceClient;
  ask(some?: Partial<Asked>): Promise<SourceAnswer>;
}

async function fake(t: Test, says: Says = () => undefined, config: Partial<TrinoSource> = {}): Promise<Fake> {
  const seen: Seen[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request.setEncoding('utf8')) body += chunk;
    const one = { method: request.method ?? '', path: request.url ?? '', headers: request.headers, body };
    seen.push(one);
    const said = says(one, response, base);
    if (said === true) return;
    if (said === undefined && body.startsWith('START')) response.setHeader('x-trino-started-transaction-id', 'tx-1');
    response.end(JSON.stringify(said ?? (one.method === 'POST' && !/^(START|ROLL)/.test(body) ? PAGE : { id: 'q' })));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const client = openTrino({
    type: 'trino',
    enabled: true,
    maxConcurrent: 4,
    circuitBreaker: { consecutiveErrors: 5, openForMs: 1000 },
    url: base,
    user: 'someone',
    session: {},
    ...config,
  });
  t.teardown(async () => {
    await client.close();
    server.closeAllConnections();
    server.close();
  });
  const request: TrinoRequest = { statement: 'SELECT x', shown: '', key: '', hasValues: false };
  const asked = { signal: AbortSignal.timeout(20_000), timeoutMs: 20_000, maxRows: 10, maxBytes: 10_000 };
  return { base, seen, client, ask: (some) => client.ask(request, { ...asked, ...some }) };
}

const COLUMNS = [{ name: 'x', type: 'bigint', typeSignature: { rawType: 'bigint', arguments: [] } }];
const PAGE = { id: 'q', columns: COLUMNS, data: [[1]] };
const isStatement = ({ method, body }: Seen): boolean => method === 'POST' && body === 'SELECT x';

t.test('what is sent', async (t) => {
  const { ask, seen } = await fake(t, undefined, {
    token: 'tok',
    catalog: 'c',
    schema: 's',
    session: { 'hive.x': 'a,b=c ü', query_max_execution_time: '1s' },
  });
  t.same(await ask({ timeoutMs: 1234.5 }), { rows: [{ x: 1 }], isTruncated: false });
  await eventually(() => seen.length === 3);
  t.same(
    seen.map(({ body }) => body),
    ['START TRANSACTION READ ONLY', 'SELECT x', 'ROLLBACK'],
  );
  t.same(
    seen.map(({ headers }) => headers['x-trino-transaction-id']),
    ['NONE', 'tx-1', 'tx-1'],
  );
  for (const { headers, path, body } of seen) {
    t.equal(path, '/v1/statement');
    t.match(headers, {
      'x-trino-user': 'someone',
      'x-trino-source': 'sallyport',
      'x-trino-catalog': 'c',
      'x-trino-schema': 's',
      authorization: 'Bearer tok',
    });
    const session = 'query_max_run_time=1235ms,query_max_execution_time=1s,hive.x=a%2Cb%3Dc%20%C3%BC';
    t.equal(headers['x-trino-session'], body === 'SELECT x' ? session : undefined);
  }
});

t.test('a password or token never travels unencrypted', async (t) => {
  for (const secret of [{ password: 'p' }, { token: 't' }]) {
    const { client } = await fake(t, undefined, { url: 'http://trino.example:8080', ...secret });
    const said = await client.test(AbortSignal.timeout(5000));
    t.match(said, { ok: false });
    const asked = { signal: AbortSignal.timeout(5000), timeoutMs: 5000, maxRows: 1, maxBytes: 1 };
    const request: TrinoRequest = { statement: 'SELECT 1', shown: '', key: '', hasValues: false };
    await t.rejects(client.ask(request, asked), { kind: 'refused', message: /https/ });
  }
  const { ask, seen } = await fake(t, undefined, { password: 'pä' });
  await ask();
  t.equal(seen[0]?.headers.authorization, `Basic ${Buffer.from('someone:pä').toString('base64')}`);
});

t.test('a nextUri leads nowhere but to the coordinator', async (t) => {
  const elsewhere = await fake(t);
  const { ask, seen } = await fake(t, (one) => {
    if (isStatement(one)) return { ...PAGE, nextUri: `${elsewhere.base}/v1/statement/executing/q/1?slug=a` };
    return one.method === 'GET' ? { id: 'q', data: [[2]] } : undefined;
  });
  t.same((await ask()).rows, [{ x: 1 }, { x: 2 }]);
  t.match(seen.find(({ method }) => method === 'GET')?.path, '/v1/statement/executing/q/1?slug=a');
  t.equal(elsewhere.seen.length, 0);
  for (const nextUri of [
    'http://evil.example/steal',
    'not a url',
    7,
    '/v1/info',
    `${elsewhere.base}/v1/statement/../../admin`,
  ]) {
    const lying = await fake(t, (one) => (isStatement(one) ? { ...PAGE, nextUri } : undefined));
    await t.rejects(lying.ask(), { kind: 'bad answer', message: /nextUri/ });
  }
  t.equal(elsewhere.seen.length, 0);

  const redirecting = await fake(t, (one, response) => {
    if (isStatement(one)) response.writeHead(307, { location: `${elsewhere.base}/v1/statement` });
    return undefined;
  });
  await t.rejects(redirecting.ask(), { kind: 'refused', message: /redirect/ });
  t.equal(elsewhere.seen.length, 0);
});

t.test('a prefix of the URL stays', async (t) => {
  const { ask, seen } = await fake(t, (one, _, base) =>
    isStatement(one) ? { ...PAGE, nextUri: `${base}/v1/statement/executing/q/1` } : undefined,
  );
  await ask();
  t.ok(seen.every(({ path }) => path.startsWith('/v1/statement')));
  const prefixed = await fake(t);
  const client = openTrino({
    type: 'trino',
    enabled: true,
    maxConcurrent: 1,
    circuitBreaker: { consecutiveErrors: 5, openForMs: 1000 },
    url: `${prefixed.base}/gateway/`,
    user: 'someone',
    session: {},
  });
  await client.test(AbortSignal.timeout(5000));
  await client.close();
  t.equal(prefixed.seen[0]?.path, '/gateway/v1/info');
});

t.test('a server that has no transactions is not asked', async (t) => {
  const { ask, seen } = await fake(t, (one) => (one.body.startsWith('START') ? { id: 'q' } : undefined));
  await t.rejects(ask(), { kind: 'bad answer', message: /no read-only transaction/ });
  t.notOk(seen.some(isStatement));
});

t.test('busy for a moment', async (t) => {
  const failures = [502, 503, 504, 429];
  const { ask, seen } = await fake(t, (one, response) => {
    const status = isStatement(one) ? failures.shift() : undefined;
    if (status === undefined) return undefined;
    response.writeHead(status, { 'retry-after': '0' }).end('later');
    return true;
  });
  t.same((await ask()).rows, [{ x: 1 }]);
  t.equal(seen.filter(isStatement).length, 5);
  for (const [status, kind] of [
    [503, 'unavailable'],
    [429, 'busy'],
  ] as const) {
    const down = await fake(t, (_, response) => {
      response.writeHead(status, { 'retry-after': '1' }).end('later');
      return true;
    });
    await t.rejects(down.ask({ timeoutMs: 300 }), { kind, message: `${status}` });
    t.ok(down.seen.length < 10);
  }
});

t.test('answers that are none', async (t) => {
  const cases: readonly [status: number, body: string, kind: SourceError['kind']][] = [
    [200, '<html>login</html>', 'bad answer'],
    [200, '[]', 'bad answer'],
    [200, '{"data": 5}', 'bad answer'],
    [200, '{"data": [[1]]}', 'bad answer'],
    [200, '{"columns": 5, "data": [[1]]}', 'bad answer'],
    [200, '{"columns": [{}], "data": [[1]]}', 'bad answer'],
    [200, '{"columns": [{"name": "x"}], "data": [[1, 2]]}', 'bad answer'],
    [200, '{"columns": [{"name": "x"}], "data": [1]}', 'bad answer'],
    [200, '{"error": 5}', 'unavailable'],
    [200, `${'['.repeat(10_000)}`, 'bad answer'],
    [401, 'no', 'refused'],
    [403, 'no', 'refused'],
    [404, 'no', 'unavailable'],
    [500, 'no', 'unavailable'],
    [400, 'x'.repeat(5000), 'refused'],
  ];
  for (const [status, body, kind] of cases) {
    const { ask } = await fake(t, (one, response) => {
      if (!isStatement(one)) return undefined;
      response.writeHead(status).end(body);
      return true;
    });
    const error = await ask().catch((caught: unknown) => caught);
    t.ok(error instanceof SourceError && error.message.length < 700);
    t.match(error, { kind }, body.slice(0, 50));
  }
  const strange = await fake(t, (one) =>
    isStatement(one)
      ? { columns: [{ name: 'x', typeSignature: { rawType: 'decimal' } }], data: [['1e5'], [7], [null], ['12.30']] }
      : undefined,
  );
  t.same((await strange.ask()).rows, [{ x: '1e5' }, { x: 7 }, { x: null }, { x: 12.3 }]);
});

t.test('a hanging server is left when the asker leaves, and told so', async (t) => {
  const { ask, seen } = await fake(t, (one, _, base) => {
    if (isStatement(one)) return { id: 'q', nextUri: `${base}/v1/statement/queued/q/1` };
    return one.method === 'GET' ? true : undefined;
  });
  const leaving = new AbortController();
  const asking = ask({ signal: leaving.signal });
  await eventually(() => seen.some(({ method }) => method === 'GET'));
  leaving.abort(new SourceError('timeout', 'no time left'));
  await t.rejects(asking, { name: 'SourceError', kind: 'timeout' });
  await eventually(() => seen.some(({ method, path }) => method === 'DELETE' && path === '/v1/statement/queued/q/1'));
  await eventually(() => seen.some(({ body }) => body === 'ROLLBACK'));
});

t.test('a server that never ends', async (t) => {
  let pages = 0;
  const endless = await fake(t, (one, _, base) => {
    if (!isStatement(one) && one.method !== 'GET') return undefined;
    return { ...PAGE, data: [], nextUri: `${base}/v1/statement/executing/q/${pages++}` };
  });
  const signal = AbortSignal.timeout(1500);
  await t.rejects(endless.ask({ signal }), { name: 'TimeoutError' });
  t.ok(pages > 50 && pages < 400, `asked ${pages} times`);
  await eventually(() => endless.seen.some(({ method }) => method === 'DELETE'));

  const flood = await fake(t, (one, response) => {
    if (!isStatement(one)) return undefined;
    response.writeHead(200);
    const chunk = Buffer.alloc(1 << 20, 32);
    const more = (): void => {
      while (!response.destroyed && response.write(chunk));
    };
    response.on('drain', more);
    more();
    return true;
  });
  await t.rejects(flood.ask(), { name: 'SourceError', kind: 'too large' });
});

t.test('many rows in one page', async (t) => {
  const { ask, seen } = await fake(t, (one, _, base) =>
    isStatement(one)
      ? { ...PAGE, data: Array.from({ length: 100_000 }, (_, i) => [i]), nextUri: `${base}/v1/statement/executing/q/1` }
      : undefined,
  );
  const { rows, isTruncated } = await ask();
  t.equal(rows.length, 10);
  t.equal(isTruncated, true);
  await eventually(() => seen.some(({ method }) => method === 'DELETE'));
});
