import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { createVault } from '../../src/credentials/vault.ts';
import { eventually } from '../support/eventually.ts';
import { startPostgres } from '../support/postgres.ts';
import { controlPlane, SECRET_KEY } from './harness.ts';

const postgres = await startPostgres();
const directory = mkdtempSync(join(tmpdir(), 'sp-start-'));
t.teardown(async () => {
  await postgres.stop();
  rmSync(directory, { recursive: true, force: true });
});
const file = (name: string, text: string) => {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
};
const fresh = () => postgres.createDatabase({ migrated: false });
const names = (answer: { body: { items: { name: string }[] } }) => answer.body.items.map(({ name }) => name);

t.test('the demo is there the first time, follows its port, and stays away once removed', async (t) => {
  const plane = await controlPlane(await fresh(), { demoUrl: 'http://127.0.0.1:1001/mcp' });
  t.teardown(() => plane.stop());
  t.match((await plane.call('GET', '/connections')).body.items, [
    { name: 'demo', owner: 'demo', url: 'http://127.0.0.1:1001/mcp' },
  ]);
  t.match(plane.messages, [{ type: 'ready', firstKey: /^sp_/ }]);

  await plane.restart({ demoUrl: 'http://127.0.0.1:1002/mcp' });
  t.match((await plane.call('GET', '/connections/demo')).body, { url: 'http://127.0.0.1:1002/mcp', version: 2 });
  const last = plane.messages.at(-1);
  t.equal(last?.type, 'ready');
  t.notOk(last !== undefined && 'firstKey' in last, 'no second first key');
  t.equal((await plane.call('GET', '/config/revisions')).body.items.length, 2);
  await plane.restart({ demoUrl: 'http://127.0.0.1:1002/mcp' });
  t.equal(
    (await plane.call('GET', '/config/revisions')).body.items.length,
    2,
    'a restart that changes nothing is no revision',
  );

  await plane.call('PATCH', '/connections/demo', { description: 'mine now' });
  await plane.restart();
  t.match((await plane.call('GET', '/connections/demo')).body, { owner: 'api' }, 'edited, it is the operator’s');
  await plane.call('DELETE', '/connections/demo');
  await plane.restart({ demoUrl: 'http://127.0.0.1:1003/mcp' });
  t.strictSame(names(await plane.call('GET', '/connections')), []);
});

t.test('files own what they say: the API refuses to edit it, and what vanishes from them goes', async (t) => {
  const config = file(
    'owner.yaml',
    'connections: { one: { url: "http://127.0.0.1:1/mcp" }, two: { url: "http://127.0.0.1:1/mcp", auth: { type: bearer, token: { env: TOKEN } } } }\npersonas: { p: { roles: [r], tools: { allow: ["*"] } } }\n',
  );
  const mcpConfig = file(
    'mcp.json',
    '{ "mcpServers": { "three": { "url": "http://127.0.0.1:1/mcp", "headers": { "x-team": "blue" } } } }',
  );
  const env = { TOKEN: 'token-from-env' };
  const plane = await controlPlane(await fresh(), { files: { config, mcpConfig }, env });
  t.teardown(() => plane.stop());
  t.strictSame(names(await plane.call('GET', '/connections')), ['one', 'three', 'two']);
  t.strictSame(
    names(await plane.call('GET', '/keys')),
    [],
    'with personas of their own, a key for "admin" would mean nothing',
  );
  for (const [method, path, body] of [
    ['DELETE', '/connections/one'],
    ['PATCH', '/connections/two', { timeout: '1s' }],
    ['PUT', '/personas/p', { roles: ['x'] }],
    ['POST', '/config/apply', { personas: { p: { roles: ['other'] } } }],
  ] as const) {
    const answer = await plane.call(method, path, body);
    t.equal(answer.status, 409);
    t.match(answer.body.title, 'Owned by a configuration file');
  }
  const exported = (await plane.call('GET', '/config/export')).body;
  t.match(exported.connections.two.auth.token, { env: 'TOKEN' });
  t.strictSame(
    (
      await plane.call('POST', '/config/apply', {
        ...exported,
        connections: { ...exported.connections, mine: { url: 'http://127.0.0.1:1/' } },
      })
    ).status,
    200,
    'repeating what a file says is no edit',
  );

  writeFileSync(config, 'connections: { one: { url: "http://127.0.0.1:2/mcp" } }\n');
  await eventually(async () => names(await plane.call('GET', '/connections')).join() === 'mine,one,three');
  t.match((await plane.call('GET', '/connections/one')).body, { url: 'http://127.0.0.1:2/mcp' });
  t.strictSame(names(await plane.call('GET', '/personas')), ['admin']);

  writeFileSync(config, 'connections: { one: { ulr: "x" } }\n');
  const finding = async () =>
    (await plane.call('GET', '/doctor')).body.checks.find(
      (one: { name: string }) => one.name === 'configuration files',
    );
  await eventually(async () => !(await finding()).ok);
  t.match((await finding()).detail, /owner\.yaml:1:\d+: connections\.one/);
  t.match(
    (await plane.call('GET', '/connections/one')).body,
    { url: 'http://127.0.0.1:2/mcp' },
    'the last good state stays',
  );

  await plane.restart({ files: {} });
  t.match(
    (await plane.call('GET', '/connections')).body.items,
    [{ owner: 'api' }, { owner: 'api' }, { owner: 'api' }],
    'without files the rows are released',
  );
});

t.test('a start with files that cannot be used names file, line and column, and changes nothing', async (t) => {
  const url = await fresh();
  const bad = async (text: string, expected: RegExp) =>
    t.rejects(controlPlane(url, { files: { config: file('bad.yaml', text) } }), {
      name: 'ConfigFileError',
      message: expected,
    });
  await bad('connections:\n  a: { url: "http://x/", tiemout: 3s }\n', /bad\.yaml:2:\d+: connections\.a.*timeout/s);
  await bad('connections: [', /bad\.yaml:\d+:\d+/);
  await bad(
    'namespaces: { n: { connections: [nowhere] } }',
    /bad\.yaml: namespaces\.n\.connections\[0\]: there is no connection named "nowhere"/,
  );
  await bad(
    'connections: { a: { url: "https://x/", auth: { type: bearer, token: { env: UNSET } } } }',
    /connections\.a\.auth\.token: environment variable UNSET is not set/,
  );
  await t.rejects(controlPlane(url, { files: { config: '/nonexistent.yaml' } }), {
    message: /nonexistent\.yaml: cannot be read \(ENOENT\)/,
  });
  await t.rejects(controlPlane(url, { secretKey: 'short' }), { name: 'VaultError' });
  const plane = await controlPlane(url);
  t.strictSame(names(await plane.call('GET', '/connections')), []);
  t.strictSame((await plane.call('GET', '/config/revisions')).body.items.length, 1);
  await plane.stop();
});

t.test('what it cannot start without is told: a port in use, a newer schema', async (t) => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  const { port } = taken.address() as AddressInfo;
  await t.rejects(controlPlane(await fresh(), { adminPort: port }), {
    message: new RegExp(`Port ${port} .*in use.*--admin-port`),
  });
  taken.close();
  const plane = await controlPlane(await fresh());
  await plane.database.pool.query(`insert into schema_migrations (name, timestamp) values ('000999', now()::text)`);
  await t.rejects(plane.restart(), { message: /000999/ });
  await plane.stop();
});

t.test('a new secret key in front seals everything anew; then the old one can go', async (t) => {
  const plane = await controlPlane(await fresh());
  t.teardown(() => plane.stop());
  await plane.call('PUT', '/connections/crm', {
    url: 'http://127.0.0.1:1/',
    auth: { type: 'bearer', token: 'rotate-me' },
  });
  const newer = '22'.repeat(32);
  const keyIds = async () =>
    (await plane.database.pool.query('select key_id from credentials')).rows.map((row) => row.key_id);
  await plane.restart({ secretKey: newer });
  const finding = async () =>
    (await plane.call('GET', '/doctor')).body.checks.find((one: { name: string }) => one.name === 'secret key');
  t.match(await finding(), { ok: false, detail: /crm/ }, 'the wrong key alone loses nothing and says so');
  t.strictSame(await keyIds(), [createVault(SECRET_KEY).keyId]);
  await plane.restart({ secretKey: `${newer},${SECRET_KEY}` });
  t.strictSame(await keyIds(), [createVault(newer).keyId]);
  await plane.restart({ secretKey: newer });
  t.match(await finding(), { ok: true });
  t.equal((await plane.call('GET', '/config/revisions')).body.items.length, 2, 'rotation is no revision');
});

t.test('a renewed listener certificate is published without a revision; a broken one is not', async (t) => {
  const certificate = (name: string) => {
    const [key, cert] = [join(directory, `${name}.key`), join(directory, `${name}.crt`)];
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:prime256v1',
        '-nodes',
        '-keyout',
        key,
        '-out',
        cert,
        '-days',
        '2',
        '-subj',
        `/CN=${name}`,
      ],
      { stdio: 'ignore' },
    );
    return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') };
  };
  const [first, second] = [certificate('first'), certificate('second')];
  const cert = file('tls.crt', first.cert);
  const key = file('tls.key', first.key);
  const config = file('tls.yaml', 'listener: { tls: { cert: ./tls.crt, key: ./tls.key } }\n');
  const plane = await controlPlane(await fresh(), { files: { config } });
  t.teardown(() => plane.stop());
  const served = async () => {
    const { resources } = (await plane.call('GET', '/xds')).body;
    return resources.secrets.find((secret: { name: string }) => secret.name === 'listener').tls_certificate;
  };
  t.match(await served(), { certificate_chain: { inline_string: first.cert }, private_key: '[REDACTED]' });
  const revisions = (await plane.call('GET', '/config/revisions')).body.items.length;

  writeFileSync(cert, second.cert);
  const finding = async () =>
    (await plane.call('GET', '/doctor')).body.checks.find((one: { name: string }) => one.name === 'revision');
  await eventually(async () => /tls\.key does not belong to the certificate/.test((await finding()).detail));
  t.equal((await served()).certificate_chain.inline_string, first.cert, 'a certificate without its key is not served');
  writeFileSync(key, second.key);
  await eventually(async () => (await served()).certificate_chain.inline_string === second.cert);
  t.match(await finding(), { ok: true });
  t.equal((await plane.call('GET', '/config/revisions')).body.items.length, revisions);

  rmSync(cert);
  await plane.restart({ files: {} });
  t.match(
    await finding(),
    { ok: false, detail: /tls\.crt cannot be read/ },
    'without its certificate it starts, and says so',
  );
  writeFileSync(cert, second.cert);
  await eventually(async () => (await finding()).ok);
  await plane.restart();
  const refused = await plane.call('POST', '/config/apply', { listener: { tls: { cert: '/nonexistent.crt', key } } });
  t.equal(refused.status, 409, 'and settings of a file are the file’s');
});
