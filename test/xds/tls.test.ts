import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import t from 'tap';
import { compileXds, type XdsContext } from '../../src/xds/compile.ts';
import { publicRoots } from '../../src/xds/secrets.ts';
import { eventually } from '../support/eventually.ts';
import { createCa } from './certificates.ts';
import { startEnvoy } from './envoy.ts';
import { freePort, send, startUpstream } from './http.ts';
import { startProcessor } from './processor.ts';
import { context, revision } from './revision.ts';

t.test('TLS through a real Envoy', async (t) => {
  const envoy = await startEnvoy();
  t.teardown(() => envoy.stop());
  const processor = await startProcessor(envoy.sockets.processor(0));
  t.teardown(() => processor.stop());
  const port = await freePort();
  const publish = async (connections: Parameters<typeof revision>[0], more: Partial<XdsContext> = {}) => {
    const resources = compileXds(revision(connections), context(envoy.directory, { mcpPort: port, ...more }));
    envoy.ads.publish(resources);
    return envoy.ads.acked(resources.version, 5_000, 1);
  };

  await t.test('the listener certificate comes by SDS and is replaced without touching the listener', async (t) => {
    const ca = createCa('listener CA');
    const [first, second] = [ca.issue('first', ['IP:127.0.0.1']), ca.issue('second', ['IP:127.0.0.1'])];
    const upstream = await startUpstream();
    t.teardown(() => upstream.stop());
    const connections = { up: { url: `http://127.0.0.1:${upstream.port}/mcp` } };
    t.same((await publish(connections, { listenerTls: first })).rejections, []);

    const agent = new Agent({ keepAlive: true, maxSockets: 1, ca: ca.certPem });
    t.teardown(() => agent.destroy());
    const overOne = () =>
      new Promise<{ status: number; local: number | undefined; subject: unknown }>((resolve, reject) => {
        const headers = { 'x-test': 'route=default/up' };
        const outgoing = request({ host: '127.0.0.1', port, agent, headers }, (response) => {
          const socket = response.socket as TLSSocket;
          const seen = {
            status: response.statusCode ?? 0,
            local: socket.localPort,
            subject: socket.getPeerCertificate().subject.CN,
          };
          response.resume().on('end', () => resolve(seen));
        });
        outgoing.on('error', reject).end();
      });
    const before = await overOne();
    t.match(before, { status: 200, subject: 'first' });

    t.same((await publish(connections, { listenerTls: second })).late, []);
    t.match(await overOne(), { status: 200, local: before.local }, 'the open connection lives on');
    await eventually(async () => {
      agent.destroy();
      return (await overOne()).subject === 'second';
    });
    t.match(await envoy.admin('/stats?filter=listener_manager.listener_modified$'), /listener_modified: 0/);

    await t.rejects(send({ port }), 'plain HTTP is not answered');
    agent.destroy();
  });

  await t.test('clientCa: only clients with a certificate of it connect', async (t) => {
    const [ca, clients, others] = [createCa('listener CA'), createCa('clients'), createCa('others')];
    const listenerTls = { ...ca.issue('listener', ['IP:127.0.0.1']), clientCaPem: clients.certPem };
    t.same((await publish({}, { listenerTls })).rejections, []);
    const as = (client?: { certPem: string; keyPem: string }) =>
      send({ port, tls: { ca: ca.certPem, ...(client && { cert: client.certPem, key: client.keyPem }) } });
    t.equal((await as(clients.issue('agent', ['URI:spiffe://x/agent']))).status, 404);
    await t.rejects(as());
    await t.rejects(as(others.issue('agent', ['URI:spiffe://x/agent'])));
  });

  await t.test('upstreams', async (t) => {
    const [ca, other] = [createCa('private CA'), createCa('other CA')];
    const localhost = await startUpstream({ ...pair(ca.issue('up', ['DNS:localhost'])) });
    const wildcard = await startUpstream({ ...pair(ca.issue('up', ['DNS:*.example.test'])) });
    const byIp = await startUpstream({ ...pair(ca.issue('up', ['IP:127.0.0.1'])) });
    const mutual = await startUpstream({
      ...pair(ca.issue('up', ['DNS:localhost'])),
      ca: ca.certPem,
      requestCert: true,
      rejectUnauthorized: true,
    });
    for (const upstream of [localhost, wildcard, byIp, mutual]) t.teardown(() => upstream.stop());
    const trusted = { caPem: ca.certPem };
    const [client, stranger] = [ca.issue('gateway', ['DNS:gateway']), other.issue('gateway', ['DNS:gateway'])];
    const at = (host: string, upstream: { port: number }) => `https://${host}:${upstream.port}/mcp`;

    // Connection → what is expected of a call.
    const cases = {
      'private-ca': { url: at('localhost', localhost), tlsIn: trusted, ok: true },
      'other-ca': { url: at('localhost', localhost), tlsIn: { caPem: other.certPem }, ok: false },
      'not-public': { url: at('localhost', byIp), tlsIn: {}, ok: false },
      'wrong-name': { url: at('localhost', wildcard), tlsIn: trusted, ok: false },
      'server-name': {
        url: at('localhost', wildcard),
        tlsIn: trusted,
        tls: { serverName: 'mcp.example.test' },
        ok: true,
      },
      'ip-san': { url: at('127.0.0.1', byIp), tlsIn: trusted, ok: true },
      'ip-without-san': { url: at('127.0.0.1', localhost), tlsIn: trusted, ok: false },
      insecure: { url: at('127.0.0.1', wildcard), tlsIn: {}, tls: { insecure: true }, ok: true },
      'client-certificate': { url: at('localhost', mutual), tlsIn: { ...trusted, ...client }, ok: true },
      'no-client-certificate': { url: at('localhost', mutual), tlsIn: trusted, ok: false },
      'wrong-client-certificate': { url: at('localhost', mutual), tlsIn: { ...trusted, ...stranger }, ok: false },
    };
    const connections = Object.fromEntries(
      Object.entries(cases).map(([name, { url, ...rest }]) => [name, { url, ...('tls' in rest && { tls: rest.tls }) }]),
    );
    const connectionTls = new Map(Object.entries(cases).map(([name, { tlsIn }]) => [name, tlsIn]));
    const publicRootsPem = publicRoots(fileWith(t, createCa('the public').certPem));
    t.same(await publish(connections, { connectionTls, publicRootsPem }), {
      nodes: ['test'],
      late: [],
      rejections: [],
    });
    for (const [name, { ok }] of Object.entries(cases)) {
      const { status, body } = await send({ port, headers: { 'x-test': `route=default/${name}` } });
      t.equal(status, ok ? 200 : 503, `${name}: ${body.slice(0, 90)}`);
    }
    t.ok(
      processor.responses.some((seen) => /CERTIFICATE_VERIFY_FAILED/.test(seen['x-sallyport-local-reply'] ?? '')),
      'the processor learns why',
    );

    await t.test('public roots are those of SSL_CERT_FILE, and change without touching the cluster', async (t) => {
      const publicCa = publicRoots(fileWith(t, `# comment\n${other.certPem}\n${ca.certPem}`));
      await publish(connections, { connectionTls, publicRootsPem: publicCa });
      const { status } = await send({ port, headers: { 'x-test': 'route=default/not-public' } });
      t.equal(status, 503, 'trusted now, but for another name');
      const named = { url: at('127.0.0.1', byIp) };
      await publish({ named }, { publicRootsPem: publicCa });
      t.equal((await send({ port, headers: { 'x-test': 'route=default/named' } })).status, 200);
    });
  });
});

t.test('the trusted roots of this machine are found', (t) => {
  const roots = publicRoots();
  t.match('inline' in roots && roots.inline, /BEGIN CERTIFICATE/);
  t.throws(() => publicRoots('/nowhere/ca.pem'), /\/nowhere\/ca\.pem cannot be read.*SSL_CERT_FILE/);
  t.end();
});

const pair = ({ certPem, keyPem }: { certPem: string; keyPem: string }) => ({ cert: certPem, key: keyPem });

function fileWith(t: { teardown(work: () => void): void }, text: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'sp-roots-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const file = join(directory, 'roots.pem');
  writeFileSync(file, text);
  return file;
}
