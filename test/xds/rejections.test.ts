import { createServer } from 'node:net';
import t from 'tap';
import type { Rejection } from '../../src/xds/ads.ts';
import { compileXds, type XdsContext } from '../../src/xds/compile.ts';
import { createCa, ec, MUST_STAPLE, selfSigned } from './certificates.ts';
import { startEnvoy } from './envoy.ts';
import { freePort, send, startUpstream } from './http.ts';
import { startProcessor } from './processor.ts';
import { context, revision } from './revision.ts';

t.test('what a real Envoy refuses', async (t) => {
  const envoy = await startEnvoy();
  t.teardown(() => envoy.stop());
  const processor = await startProcessor(envoy.sockets.processor(0));
  t.teardown(() => processor.stop());
  const upstream = await startUpstream();
  t.teardown(() => upstream.stop());
  const port = await freePort();
  const publish = (
    connections: Parameters<typeof revision>[0],
    connectionTls: XdsContext['connectionTls'] = new Map(),
  ) => {
    const resources = compileXds(revision(connections), context(envoy.directory, { mcpPort: port, connectionTls }));
    envoy.ads.publish(resources);
    return resources;
  };
  const url = `http://127.0.0.1:${upstream.port}/mcp`;

  await t.test('bad connections do not keep the good ones away', async (t) => {
    // A certificate that only Envoy parses: everything in our own reach accepts it.
    const names = Array.from({ length: 9 }, (_, index) => `c${index}`);
    const bad = new Set(['c2', 'c3', 'c8']);
    const connections = Object.fromEntries(
      names.map((name) => [name, { url: bad.has(name) ? 'https://127.0.0.1:1/mcp' : url }]),
    );
    const connectionTls = new Map([...bad].map((name) => [name, { caPem: 'no certificate' }]));
    const { late, rejections, nodes } = await envoy.ads.acked(publish(connections, connectionTls).version, 10_000, 1);
    t.same({ late, nodes }, { late: [], nodes: ['test'] });
    t.same(rejections.map(({ resource }) => resource).sort(), ['default/c2', 'default/c3', 'default/c8']);
    t.match(rejections[0], { node: 'test', kind: 'clusters', error: /Failed to load trusted CA certificates/ });
    t.same(envoy.ads.state().rejections, rejections);
    for (const name of names) {
      const { status } = await send({ port, headers: { 'x-test': `route=default/${name}` } });
      t.equal(status, bad.has(name) ? 503 : 200, name);
    }

    const mended = new Map([...connectionTls, ['c2', { caPem: createCa('private').certPem }]]);
    const { version } = publish(connections, mended);
    const second = await envoy.ads.acked(version, 10_000, 1);
    t.same(second.rejections.map(({ resource }) => resource).sort(), ['default/c3', 'default/c8'], 'one is mended');
    t.same((await envoy.ads.acked(publish({ c0: { url } }).version, 10_000, 1)).rejections, [], 'all others are gone');
  });

  await t.test('a refused certificate stays refused until another takes its place', async (t) => {
    const upstream = await startUpstream();
    t.teardown(() => upstream.stop());
    const [good, small] = [selfSigned(ec('P-256')), selfSigned(['-newkey', 'rsa:1024'])];
    const [curve, staple] = [selfSigned(ec('secp256k1')), selfSigned(MUST_STAPLE)];
    const connections = Object.fromEntries(
      ['g1', 'bad', 'g2'].map((name) => [name, { url: 'https://127.0.0.1:1/mcp' }]),
    );
    const withClient = (bad: { certPem: string; keyPem: string }, listenerTls = good) => {
      const connectionTls = new Map(Object.entries({ g1: good, bad, g2: good }));
      const more = { mcpPort: port, connectionTls, listenerTls, publicRootsPem: { inline: good.certPem } };
      const resources = compileXds(revision(connections), context(envoy.directory, more));
      envoy.ads.publish(resources);
      return envoy.ads.acked(resources.version, 10_000, 1);
    };
    const refused = (answer: { rejections: readonly Rejection[]; late: readonly string[] }) => {
      t.same(answer.late, []);
      return answer.rejections.filter(({ kind }) => kind === 'secrets').map(({ resource }) => resource);
    };
    for (let publication = 1; publication <= 3; publication += 1) {
      t.same(refused(await withClient(small)), ['default/bad'], `publication ${publication}`);
      t.match(envoy.ads.state().rejections, [{ error: /2048-bit or larger/ }]);
    }
    t.same(refused(await withClient(curve)), ['default/bad'], 'another that is refused');
    t.same(refused(await withClient(good)), []);
    t.same(refused(await withClient(small)), ['default/bad']);
    t.same(refused(await withClient(good, staple)), ['listener']);
    t.same(refused(await withClient(good, good)), [], 'what it had before is sent again');
    t.same(refused(await withClient(small)), ['default/bad']);
    t.same(
      (await envoy.ads.acked(publish({ c0: { url } }).version, 10_000, 1)).rejections,
      [],
      'gone with its connection',
    );
  });

  await t.test('a port in use: the reason is told, and publishing again tries again', async (t) => {
    const squatter = createServer();
    await new Promise<void>((resolve) => squatter.listen(0, '127.0.0.1', resolve));
    const { port: taken } = squatter.address() as { port: number };
    const resources = compileXds(revision({ c0: { url } }), context(envoy.directory, { mcpPort: taken }));
    envoy.ads.publish(resources);
    const { rejections, late } = await envoy.ads.acked(resources.version, 5_000, 1);
    t.same(late, []);
    t.match(rejections, [{ kind: 'listeners', resource: `mcp/127.0.0.1:${taken}`, error: /Address already in use/ }]);
    await new Promise((resolve) => squatter.close(resolve));
    envoy.ads.publish(resources);
    t.same((await envoy.ads.acked(resources.version, 5_000, 1)).rejections, []);
    t.equal((await send({ port: taken, headers: { 'x-test': 'route=default/c0' } })).status, 200);
  });
});
