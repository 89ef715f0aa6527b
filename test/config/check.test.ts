import t from 'tap';
import type { ConnectionConfig } from '../../src/config/document.ts';
import { resolveDocument, resolveSecrets } from '../../src/config/resolve.ts';
import { connectionSchema, DEFAULT_SETTINGS, namespaceSchema, personaSchema } from '../../src/config/schema.ts';
import { checkRevision } from '../../src/snapshot/check.ts';
import type { RevisionDocument, TenantRevision } from '../../src/snapshot/revision.ts';
import { createCa, ec, selfSigned } from '../xds/certificates.ts';

const connection = (name: string, config: object = {}) => ({
  id: name,
  name,
  config: connectionSchema.parse({ url: 'https://a/mcp', ...config }),
  credentialId: null,
});
const namespace = (name: string, connections: string[]) => ({ name, ...namespaceSchema.parse({ connections }) });
const persona = (name: string, config: object) => ({ name, ...personaSchema.parse(config) });

function revision(tenant: Partial<TenantRevision>): RevisionDocument {
  const empty = { id: 'default', connections: [], namespaces: [], personas: [] };
  return { settings: DEFAULT_SETTINGS, tenants: [{ ...empty, ...tenant }] };
}

/** `path: message` of every problem. */
const problemsOf = (tenant: Partial<TenantRevision>): string[] =>
  checkRevision(revision(tenant)).map(({ path, message }) => `${path}: ${message}`);

t.test('a sound revision has no problems; patterns may match nothing yet', async (t) => {
  const sound = {
    connections: [connection('crm'), connection('a.b', { url: 'http://127.0.0.1:1' })],
    namespaces: [namespace('default', ['crm', 'a.b', 'later-*'])],
    personas: [persona('analyst', { roles: ['analyst'] }), persona('ann', { subjects: ['ann'] })],
  };
  t.same(problemsOf(sound), []);
});

t.test('names that clash, are reserved, or refer to nothing', async (t) => {
  t.same(problemsOf({ connections: [connection('crm'), connection('crm')] }), ['connections.crm: is there twice']);
  t.same(problemsOf({ connections: [connection('sallyport')] }), [
    'connections.sallyport: "sallyport" is reserved: names that begin with "sallyport" belong to the gateway',
  ]);
  t.same(problemsOf({ namespaces: [namespace('mcp', [])] }), [
    'namespaces.mcp: "mcp" is reserved: that path means something else',
  ]);
  t.same(problemsOf({ namespaces: [namespace('a.b', ['x', 'crm'])], connections: [connection('crm')] }), [
    'namespaces["a.b"].connections[0]: there is no connection named "x"',
  ]);
  t.same(problemsOf({ personas: [persona('nobody', { tools: { allow: ['*'] } })] }), [
    'personas.nobody: needs "roles" or "subjects": nobody could ever have it',
  ]);
  t.same(problemsOf({ id: 'acme', namespaces: [namespace('default', ['x'])] }), [
    'tenants.acme.namespaces.default.connections[0]: there is no connection named "x"',
  ]);
  const many = Array.from({ length: 2001 }, (_, i) => connection(`c${i}`));
  t.same(problemsOf({ connections: many }), ['connections: 2001 connections are too many: at most 2000']);
});

t.test('certificates that cannot work are found before Envoy refuses them', async (t) => {
  const ca = createCa('test CA');
  const [one, other] = [ca.issue('one', ['DNS:one']), ca.issue('other', ['DNS:other'])];
  const tls = (config: object) => problemsOf({ connections: [connection('a', { tls: config })] });
  t.same(tls({ ca: ca.certPem + one.certPem, cert: one.certPem, key: one.keyPem }), []);
  t.same(tls({ cert: one.certPem, key: '[REDACTED]' }), [], 'a stored revision has no key to compare');
  t.same(tls({ ca: 'nonsense' }), ['connections.a.tls.ca: holds no PEM certificate (-----BEGIN CERTIFICATE-----…)']);
  const damaged = ca.certPem.replace(/\n[A-Za-z0-9+/]{20}/, '\nAAAAAAAAAAAAAAAAAAAA');
  t.same(tls({ ca: one.certPem + damaged }), [
    'connections.a.tls.ca: certificate 2 of 2 cannot be read: it is damaged or not a certificate',
  ]);
  t.same(tls({ cert: one.certPem, key: other.keyPem }), [
    'connections.a.tls.key: does not belong to the certificate in "cert"',
  ]);
  t.same(tls({ cert: one.certPem, key: 'nonsense' }), ['connections.a.tls.key: is not a PEM private key']);
  t.same(problemsOf({ connections: [connection('a', { url: 'http://a', tls: { insecure: true } })] }), [
    'connections.a.tls: has no effect on an http:// URL: use https:// or remove "tls"',
  ]);
});

t.test('keys of a kind that Envoy refuses are found before it does', async (t) => {
  const faults = (kind: string[]) => {
    const { certPem, keyPem } = selfSigned(kind);
    return problemsOf({ connections: [connection('a', { tls: { ca: certPem, cert: certPem, key: keyPem } })] });
  };
  const wanted = 'use RSA of at least 2048 bits, EC on P-256, P-384, P-521, or Ed25519';
  const refused = (message: string) => [`connections.a.tls.cert: ${message}: ${wanted}`];
  for (const kind of [['-newkey', 'rsa:2048'], ec('P-256'), ec('P-384'), ec('P-521'), ['-newkey', 'ed25519']])
    t.same(faults(kind), [], kind.join(' '));
  t.same(faults(['-newkey', 'rsa:1024']), refused('has an RSA key of 1024 bits, which Envoy refuses'));
  t.same(faults(ec('secp256k1')), refused('has an EC key on secp256k1, which Envoy refuses'));
  t.same(faults(ec('P-224')), refused('has an EC key on secp224r1, which Envoy refuses'));
  t.same(faults(['-newkey', 'ed448']), refused('has a key of type ed448, which Envoy cannot use'));
  t.same(faults(['-newkey', 'rsa-pss']), refused('has a key of type rsa-pss, which Envoy cannot use'));
});

t.test('references are resolved with all that is missing told at once, and no secret in the telling', async (t) => {
  const file = (path: string) => {
    if (path === '/key') return 'from-file\n';
    throw Object.assign(new Error('no'), { code: 'ENOENT' });
  };
  const env = { TOKEN: 'from-env', EMPTY: '', LINES: 'a\nb', EURO: '5€', SHORT: 'short' };
  const one = (config: object): ConnectionConfig => connectionSchema.parse({ url: 'http://a', ...config });
  const sources = { env, readFile: file };

  const good = resolveSecrets(
    one({ auth: { type: 'basic', username: 'u', password: { file: '/key' } }, headers: { a: { env: 'TOKEN' } } }),
    sources,
  );
  t.match(good, {
    value: {
      auth: { password: { value: 'from-file', ref: { file: '/key' } } },
      headers: { a: { value: 'from-env', ref: { env: 'TOKEN' } } },
    },
  });

  const bad = one({
    auth: { type: 'bearer', token: { env: 'NOPE' } },
    headers: { a: { env: 'EMPTY' }, b: { file: '/nope' }, c: { env: 'LINES' }, d: { env: 'EURO' } },
    tls: { ca: '/nope.pem' },
  });
  t.same(resolveSecrets(bad, sources, ['connections', 'x']), {
    problems: [
      { path: 'connections.x.headers.a', message: 'environment variable EMPTY is empty' },
      { path: 'connections.x.headers.b', message: 'cannot read /nope: ENOENT' },
      { path: 'connections.x.headers.c', message: 'must not contain line breaks or control characters' },
      {
        path: 'connections.x.headers.d',
        message: 'must be printable ASCII: no other character can be sent in a header',
      },
      { path: 'connections.x.auth.token', message: 'environment variable NOPE is not set' },
      { path: 'connections.x.tls.ca', message: 'cannot read /nope.pem: ENOENT' },
    ],
  });

  const passwords = one({ auth: { type: 'basic', username: 'ü', password: { env: 'EURO' } } });
  t.match(resolveSecrets(passwords, sources), { value: { auth: { password: { value: '5€' } } } }, 'sent encoded');

  // The admin API reads no files: whoever has the admin token need not have the machine.
  const remote = resolveSecrets(one({ auth: { type: 'bearer', token: { file: '/key' } }, tls: { ca: '/ca.pem' } }), {
    env,
  });
  t.match(remote, {
    problems: [
      { path: 'auth.token', message: /files are read only where/ },
      { path: 'tls.ca', message: /must be PEM text/ },
    ],
  });
  const keys = resolveDocument({ apiKeys: [{ name: 'ci', key: { env: 'SHORT' }, roles: ['a'] }] }, sources);
  t.same(keys, { problems: [{ path: 'identity.apiKeys[0].key', message: 'must have at least 16 characters' }] });
});
