import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, type RequestOptions, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import { eventually } from '../support/eventually.ts';
import { startGateway } from '../support/gateway.ts';
import { openSession, textOf } from '../support/mcp.ts';
import { startUpstream } from '../support/upstream.ts';
import { createCa } from '../xds/certificates.ts';

function directoryFor(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'sp-tls-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** One ping over TLS; the answer's text and the serial number of the certificate that was shown. */
function ping(url: string, key: string, ca: string): Promise<{ status: number; text: string; serial: string }> {
  const options: RequestOptions = {
    method: 'POST',
    ca,
    agent: new Agent({ keepAlive: false, maxCachedSessions: 0 }),
    headers: { 'content-type': 'application/json', accept: 'application/json', authorization: `Bearer ${key}` },
  };
  return new Promise((resolve, reject) => {
    const outgoing = request(url, options, (response) => {
      const serial = (response.socket as TLSSocket).getPeerCertificate().serialNumber;
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text, serial }));
    });
    outgoing.on('error', reject);
    outgoing.end('{"jsonrpc":"2.0","id":1,"method":"ping"}');
  });
}

t.test('the listener speaks TLS, and takes a new certificate when the files change', async (t) => {
  const directory = directoryFor(t);
  const ca = createCa('Test CA');
  const issue = (): void => {
    const { certPem, keyPem } = ca.issue('localhost', ['IP:127.0.0.1', 'DNS:localhost']);
    writeFileSync(join(directory, 'tls.crt'), certPem);
    writeFileSync(join(directory, 'tls.key'), keyPem);
  };
  issue();
  const gateway = await startGateway(t, {
    config: `listener: { tls: { cert: "${directory}/tls.crt", key: "${directory}/tls.key" } }`,
  });
  t.match(gateway.mcpUrl, /^https:/);
  const first = await ping(gateway.mcpUrl, gateway.key, ca.certPem);
  t.match(first, { status: 200, text: '{"jsonrpc":"2.0","id":1,"result":{}}' });
  await t.rejects(
    ping(gateway.mcpUrl, gateway.key, createCa('Another CA').certPem),
    'a stranger to the authority is not trusted',
  );

  issue();
  await eventually(async () => (await ping(gateway.mcpUrl, gateway.key, ca.certPem)).serial !== first.serial, 10_000);
  t.pass('the new certificate is shown without a restart');

  // A broken pair is not taken: the good one keeps serving, and the operator is told.
  writeFileSync(join(directory, 'tls.key'), 'not a key');
  await eventually(async () => {
    const { json } = await gateway.admin<{ checks: { ok: boolean; detail: string }[] }>('GET', 'doctor');
    return json.checks.some((check) => !check.ok && /tls/.test(JSON.stringify(check)));
  }, 10_000);
  t.equal((await ping(gateway.mcpUrl, gateway.key, ca.certPem)).status, 200);
});

t.test('https upstreams: public roots, a private authority, and names that must match', async (t) => {
  const directory = directoryFor(t);
  const [publicCa, privateCa] = [createCa('Public CA'), createCa('Private CA')];
  const good = (ca: typeof publicCa) => {
    const { certPem, keyPem } = ca.issue('upstream', ['IP:127.0.0.1', 'DNS:up.example']);
    return { cert: certPem, key: keyPem };
  };
  const wrong = privateCa.issue('other', ['DNS:other.example']);
  const [roots, own, mismatch] = await Promise.all([
    startUpstream(t, {}, good(publicCa)),
    startUpstream(t, {}, good(privateCa)),
    startUpstream(t, {}, { cert: wrong.certPem, key: wrong.keyPem }),
  ]);
  writeFileSync(join(directory, 'roots.pem'), publicCa.certPem);
  writeFileSync(join(directory, 'private.pem'), privateCa.certPem);
  const ca = `tls: { ca: "${directory}/private.pem" }`;
  const gateway = await startGateway(t, {
    env: { SSL_CERT_FILE: join(directory, 'roots.pem') },
    config: `
connections:
  roots: { url: "${roots.url}" }
  own: { url: "${own.url}", ${ca} }
  untrusted: { url: "${own.url}" }
  mismatch: { url: "${mismatch.url}", ${ca} }
  named: { url: "${mismatch.url}", tls: { ca: "${directory}/private.pem", serverName: other.example } }
  careless: { url: "${mismatch.url}", tls: { insecure: true } }
`,
  });
  const reachable = ['roots', 'own', 'named', 'careless'];
  await Promise.all(reachable.map((name) => gateway.ready(name)));
  const session = await openSession(gateway.mcpUrl, gateway.key);
  await eventually(async () => (await session.tools()).length === reachable.length);
  for (const name of reachable) t.equal(textOf(await session.call(`${name}__echo`, '{"x":1}')), '{"x":1}', name);
  for (const name of ['untrusted', 'mismatch']) {
    const status = await eventually(async () => {
      const { json } = await gateway.admin<{ state: string; lastError: string }>('GET', `connections/${name}/status`);
      return json.state === 'unavailable' && json;
    });
    t.match(status.lastError, /TLS|certificate|verify/i, `${name}: ${status.lastError}`);
  }
  t.notOk(mismatch.arrivals.some((arrival) => arrival.headers.host?.includes('untrusted')));
});
