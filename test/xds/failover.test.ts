import t from 'tap';
import { compileXds } from '../../src/xds/compile.ts';
import { eventually } from '../support/eventually.ts';
import { startEnvoy } from './envoy.ts';
import { freePort, send, startUpstream } from './http.ts';
import { startProcessor } from './processor.ts';
import { context, revision } from './revision.ts';

t.test('when things die', async (t) => {
  const envoy = await startEnvoy({ workers: 2 });
  t.teardown(() => envoy.stop());
  const processors = [
    await startProcessor(envoy.sockets.processor(0)),
    await startProcessor(envoy.sockets.processor(1)),
  ];
  t.teardown(() => {
    for (const processor of processors) processor.stop();
  });
  const upstream = await startUpstream();
  t.teardown(() => upstream.stop());
  const port = await freePort();
  const fragilePort = await freePort();
  const resources = compileXds(
    revision({
      up: { url: `http://127.0.0.1:${upstream.port}/mcp` },
      fragile: { url: `http://127.0.0.1:${fragilePort}/mcp` },
      guarded: {
        url: `http://127.0.0.1:${fragilePort}/mcp`,
        limits: { circuitBreaker: { consecutiveErrors: 3, openForMs: 600 } },
      },
    }),
    context(envoy.directory, { mcpPort: port }),
  );
  envoy.ads.publish(resources);
  await envoy.ads.acked(resources.version, 10_000, 1);
  const call = (route: string) => send({ port, headers: { 'x-test': `route=default/${route}` } });
  await eventually(async () => (await call('up')).status === 200);

  await t.test(
    'of two workers one dies: at most the calls of that moment fail, and it comes back by itself',
    async (t) => {
      await eventually(async () => /processor-1.sock::health_flags::healthy/.test(await envoy.admin('/clusters')));
      const statuses: number[] = [];
      let running = true;
      const load = Array.from({ length: 4 }, async () => {
        while (running) statuses.push((await call('up')).status);
      });
      await eventually(() => statuses.length > 50);
      processors[0]?.stop();
      const before = statuses.length;
      await eventually(() => statuses.length > before + 200);
      running = false;
      await Promise.all(load);
      const failed = statuses.filter((status) => status !== 200);
      t.same(
        failed.filter((status) => status !== 503),
        [],
      );
      t.ok(failed.length <= 8, `${failed.length} of ${statuses.length} failed`);

      processors[0] = await startProcessor(envoy.sockets.processor(0));
      await eventually(async () => {
        await call('up');
        return (processors[0]?.responses.length ?? 0) > 0;
      }, 5_000);
    },
  );

  await t.test('a dead upstream fails its own calls fast and serves again as soon as it is back', async (t) => {
    for (let i = 0; i < 5; i++) {
      const started = performance.now();
      t.equal((await call('fragile')).status, 503);
      t.ok(performance.now() - started < 1_000);
    }
    const back = await startUpstream(undefined, undefined, fragilePort);
    t.equal((await call('fragile')).status, 200);
    await back.stop();
    t.equal((await call('fragile')).status, 503);
  });

  await t.test(
    'a name that does not resolve fails its own calls, at once, and keeps nothing else from being served',
    async (t) => {
      const unknown = { url: 'http://no-such-host.invalid/mcp' };
      const more = compileXds(
        revision({ unknown, up: { url: `http://127.0.0.1:${upstream.port}/mcp` } }),
        context(envoy.directory, { mcpPort: port }),
      );
      envoy.ads.publish(more);
      // Envoy's own resolver gives up after 3 s where nothing answers.
      t.same(await envoy.ads.acked(more.version, 5_000), { nodes: ['test'], late: [], rejections: [] });
      const started = performance.now();
      t.equal((await call('unknown')).status, 503);
      t.ok(performance.now() - started < 1_000);
      t.equal((await call('up')).status, 200);
      envoy.ads.publish(resources);
      t.same((await envoy.ads.acked(resources.version, 5_000)).late, []);
    },
  );

  await t.test('circuitBreaker: open after so many errors, for so long', async (t) => {
    const flags = () =>
      processors.flatMap(({ responses }) => responses).map((seen) => seen['x-sallyport-local-reply'] ?? '');
    for (let i = 0; i < 3; i++) await call('guarded');
    await eventually(async () => {
      await call('guarded');
      return flags().some((flag) => flag.startsWith('UH no_healthy_upstream'));
    });
    const back = await startUpstream(undefined, (_incoming, response) => response.end('{}'), fragilePort);
    t.teardown(() => back.stop());
    const opened = performance.now();
    await eventually(async () => (await call('guarded')).status === 200, 5_000);
    t.ok(performance.now() - opened < 2_500, 'closed again');
  });

  await t.test('Envoy is killed: the next one takes over its sockets and serves the same', async (t) => {
    await envoy.restart();
    t.same((await envoy.ads.acked(resources.version, 10_000, 1)).rejections, []);
    await eventually(async () => (await call('up')).status === 200);
    const egress = await send({ socketPath: envoy.sockets.egress, headers: { 'x-sallyport-route': 'default/up' } });
    t.equal(egress.status, 200);
  });
});
