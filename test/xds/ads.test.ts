import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ClientDuplexStream, credentials, makeGenericClientConstructor } from '@grpc/grpc-js';
import t from 'tap';
import { adsService, type DeltaRequest, type DeltaResponse } from '../../src/wire.ts';
import { startAds } from '../../src/xds/ads.ts';
import { compileXds } from '../../src/xds/compile.ts';
import { KIND_TYPE, type Kind } from '../../src/xds/type-urls.ts';
import { eventually } from '../support/eventually.ts';
import { quiet } from './envoy.ts';
import { context, revision } from './revision.ts';

const listenerTls = { certPem: 'certificate', keyPem: 'key' };

t.test('the protocol, with a client that plays Envoy', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'sp-ads-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const socketPath = join(directory, 'xds.sock');
  const compile = (names: readonly string[], tls = listenerTls) =>
    compileXds(
      revision(Object.fromEntries(names.map((name) => [name, { url: 'http://127.0.0.1:1/mcp' }]))),
      context(directory, { listenerTls: tls }),
    );
  const start = async (t: { teardown(work: () => unknown): void }) => {
    const ads = await startAds({ socketPath, log: quiet });
    t.teardown(() => ads.close());
    return { ads, envoy: connect(t, socketPath) };
  };

  await t.test('only our own uid can open the socket', async (t) => {
    await start(t);
    t.equal(statSync(socketPath).mode & 0o777, 0o600);
  });

  await t.test('never answers before the first revision is published', async (t) => {
    const { ads, envoy } = await start(t);
    envoy.ask('clusters', { versions: { 'default/a': 'old' } });
    await eventually(() => ads.state().nodes.length === 1);
    t.same(ads.state().version, undefined);
    const first = compile(['a']);
    ads.publish(first);
    const response = await envoy.next();
    t.same(response.removed_resources, []);
    t.same(
      response.resources.map(({ name }) => name),
      ['default/a'],
    );
    t.same(await ads.acked('another version', 50), { nodes: [], late: ['played'], rejections: [] });
  });

  await t.test('secrets and clusters before the listener, the listener before its routes; removals last', async (t) => {
    const { ads, envoy } = await start(t);
    ads.publish(compile(['a', 'b']));
    envoy.ask('clusters');
    t.equal((await envoy.ack()).type_url, KIND_TYPE.clusters);
    envoy.ask('listeners');
    const listeners = await envoy.next();
    t.equal(listeners.type_url, KIND_TYPE.listeners);
    envoy.ask('secrets', { names: ['listener', 'pending'] });
    envoy.ask('routes', { names: ['mcp', 'egress'] });
    envoy.answer('listeners', listeners.nonce);
    const secrets = await envoy.ack();
    t.same(
      secrets.resources.map(({ name }) => name),
      ['listener'],
    );
    t.same(secrets.removed_resources, [], 'a secret that is not there yet is pending, not gone');
    t.equal((await envoy.ack()).type_url, KIND_TYPE.routes);

    const next = compile(['b', 'c'], { certPem: 'another', keyPem: 'pair' });
    ads.publish(next);
    const seen: unknown[] = [];
    for (let i = 0; i < 4; i++) {
      t.equal(ads.state().nodes[0]?.settled, false);
      const { type_url, resources, removed_resources } = await envoy.ack();
      seen.push([type_url, resources.map(({ name }) => name), removed_resources]);
    }
    t.same(seen, [
      [KIND_TYPE.secrets, ['listener'], []],
      [KIND_TYPE.clusters, ['default/c'], []],
      [KIND_TYPE.routes, ['mcp', 'egress'], []],
      [KIND_TYPE.clusters, [], ['default/a']],
    ]);
    t.same(await ads.acked(next.version, 1_000), { nodes: ['played'], late: [], rejections: [] });
    t.ok(envoy.silent(), 'what did not change is not sent again');
  });

  await t.test('an Envoy that reconnects gets only what it lacks', async (t) => {
    const { ads, envoy } = await start(t);
    const resources = compile(['a', 'b']);
    ads.publish(resources);
    const versions = {
      'default/a': resources.clusters.get('default/a')?.version ?? '',
      'default/b': 'other',
      'default/z': '1',
    };
    envoy.ask('clusters', { versions });
    t.same(
      (await envoy.ack()).resources.map(({ name }) => name),
      ['default/b'],
    );
    t.same((await envoy.ack()).removed_resources, ['default/z']);
  });

  await t.test('an answer to an older response is not taken for one to the newer', async (t) => {
    const { ads, envoy } = await start(t);
    const resources = compile(['a']);
    ads.publish(resources);
    envoy.ask('clusters');
    await envoy.next();
    envoy.answer('clusters', 'no such nonce');
    t.equal((await ads.acked(resources.version, 50)).late[0], 'played');
    t.same(ads.state().nodes[0]?.acknowledged.clusters, {});
  });

  await t.test('a refused batch is halved until the bad one is alone', async (t) => {
    const { ads, envoy } = await start(t);
    const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
    ads.publish(compile(names));
    envoy.ask('clusters');
    let responses = 0;
    for (let accepted = 0; accepted < 7; responses++) {
      const response = await envoy.next();
      const bad = response.resources.some(({ name }) => name === 'default/f');
      if (!bad) accepted += response.resources.length;
      envoy.answer('clusters', response.nonce, bad ? 'f is bad' : undefined);
    }
    await eventually(() => Object.keys(ads.state().nodes[0]?.acknowledged.clusters ?? {}).length === 7);
    t.match(ads.state().rejections, [{ node: 'played', resource: 'default/f', error: 'f is bad' }]);
    t.ok(responses <= 7, `${responses} responses`);
  });

  await t.test('acked with no Envoy is immediate, or waits for as many as asked', async (t) => {
    const ads = await startAds({ socketPath, log: quiet });
    t.teardown(() => ads.close());
    const resources = compile([]);
    ads.publish(resources);
    t.same(await ads.acked(resources.version, 5_000), { nodes: [], late: [], rejections: [] });
    const started = performance.now();
    await ads.acked(resources.version, 50, 1);
    t.ok(performance.now() - started >= 45);
  });

  await t.test('a socket that cannot be opened is an error that names it', async (t) => {
    await t.rejects(
      startAds({ socketPath: join(directory, 'nowhere', 'xds.sock'), log: quiet }),
      /xDS socket .*nowhere/,
    );
  });
});

/** Asks and answers as Envoy does; responses are read one by one. */
function connect(t: { teardown(work: () => unknown): void }, socketPath: string) {
  const Client = makeGenericClientConstructor(adsService, 'Ads');
  const client = new Client(`unix:${socketPath}`, credentials.createInsecure());
  t.teardown(() => client.close());
  const method = client.DeltaAggregatedResources as unknown as () => ClientDuplexStream<DeltaRequest, DeltaResponse>;
  const stream = method.call(client);
  const responses: DeltaResponse[] = [];
  stream.on('error', () => {});
  stream.on('data', (response) => responses.push(response));
  let introduced = false;
  const write = (type_url: string, rest: Partial<DeltaRequest>) => {
    stream.write({
      ...(introduced ? {} : { node: { id: 'played' } }),
      type_url,
      resource_names_subscribe: [],
      resource_names_unsubscribe: [],
      initial_resource_versions: {},
      response_nonce: '',
      ...rest,
    });
    introduced = true;
  };
  const next = () => eventually(() => responses.shift());
  return {
    ask: (kind: Kind, { names = [], versions = {} }: { names?: string[]; versions?: Record<string, string> } = {}) =>
      write(KIND_TYPE[kind], { resource_names_subscribe: names, initial_resource_versions: versions }),
    answer: (kind: Kind, nonce: string, error?: string) =>
      write(KIND_TYPE[kind], { response_nonce: nonce, ...(error && { error_detail: { code: 13, message: error } }) }),
    next,
    silent: () => responses.length === 0,
    async ack() {
      const response = await next();
      write(response.type_url, { response_nonce: response.nonce });
      return response;
    },
  };
}
