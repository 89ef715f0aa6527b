import t from 'tap';
import { compileXds, withPrevious } from '../../src/xds/compile.ts';
import { eventually } from '../support/eventually.ts';
import { startEnvoy } from './envoy.ts';
import { freePort, send, sendRaw, startUpstream } from './http.ts';
import { OWN_ANSWER, startProcessor } from './processor.ts';
import { context, revision } from './revision.ts';

t.test('a real Envoy under our xDS', async (t) => {
  const envoy = await startEnvoy();
  t.teardown(() => envoy.stop());
  const processor = await startProcessor(envoy.sockets.processor(0));
  t.teardown(() => processor.stop());
  const upstream = await startUpstream();
  t.teardown(() => upstream.stop());
  const edge = await startUpstream();
  t.teardown(() => edge.stop());
  const [port, deadPort] = [await freePort(), await freePort()];

  const compile = (connections: Parameters<typeof revision>[0]) =>
    compileXds(revision(connections), context(envoy.directory, { mcpPort: port }));
  const connections = {
    up: { url: `http://127.0.0.1:${upstream.port}/mcp` },
    named: { url: `http://localhost:${upstream.port}/mcp` },
    dead: { url: `http://127.0.0.1:${deadPort}/mcp` },
    off: { url: `http://127.0.0.1:${upstream.port}/mcp`, enabled: false },
    narrow: { url: `http://127.0.0.1:${upstream.port}/mcp`, limits: { maxConcurrent: 1 } },
  };
  const call = (orders: string, more: Partial<Parameters<typeof send>[0]> = {}) =>
    send({ port, ...more, headers: { 'x-test': orders, ...more.headers } });
  const errorOf = (body: string) => {
    const parsed = JSON.parse(body);
    t.same(Object.keys(parsed), ['jsonrpc', 'id', 'error']);
    t.equal(parsed.id, null);
    return String(parsed.error.message);
  };

  await t.test('serves nothing before a revision is published', async (t) => {
    await eventually(() => envoy.ads.state().nodes.length === 1);
    t.match(await envoy.admin('/ready'), /INITIALIZING/);
    await t.rejects(send({ port }));
  });

  await t.test('acknowledges a whole revision and serves it', async (t) => {
    const resources = compile(connections);
    const started = performance.now();
    envoy.ads.publish(resources);
    const result = await envoy.ads.acked(resources.version, 10_000);
    t.same(result, { nodes: ['test'], late: [], rejections: [] });
    t.ok(performance.now() - started < 2_000);
    await eventually(async () => (await call('route=default/up')).status === 200);
    const [node] = envoy.ads.state().nodes;
    t.match(node, { id: 'test', envoyVersion: /^1\.\d+\.\d+$/, settled: true });
    t.same(Object.keys(node?.acknowledged.routes ?? {}), ['mcp', 'egress']);
    t.notMatch(envoy.log(), /deprecated|no configured limit/i);
  });

  await t.test('an upstream gets its host and path, and no header of Envoy or ours', async (t) => {
    for (const name of ['up', 'named']) {
      const { status, body, headers } = await call(`route=default/${name}`, {
        headers: { 'x-envoy-upstream-rq-timeout-ms': '1', 'x-sallyport-anything': '1', x_sallyport_route: 'x' },
      });
      t.equal(status, 200);
      const seen = JSON.parse(body);
      t.equal(seen.url, '/mcp');
      t.equal(seen.headers.host, new URL(connections[name as 'up'].url).host);
      const names = Object.keys(seen.headers).filter((header) => header.startsWith('x-'));
      t.same(names, ['x-test', 'x-request-id']);
      t.equal(headers.server, 'sallyport');
      t.same(
        Object.keys(headers).filter((header) => header.startsWith('x-')),
        [],
        'nor does the client',
      );
    }
  });

  await t.test('a forged route header reaches no upstream', async (t) => {
    const forged = await call('route=', { headers: { 'x-sallyport-route': 'default/up' } });
    t.equal(forged.status, 404);
    const closed = await call('close', { headers: { 'x-sallyport-route': 'default/up' } });
    t.equal(closed.status, 403);
  });

  await t.test('a processor that ends its stream cleanly lets nothing pass', async (t) => {
    const { status, body, headers } = await call('close');
    t.equal(status, 403);
    t.match(errorOf(body), /no decision/);
    t.equal(headers['content-type'], 'application/json');
  });

  await t.test("the processor's own answers stay as they are", async (t) => {
    for (const orders of ['answer', 'replace,route=default/up', 'replace,route=default/dead']) {
      const { status, body, headers } = await call(orders);
      t.equal(status, 404);
      t.equal(body, OWN_ANSWER);
      t.equal(headers['content-type'], 'application/json');
      t.notOk(headers['x-sallyport-local-reply']);
    }
  });

  await t.test('the processor can tell the failure of an upstream from its answer', async (t) => {
    processor.responses.length = 0;
    const started = performance.now();
    const failed = await call('route=default/dead');
    t.ok(performance.now() - started < 1_000, 'and it fails fast');
    t.equal(failed.status, 503);
    t.match(processor.responses[0]?.['x-sallyport-local-reply'], /^UF upstream_reset_before_response_started/);
    await call('route=default/missing');
    t.equal(processor.responses[1]?.['x-sallyport-local-reply'], '- direct_response');
    await call('route=default/off');
    t.equal(processor.responses[2]?.['x-sallyport-local-reply'], '- direct_response');
    await call('route=default/up');
    t.notOk(processor.responses[3]?.['x-sallyport-local-reply'], 'an upstream cannot forge it');
    t.equal(processor.responses[3]?.[':status'], '200');
  });

  await t.test('one call more than maxConcurrent is refused at once', async (t) => {
    const release: (() => void)[] = [];
    const slow = await startUpstream(undefined, (_incoming, response) => release.push(() => response.end('{}')));
    t.teardown(() => slow.stop());
    const resources = compile({
      ...connections,
      narrow: { url: `http://127.0.0.1:${slow.port}/`, limits: { maxConcurrent: 2 } },
    });
    envoy.ads.publish(resources);
    await envoy.ads.acked(resources.version, 5_000);
    const open = [call('route=default/narrow'), call('route=default/narrow')];
    await eventually(() => release.length === 2);
    processor.responses.length = 0;
    t.equal((await call('route=default/narrow')).status, 503);
    t.match(processor.responses[0]?.['x-sallyport-local-reply'], /^UO /);
    for (const end of release) end();
    t.same(
      (await Promise.all(open)).map(({ status }) => status),
      [200, 200],
    );
  });

  await t.test('what Envoy refuses by itself is a JSON-RPC error that says what to do', async (t) => {
    const large = await call('route=default/up', { body: 'x'.repeat(200_000) });
    t.equal(large.status, 413);
    t.match(errorOf(large.body), /larger than 65536 bytes/);
    const fits = await call('route=default/up', { body: 'x'.repeat(65_536) });
    t.equal(JSON.parse(fits.body).bytes, 65_536);
    const headers = await call('', { headers: { long: 'x'.repeat(70_000) } });
    t.equal(headers.status, 431);
    t.match(errorOf(headers.body), /larger than 64 KiB/);
    const raw = await sendRaw(port, 'this is not HTTP\r\n\r\n');
    t.match(raw, /^HTTP\/1.1 400 /);
    t.match(errorOf(raw.slice(raw.indexOf('\r\n\r\n'))), /not a valid HTTP request/);
    const old = await sendRaw(port, 'POST /mcp HTTP/1.0\r\n\r\n');
    t.match(old, /^HTTP\/1.1 426 /);
    const escaped = await call('', { path: '/a%2Fmcp' });
    t.equal(escaped.status, 400);
  });

  await t.test('the egress socket reaches the same upstreams by the same header, without the processor', async (t) => {
    processor.responses.length = 0;
    const egress = { socketPath: envoy.sockets.egress };
    const good = await send({ ...egress, headers: { host: 'anything', 'x-sallyport-route': 'default/up' } });
    t.equal(good.status, 200);
    const seen = JSON.parse(good.body);
    t.equal(seen.headers.host, `127.0.0.1:${upstream.port}`);
    t.same(
      Object.keys(seen.headers).filter((header) => header.startsWith('x-')),
      [],
    );
    t.notOk(good.headers['x-sallyport-local-reply']);
    const dead = await send({ ...egress, headers: { 'x-sallyport-route': 'default/dead' } });
    t.equal(dead.status, 503);
    t.match(dead.headers['x-sallyport-local-reply'], /^UF /);
    t.equal((await send(egress)).status, 404);
    t.equal(processor.responses.length, 0);
  });

  await t.test('changing revisions: new routes first, old ones go only when told', async (t) => {
    const before = compile({ up: connections.up });
    envoy.ads.publish(before);
    await envoy.ads.acked(before.version, 5_000);
    const after = compile({ other: connections.up });
    const both = withPrevious(after, before);
    envoy.ads.publish(both);
    t.same((await envoy.ads.acked(both.version, 5_000)).late, []);
    t.equal((await call('route=default/up')).status, 200);
    t.equal((await call('route=default/other')).status, 200);
    envoy.ads.publish(after);
    t.same((await envoy.ads.acked(after.version, 5_000)).late, []);
    t.equal((await call('route=default/up')).status, 404);
    t.equal((await call('route=default/other')).status, 200);
    t.same(Object.keys(envoy.ads.state().nodes[0]?.acknowledged.clusters ?? {}), ['default/other']);
    t.notMatch(await envoy.admin('/clusters'), /default\/up::/);
  });

  await t.test('another address is another listener; the old one is there until the new one is', async (t) => {
    const before = compile({ up: connections.up });
    envoy.ads.publish(before);
    await envoy.ads.acked(before.version, 5_000);
    const moved = await freePort();
    const after = compileXds(revision({ up: connections.up }), context(envoy.directory, { mcpPort: moved }));
    const both = withPrevious(after, before);
    envoy.ads.publish(both);
    await envoy.ads.acked(both.version, 5_000);
    await eventually(
      async () => (await send({ port: moved, headers: { 'x-test': 'route=default/up' } })).status === 200,
    );
    t.equal((await call('route=default/up')).status, 200);
    envoy.ads.publish(after);
    await envoy.ads.acked(after.version, 5_000);
    await eventually(() =>
      call('').then(
        () => false,
        () => true,
      ),
    );
    t.equal((await send({ port: moved, headers: { 'x-test': 'route=default/up' } })).status, 200);
    envoy.ads.publish(before);
    await envoy.ads.acked(before.version, 5_000);
    await eventually(async () => (await call('route=default/up')).status === 200);
  });

  await t.test('a control plane that restarts interrupts and removes nothing', async (t) => {
    await envoy.restartAds();
    await eventually(() => envoy.ads.state().nodes.length === 1);
    t.equal((await call('route=default/up')).status, 200, 'before anything is published again');
    const same = compile({ up: connections.up });
    envoy.ads.publish(same);
    t.same((await envoy.ads.acked(same.version, 5_000)).nodes, ['test']);
    t.equal((await call('route=default/up')).status, 200);
    const less = compile({ other: connections.up });
    await envoy.restartAds();
    envoy.ads.publish(less);
    await envoy.ads.acked(less.version, 5_000, 1);
    t.equal((await call('route=default/up')).status, 404, 'what the new one lacks is removed once it says so');
  });

  await t.test('a dead processor is a JSON-RPC error, and the next one is found by itself', async (t) => {
    processor.stop();
    const { status, body, headers } = await call('route=default/other');
    t.equal(status, 503);
    t.match(errorOf(body), /Try again in a few seconds/);
    t.equal(headers['retry-after'], '1');
    t.notOk(headers['x-sallyport-local-reply'], 'nor does it tell of sockets');
    const next = await startProcessor(envoy.sockets.processor(0));
    t.teardown(() => next.stop());
    await eventually(async () => (await call('route=default/other')).status === 200, 5_000);
  });
});
