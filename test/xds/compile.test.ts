import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { packageRoot } from '../../src/package-root.ts';
import { WireError } from '../../src/wire.ts';
import { compileXds, dumpXds, withPrevious, type XdsResource } from '../../src/xds/compile.ts';
import { context, revision } from './revision.ts';

const connections = {
  plain: { url: 'http://127.0.0.1:3001/mcp' },
  v6: { url: 'http://[::1]:3001/mcp', timeoutMs: 800 },
  public: { url: 'https://crm.example.com/mcp', timeoutMs: 30_000, limits: { maxConcurrent: 50 } },
  private: {
    url: 'https://10.0.0.7:8443/mcp',
    tls: { serverName: 'mcp.internal' },
    limits: { circuitBreaker: { consecutiveErrors: 5, openForMs: 30_000 } },
  },
  careless: { url: 'https://dev.internal/mcp', tls: { insecure: true } },
  off: { url: 'http://127.0.0.1:3002/mcp', enabled: false },
};
const input = context('/run/sallyport', {
  listenerTls: { certPem: 'CERTIFICATE', keyPem: 'PRIVATE', clientCaPem: 'CLIENTS' },
  publicRootsPem: { inline: 'ROOTS' },
  connectionTls: new Map([['private', { caPem: 'CA', certPem: 'CLIENT CERTIFICATE', keyPem: 'CLIENT KEY' }]]),
});

// The file is the specification: read its diff when this fails, and write it anew with UPDATE_GOLDEN=1.
t.test('a revision compiles to exactly these resources', (t) => {
  const golden = join(packageRoot, 'test', 'xds', 'compile.golden.json');
  const actual = dumpXds(compileXds(revision(connections), input));
  if (process.env.UPDATE_GOLDEN === '1') writeFileSync(golden, `${JSON.stringify(actual, null, 2)}\n`);
  t.same(actual, JSON.parse(readFileSync(golden, 'utf8')));
  t.end();
});

t.test('equal revisions have equal versions, resource by resource', (t) => {
  const first = compileXds(revision(connections), input);
  const again = compileXds(revision(connections), input);
  t.equal(first.version, again.version);
  const changed = compileXds(revision({ ...connections, plain: { ...connections.plain, timeoutMs: 1 } }), input);
  t.not(changed.version, first.version);
  const differing = (kind: 'clusters' | 'routes' | 'listeners' | 'secrets') =>
    [...first[kind].values()]
      .filter(({ name, version }) => changed[kind].get(name)?.version !== version)
      .map(({ name }) => name);
  t.same(differing('clusters'), ['default/plain'], 'connect_timeout is never longer than the call');
  t.same([differing('routes'), differing('listeners'), differing('secrets')], [['mcp'], [], []]);
  t.end();
});

t.test('no private key is shown', (t) => {
  const shown = JSON.stringify(dumpXds(compileXds(revision(connections), input)));
  t.notMatch(shown, /PRIVATE|CLIENT KEY/);
  t.match(shown, /\[REDACTED\]/);
  t.end();
});

t.test('between two revisions both serve; the newer one wins where they differ', (t) => {
  const before = compileXds(revision({ a: { url: 'http://h/1' }, b: { url: 'http://h/1', timeoutMs: 1_000 } }), input);
  const after = compileXds(revision({ b: { url: 'http://h/1', timeoutMs: 2_000 }, c: { url: 'http://h/1' } }), input);
  const both = withPrevious(after, before);
  t.same([...both.clusters.keys()].sort(), ['default/a', 'default/b', 'default/c']);
  t.same(routesOf(both.routes.get('mcp')), [
    'event-streams',
    'sse-messages',
    'no-route-header',
    'edge',
    'relay',
    'default/b',
    'default/c',
    'default/a',
    'no-such-route',
  ]);
  t.match(JSON.stringify(both.routes.get('mcp')?.plain), /"default\/b","timeout":"2s"/);
  t.equal(withPrevious(after, after).version, after.version, 'nothing to keep, nothing changes');
  t.end();
});

t.test('what Envoy would refuse is refused here, with its place', (t) => {
  const huge = compile({ a: { url: 'http://h/', timeoutMs: 1_000, limits: { maxConcurrent: -1 } } });
  t.throws(
    huge,
    new WireError(
      'Cluster[default/a].circuit_breakers.thresholds[0].max_pending_requests',
      'must be a whole number from 0 to 4294967295',
    ),
  );
  t.throws(
    compile({ a: { url: 'http://h/', timeoutMs: 0 } }),
    new WireError('Cluster[default/a].connect_timeout', 'must be longer than 0s'),
  );
  t.throws(
    () => compileXds(revision({}), { ...input, mcpPort: 70_000 }),
    new WireError('Listener[mcp/127.0.0.1:70000].address.socket_address.port_value', 'must be at most 65535'),
  );
  t.end();
});

t.test('a thousand connections compile in well under a second', (t) => {
  const many = Object.fromEntries(Array.from({ length: 1_000 }, (_, index) => [`c${index}`, connections.public]));
  const document = revision(many);
  compileXds(document, input);
  const started = performance.now();
  compileXds(document, input);
  const took = performance.now() - started;
  t.comment(`${took.toFixed(0)} ms`);
  t.ok(took < 1_000);
  t.end();
});

function compile(written: Parameters<typeof revision>[0]): () => unknown {
  return () => compileXds(revision(written), input);
}

function routesOf(resource: XdsResource | undefined): string[] {
  const hosts = (resource?.plain.virtual_hosts ?? []) as { routes: { name: string }[] }[];
  return hosts.flatMap(({ routes }) => routes).map(({ name }) => name);
}
