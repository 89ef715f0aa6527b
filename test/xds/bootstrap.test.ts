import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { packageRoot } from '../../src/package-root.ts';
import { socketsIn } from '../../src/runtime/sockets.ts';
import { envoyBootstrap } from '../../src/xds/bootstrap.ts';
import { envoyPath } from './envoy.ts';

const published = join(packageRoot, 'envoy', 'bootstrap.json');

t.test('envoy/bootstrap.json is what the product itself would write', (t) => {
  const ours = envoyBootstrap({ sockets: socketsIn('/run/sallyport'), workers: 1, relays: 1, nodeId: 'sallyport' });
  t.same(JSON.parse(readFileSync(published, 'utf8')), JSON.parse(JSON.stringify(ours)));
  t.end();
});

t.test('Envoy accepts it, for any number of workers', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'sp-boot-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const three = join(directory, 'three.json');
  const bootstrap = envoyBootstrap({ sockets: socketsIn(directory), workers: 3, relays: 2, nodeId: 'x' });
  writeFileSync(three, JSON.stringify(bootstrap));
  for (const file of [published, three]) {
    const output = execFileSync(envoyPath(), ['--mode', 'validate', '-c', file, '--disable-hot-restart'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    t.match(output, /OK/);
  }
  t.end();
});

t.test('its clusters have one endpoint a worker', (t) => {
  const { static_resources } = envoyBootstrap({ sockets: socketsIn('/r'), workers: 2, relays: 1, nodeId: 'x' }) as {
    static_resources: { clusters: { name: string; load_assignment: { endpoints: [{ lb_endpoints: unknown[] }] } }[] };
  };
  const counts = static_resources.clusters.map(({ name, load_assignment }) => [
    name,
    load_assignment.endpoints[0].lb_endpoints.length,
  ]);
  t.same(counts, [
    ['sallyport_xds', 1],
    ['sallyport_processor', 2],
    ['sallyport_edge', 2],
    ['sallyport_relay', 1],
  ]);
  t.end();
});
