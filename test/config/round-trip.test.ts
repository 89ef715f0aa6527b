import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv } from 'ajv';
import fc from 'fast-check';
import t from 'tap';
import { parse } from 'yaml';
import { parseConnectionBody, parseDocumentBody } from '../../src/config/bodies.ts';
import { diffDocuments, renderChanges } from '../../src/config/diff.ts';
import type { ConfigDocument, ConnectionConfig, SecretInput } from '../../src/config/document.ts';
import { formatDuration, parseDuration } from '../../src/config/duration.ts';
import { toExport, toYaml } from '../../src/config/export.ts';
import { parseConfigFile } from '../../src/config/file.ts';
import { configJsonSchema } from '../../src/config/json-schema.ts';
import { DEFAULT_SETTINGS } from '../../src/config/schema.ts';
import { joinSecrets, mapSecrets, splitSecrets, type WithSecrets } from '../../src/config/secrets.ts';
import { writtenConnection, writtenDocument } from '../../src/config/written.ts';
import { packageRoot } from '../../src/package-root.ts';
import { rule, sources } from './arbitraries.ts';

const name = fc
  .stringMatching(/^[a-z0-9][a-z0-9.-]{0,20}[a-z0-9]$/)
  .filter((text) => !/^(sallyport|mcp$|oauth$)/.test(text));
const oneWord = fc.stringMatching(/^[A-Za-z0-9:/#${}"'é-]{1,20}$/);
const pattern = fc.stringMatching(/^[A-Za-z0-9_.*?-]{1,20}$/);
const text = fc.string({ unit: 'grapheme', maxLength: 40 });
const milliseconds = fc.integer({ min: 1000, max: 86_400_000 });
/** References only: what is written out is exported as [REDACTED], which is tested apart. */
const reference: fc.Arbitrary<SecretInput> = fc.oneof(
  fc.record({ env: fc.constantFrom('TOKEN', 'OTHER_TOKEN') }),
  fc.record({ file: fc.stringMatching(/^\/[a-z$ {}]{1,20}[a-z]$/) }),
  fc.constant({ template: `Bearer \${TOKEN}` }),
  fc.constant('[REDACTED]'),
);
const headers = fc.dictionary(
  fc
    .stringMatching(/^x-[a-z]{1,10}$/)
    .filter((header) => !/auth|token|key|secret|cookie|passw|credential|signature|sallyport|envoy/.test(header)),
  fc.oneof(reference, fc.stringMatching(/^[!-~]([ -~]{0,20}[!-~])?$/)),
  { maxKeys: 4 },
);
const auth = fc.oneof(
  fc.constant({ type: 'none' as const }),
  fc.record({ type: fc.constant('bearer' as const), token: reference }),
  fc.record({ type: fc.constant('api_key' as const), header: fc.constant('x-api-key'), value: reference }),
  fc.record({ type: fc.constant('api_key' as const), query: fc.constant('key'), value: reference }),
  fc.record({ type: fc.constant('basic' as const), username: fc.constant('ann'), password: reference }),
);
const connection: fc.Arbitrary<ConnectionConfig> = fc.record(
  {
    enabled: fc.boolean(),
    url: fc.constantFrom('http://127.0.0.1:1/mcp', `https://a.example/\${x}?y=1`),
    auth,
    headers,
    forward: fc.uniqueArray(fc.constantFrom('x-a', 'x-b', 'traceparent')),
    session: fc.constantFrom('auto', 'stateless', 'pooled'),
    timeoutMs: milliseconds,
    refreshMs: milliseconds,
    limits: fc.record(
      {
        maxConcurrent: fc.integer({ min: 1, max: 1000 }),
        circuitBreaker: fc.record({
          consecutiveErrors: fc.integer({ min: 1, max: 9 }),
          openForMs: milliseconds.map((ms) => Math.min(ms, 3_600_000)),
        }),
      },
      { requiredKeys: [] },
    ),
    tls: fc.record({
      ca: fc.constant('/ca.pem'),
      cert: fc.constant('/c.pem'),
      key: fc.constant({ file: '/c.key' }),
      serverName: fc.constant('a.example'),
      insecure: fc.boolean(),
    }),
    description: text,
  },
  { requiredKeys: ['enabled', 'url', 'auth', 'headers', 'forward', 'session', 'timeoutMs', 'refreshMs', 'limits'] },
);
const source = sources(reference, headers);
const uriPattern = fc.stringMatching(/^[a-z]{1,9}__[a-z*]{1,5}:[A-Za-z0-9._~:/?#[\]@!$&'()*+,;=%{}-]{1,30}$/);
const uriAllowDeny = fc.record({
  allow: fc.array(uriPattern, { maxLength: 3 }),
  deny: fc.array(pattern, { maxLength: 3 }),
});
const allowDeny = fc.record({ allow: fc.array(pattern, { maxLength: 3 }), deny: fc.array(pattern, { maxLength: 3 }) });
const mode = fc.constantFrom('none' as const, 'digest' as const, 'redacted' as const, 'full' as const);
const document: fc.Arbitrary<ConfigDocument> = fc.record(
  {
    settings: fc.record(
      {
        publicUrl: fc.constant('https://mcp.example.com'),
        listener: fc.oneof(fc.constant({}), fc.constant({ tls: { cert: '/a.crt', key: '/a.key' } })),
        allowedOrigins: fc.uniqueArray(fc.constantFrom('https://a.example', 'http://b.example:8080')),
        anonymous: fc.record({ roles: fc.array(oneWord, { minLength: 1, maxLength: 3 }) }),
        audit: fc.oneof(
          fc.constant(DEFAULT_SETTINGS.audit),
          fc.record({
            retentionMs: fc.integer({ min: 1, max: 3650 }).map((days) => days * 86_400_000),
            record: fc.record({ arguments: mode, results: mode }),
            redactKeys: fc.uniqueArray(fc.constantFrom('a', 'token')),
            maxValueBytes: fc.integer({ min: 64, max: 65_536 }),
          }),
        ),
        maxRequestBytes: fc.constantFrom(DEFAULT_SETTINGS.maxRequestBytes, 4096),
      },
      { requiredKeys: ['listener', 'allowedOrigins', 'audit', 'maxRequestBytes'] },
    ),
    connections: fc.dictionary(name, connection, { maxKeys: 3 }),
    namespaces: fc.dictionary(
      name,
      fc.record(
        {
          connections: fc.array(pattern, { maxLength: 3 }),
          prefix: fc.constantFrom('always', 'collision', 'never'),
          presentation: fc.constant('flat' as const),
          description: text,
        },
        { requiredKeys: ['connections', 'prefix', 'presentation'] },
      ),
      { maxKeys: 3 },
    ),
    personas: fc.dictionary(
      name,
      fc.record(
        {
          roles: fc.array(oneWord, { maxLength: 3 }),
          subjects: fc.array(oneWord, { maxLength: 2 }),
          priority: fc.integer({ min: -5, max: 5 }),
          tools: uriAllowDeny,
          connections: allowDeny,
          description: text,
        },
        { requiredKeys: ['roles', 'subjects', 'priority', 'tools', 'connections'] },
      ),
      { maxKeys: 3 },
    ),
    apiKeys: fc.uniqueArray(
      fc.record(
        {
          name,
          key: reference,
          roles: fc.array(oneWord, { minLength: 1, maxLength: 2 }),
          expires: fc.constantFrom('2027-01-01', '2027-01-01T10:00:00Z'),
        },
        { requiredKeys: ['name', 'key', 'roles'] },
      ),
      { maxLength: 3, selector: (key) => key.name },
    ),
    sources: fc.dictionary(name, source, { maxKeys: 3 }),
    rules: fc.dictionary(name, rule, { maxKeys: 3 }),
  },
  { requiredKeys: [] },
);

const ENV = { TOKEN: 'token-value-0123456789', OTHER_TOKEN: 'other-value-0123456789' };

/** Plain objects: fast-check makes some without a prototype, which is no difference for a configuration. */
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

function parsed(yaml: string): unknown {
  const result = parseConfigFile(yaml, '/etc/sallyport.yaml', ENV);
  return plain('document' in result ? result.document : result.problems);
}

t.test('whatever is exported reads back as it was, as YAML and as JSON', async () => {
  fc.assert(
    fc.property(document, (before) => {
      assert.deepEqual(parsed(toYaml(before)), plain(before));
      assert.deepEqual(parsed(JSON.stringify(toExport(before))), plain(before));
    }),
    { numRuns: 150 },
  );
});

t.test('whatever is sent to the admin API reads as it was, and differs from itself in nothing', async () => {
  fc.assert(
    fc.property(document, (before) => {
      // References have been resolved by then.
      const all = <T extends WithSecrets>(rows: Readonly<Record<string, T>> | undefined) =>
        rows && Object.fromEntries(Object.entries(rows).map(([key, one]) => [key, mapSecrets(one, resolved)]));
      const connections = all(before.connections);
      const written = all(before.sources);
      const apiKeys = before.apiKeys?.map((entry) => ({ ...entry, key: resolved(entry.key) }));
      const sent = {
        ...before,
        ...(connections && { connections }),
        ...(written && { sources: written }),
        ...(apiKeys && { apiKeys }),
      };
      const result = parseDocumentBody(JSON.parse(JSON.stringify(writtenDocument(sent))));
      assert.deepEqual(plain('value' in result ? result.value : result.problems), plain(sent));
      assert.deepEqual(diffDocuments(sent, sent), []);
    }),
    { numRuns: 100 },
  );
});

const resolved = (secret: SecretInput): SecretInput =>
  typeof secret === 'string' ? secret : { value: 'a-resolved-value-0123', ref: secret as { env: string } };

t.test('secrets come out of a connection or a source and go back where they were', async () => {
  fc.assert(
    fc.property(fc.oneof(connection, source), (before) => {
      const { config, secrets } = splitSecrets(before);
      assert.deepEqual(plain(joinSecrets(config, secrets)), plain(before));
      assert.doesNotMatch(JSON.stringify(config), /TOKEN/);
      assert.deepEqual(
        Object.values(splitSecrets(config).secrets).filter((secret) => secret !== '[REDACTED]'),
        [],
      );
    }),
    { numRuns: 100 },
  );
});

t.test('secrets that are written out are exported as [REDACTED], wherever they are', async (t) => {
  const text = `
connections:
  a: { url: http://a, auth: { type: bearer, token: literal-secret }, headers: { authorization: literal-secret, x-api-key: literal-secret, x-team: crm } }
  b: { url: http://b, auth: { type: basic, username: ann, password: literal-secret } }
  c: { url: http://c, auth: { type: api_key, query: k, value: literal-secret } }
sources:
  t: { type: trino, url: https://t, user: a, password: literal-secret }
  p: { type: postgres, url: "postgres://a:literal-secret@h/d" }
  d: { type: datahub, url: https://d, token: literal-secret }
  h: { type: http, url: https://h, headers: { authorization: literal-secret, x-team: crm } }
identity: { apiKeys: [{ name: ci, key: literal-secret-0123, roles: [a] }] }`;
  const result = parseConfigFile(text, 'x.yaml', {});
  if (!('document' in result)) throw new Error(JSON.stringify(result.problems));
  const yaml = toYaml(result.document);
  t.notMatch(yaml, /literal-secret/);
  t.equal(yaml.match(/\[REDACTED\]/g)?.length, 10);
  t.match(yaml, /x-team: crm/);
});

t.test('an export leaves defaults out', async (t) => {
  const result = parseConfigFile(
    `connections: { a: { url: http://a } }
personas: { p: { roles: [r], tools: { deny: [x] } } }
sources: { s: { type: http, url: http://s } }
enrichment: [{ name: r, connection: a, tool: b, source: { use: s, request: GET /x, bind: {} }, merge: { path: c } }]`,
    'x',
    {},
  );
  t.same('document' in result && toExport(result.document), {
    connections: { a: { url: 'http://a' } },
    personas: { p: { roles: ['r'], tools: { deny: ['x'] } } },
    sources: { s: { type: 'http', url: 'http://s' } },
    enrichment: [
      {
        name: 'r',
        connection: 'a',
        tool: 'b',
        source: { use: 's', request: 'GET /x', bind: {} },
        merge: { path: 'c' },
      },
    ],
  });
});

t.test('durations survive being written', async () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 3650 * 86_400_000 }), (ms) => parseDuration(formatDuration(ms)) === ms),
  );
});

t.test('a diff names what differs, by section, name and path, and shows no secret', async (t) => {
  const document = (yaml: string): ConfigDocument => {
    const result = parseConfigFile(yaml, '/x.yaml', ENV);
    if (!('document' in result)) throw new Error(JSON.stringify(result.problems));
    return result.document;
  };
  const before = document(`
connections:
  a: { url: http://a, auth: { type: bearer, token: old-secret }, headers: { x-team: old-header } }
  gone: { url: http://gone }
personas: { p: { roles: [r], tools: { allow: [x] } } }
identity: { apiKeys: [{ name: ci, key: old-secret-0123456, roles: [r] }] }`);
  const after = document(`
maxRequestBytes: 4096
connections:
  a: { url: http://a2, timeout: 5s, auth: { type: bearer, token: { env: TOKEN } }, headers: { x-team: new-header } }
  new: { url: http://new }
identity: { apiKeys: [{ name: ci, key: new-secret-0123456, roles: [r, s] }] }`);
  const text = renderChanges(diffDocuments({ settings: DEFAULT_SETTINGS, ...before }, after));
  t.equal(
    text,
    `~ settings
    maxRequestBytes: 4194304 → 4096
~ connections a
    url: http://a → http://a2
    timeout: 30s → 5s
    headers.x-team: hidden value → new hidden value
    auth.token: hidden value → new value from env TOKEN
+ connections new
- connections gone
~ apiKeys ci
    roles: ["r"] → ["r","s"]
    key: hidden value → new hidden value`,
  );
  t.equal(renderChanges([]), 'No changes.');
  const kept = document(
    'connections:\n  a: { url: http://a, auth: { type: bearer, token: "[REDACTED]" }, headers: { x-team: "[REDACTED]" } }\n  gone: { url: http://gone }',
  );
  t.same(diffDocuments(before, kept), [], '[REDACTED] keeps what is there');
});

t.test('the published JSON Schema is current and agrees with the parser', async (t) => {
  const schema = configJsonSchema();
  const published = JSON.parse(readFileSync(join(packageRoot, 'docs/sallyport.schema.json'), 'utf8'));
  t.same(published, schema, 'write it anew: sallyport schema > docs/sallyport.schema.json');
  t.notMatch(JSON.stringify(schema), /"ref"/, 'how secrets travel is not for people');
  const accepts = new Ajv({ strict: false }).compile(schema);
  fc.assert(
    fc.property(document, (one) => {
      assert.ok(accepts(parse(toYaml(one))), JSON.stringify(accepts.errors));
    }),
    { numRuns: 100 },
  );
  for (const bad of [
    'conections: {}',
    'connections: { a: { url: http://a, timeout: 30 } }',
    'connections: { a: {} }',
    'namespaces: { a: { connections: x } }',
    'personas: { a: { when: x } }',
    'audit: { record: { results: all } }',
    'sources: { a: { type: mysql, url: http://a } }',
    'sources: { a: { type: trino, url: http://a } }',
    'enrichment: [{ name: a, connection: b, tool: c, merge: { path: d } }]',
    'enrichment: { a: {} }',
  ]) {
    t.notOk(accepts(parse(bad)), bad);
    t.ok('problems' in parseConfigFile(bad, 'x', {}), bad);
  }
});

t.test('a body of the API: references travel with their values, text with references is refused', async (t) => {
  const body = { name: 'crm', url: 'http://a', auth: { type: 'bearer', token: { value: 'v', ref: { env: 'TOKEN' } } } };
  const result = parseConnectionBody(body);
  t.match(result, { value: { name: 'crm', config: { auth: { token: { value: 'v', ref: { env: 'TOKEN' } } } } } });
  t.match('value' in result && writtenConnection(result.value.config), {
    timeout: '30s',
    refresh: '1m',
    enabled: true,
  });
  t.match(parseConnectionBody({ url: 'http://a', headers: { 'x-key': `\${TOKEN}` } }), {
    problems: [{ path: 'headers.x-key', message: /only in configuration files/ }],
  });
  t.same(parseConnectionBody({ name: 'a__b', urll: 'x' }), {
    problems: [
      { path: 'name', message: '"a__b" must not contain "__", which separates a connection from its tools' },
      { path: 'urll', message: 'unknown key "urll": did you mean "url"?' },
    ],
  });
  for (const json of [null, [], 'x', 5, undefined]) t.ok('problems' in parseConnectionBody(json), String(json));
});
