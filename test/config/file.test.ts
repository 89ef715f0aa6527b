import t from 'tap';
import { parseConfigFile, problemLine } from '../../src/config/file.ts';
import { parseMcpServers } from '../../src/config/mcp-servers.ts';

const ENV = { CRM_TOKEN: 'crm-token-0123456789', EMPTY: '', HOST: 'crm.example.com' };

/** Every problem of a file, as the command line prints them. */
function problemsOf(text: string, parse = parseConfigFile): string[] {
  const parsed = parse(text, 'c.yaml', ENV);
  return 'problems' in parsed ? parsed.problems.map((problem) => problemLine('c.yaml', problem)) : [];
}

function documentOf(text: string, parse = parseConfigFile) {
  const parsed = parse(text, '/etc/sallyport/sallyport.yaml', ENV);
  if ('problems' in parsed) throw new Error(parsed.problems.map((one) => problemLine('c.yaml', one)).join('\n'));
  return parsed.document;
}

t.test('a whole file becomes a document with every default filled in', async (t) => {
  const document = documentOf(`
publicUrl: https://mcp.example.com
listener: { tls: { cert: ./tls.crt, key: ./tls.key, clientCa: /ca.pem } }
maxRequestBytes: 1MiB
connections:
  crm:
    url: "https://\${HOST}/mcp"
    auth: { type: bearer, token: "\${CRM_TOKEN}" }
    headers: { X-Team: a, X-Trace: "t \${CRM_TOKEN}", x-price: "$\${5}", x-key: { file: ./key } }
    forward: [X-Request-Id, x-request-id]
    timeout: 2m
    limits: { maxConcurrent: 5, circuitBreaker: { consecutiveErrors: 5, openFor: 30s } }
    tls: { ca: ./ca.pem, cert: c.pem, key: c.key, serverName: crm.internal }
  plain: { url: http://127.0.0.1:1/mcp }
namespaces: { default: { connections: [crm, "*"] } }
personas: { analyst: { roles: [analyst], tools: { allow: ["crm__get_*"] } } }
identity:
  apiKeys: [{ name: ci, key: { env: CRM_TOKEN }, roles: [analyst], expires: 2027-01-01 }]
  anonymous: { roles: [guest] }
audit: { retention: 30d, record: { results: full }, redactKeys: [Password] }
`);
  t.same(document, {
    settings: {
      publicUrl: 'https://mcp.example.com',
      listener: { tls: { cert: '/etc/sallyport/tls.crt', key: '/etc/sallyport/tls.key', clientCa: '/ca.pem' } },
      allowedOrigins: [],
      anonymous: { roles: ['guest'] },
      audit: {
        retentionMs: 30 * 86_400_000,
        record: { arguments: 'redacted', results: 'full' },
        redactKeys: ['password'],
        maxValueBytes: 16_384,
      },
      maxRequestBytes: 1024 * 1024,
    },
    connections: {
      crm: {
        enabled: true,
        url: 'https://crm.example.com/mcp',
        auth: { type: 'bearer', token: { env: 'CRM_TOKEN' } },
        headers: {
          'x-team': 'a',
          'x-trace': { template: `t \${CRM_TOKEN}` },
          'x-price': `\${5}`,
          'x-key': { file: '/etc/sallyport/key' },
        },
        forward: ['x-request-id'],
        session: 'auto',
        timeoutMs: 120_000,
        refreshMs: 60_000,
        limits: { maxConcurrent: 5, circuitBreaker: { consecutiveErrors: 5, openForMs: 30_000 } },
        tls: {
          ca: '/etc/sallyport/ca.pem',
          cert: '/etc/sallyport/c.pem',
          key: { file: '/etc/sallyport/c.key' },
          serverName: 'crm.internal',
        },
      },
      plain: {
        enabled: true,
        url: 'http://127.0.0.1:1/mcp',
        auth: { type: 'none' },
        headers: {},
        forward: [],
        session: 'auto',
        timeoutMs: 30_000,
        refreshMs: 60_000,
        limits: {},
      },
    },
    namespaces: { default: { connections: ['crm', '*'], prefix: 'always', presentation: 'flat' } },
    personas: {
      analyst: {
        roles: ['analyst'],
        subjects: [],
        priority: 0,
        tools: { allow: ['crm__get_*'], deny: [] },
        connections: { allow: ['*'], deny: [] },
      },
    },
    apiKeys: [{ name: 'ci', key: { env: 'CRM_TOKEN' }, roles: ['analyst'], expires: '2027-01-01' }],
  });
});

t.test('sections that are not written are absent, and settings are one section', async (t) => {
  t.same(documentOf(''), {});
  t.same(documentOf('# nothing yet\n'), {});
  t.same(Object.keys(documentOf('personas: {}')), ['personas']);
  t.equal(documentOf('identity: { anonymous: { roles: [guest] } }').settings?.maxRequestBytes, 4 * 1024 * 1024);
  t.equal(documentOf('identity: { apiKeys: [] }').settings, undefined);
});

t.test('anchors and merge keys work, and problems inside them are found', async (t) => {
  const text = 'x: &base { session: pooled }\nconnections: { a: { <<: *base, url: http://a } }';
  t.same(problemsOf(text), [
    'c.yaml:1:1: x: unknown key "x": expected one of $schema, publicUrl, listener, allowedOrigins, maxRequestBytes, connections, namespaces, personas, identity, sources, enrichment, audit',
  ]);
  const merged = documentOf('connections:\n  a: &a { url: http://a, session: pooled }\n  b: { <<: *a, timeout: 5s }');
  t.match(merged.connections?.b, { url: 'http://a', session: 'pooled', timeoutMs: 5000 });
  t.same(problemsOf('connections:\n  a: &a { url: http://a, session: poold }\n  b: { <<: *a, url: ftp://b }'), [
    'c.yaml:2:35: connections.a.session: must be one of auto, stateless, pooled: did you mean pooled?',
    'c.yaml:2:35: connections.b.session: must be one of auto, stateless, pooled: did you mean pooled?',
    'c.yaml:3:21: connections.b.url: must begin with http:// or https://',
  ]);
});

/** [what is wrong, the file, every line of the report] */
const BAD: [string, string, string[]][] = [
  ['a typo of a section', 'conections: {}', ['1:1: conections: unknown key "conections": did you mean "connections"?']],
  [
    'a typo inside',
    'connections:\n  a:\n    url: http://a\n    timout: 3s',
    ['4:5: connections.a.timout: unknown key "timout": did you mean "timeout"?'],
  ],
  ['a key twice', 'connections: {}\nconnections: {}', ['2:1: key "connections" is there twice']],
  [
    'a name twice',
    'connections:\n  crm: { url: http://a }\n  "crm": { url: http://b }',
    ['3:3: key "crm" is there twice'],
  ],
  [
    'broken syntax',
    'connections: [1,\n',
    ['2:1: flow sequence in block collection must be sufficiently indented and end with a ]'],
  ],
  ['tabs', 'connections:\n\ta: 1', ['2:1: indentation must be spaces, not tabs']],
  [
    'a second document',
    'audit: {}\n---\naudit: {}',
    ['2:1: a second document begins here (---): one file holds one configuration'],
  ],
  ['an unknown tag', 'audit: !secret {}', ['1:8: unresolved tag: !secret']],
  ['an unknown anchor', 'audit: *nowhere', ['1:8: *nowhere refers to an anchor that does not exist']],
  ['a list', '- a', ['1:1: must be a mapping, not a list']],
  ['an empty section', 'personas:', ['1:10: personas: must be a mapping, not empty']],
  ['a variable that is not set', `publicUrl: "\${NOPE}"`, ['1:12: publicUrl: environment variable NOPE is not set']],
  [
    'a reference that is none',
    `publicUrl: "https://\${1}"`,
    [`1:12: publicUrl: has a "\${" that does not begin a reference such as \${NAME}; write "$\${" for the text itself`],
  ],
  ['a prototype', 'connections: { __proto__: { url: http://a } }', ['1:16: connections.__proto__: is not a valid key']],
  ['a missing url', 'connections:\n  a: { timeout: 3s }', ['2:3: connections.a.url: is required']],
  [
    'a url without a scheme',
    'connections: { a: { url: a.example.com } }',
    ['1:26: connections.a.url: must be a URL such as https://mcp.example.com/mcp'],
  ],
  [
    'a url with a password',
    'connections: { a: { url: "http://u:p@a/" } }',
    ['1:26: connections.a.url: must not contain a user or password: use "auth"'],
  ],
  [
    'a secret in the query of a URL',
    'connections: { a: { url: "http://a/?x=1&Api-Key=s3cret" }, b: { url: "http://b?jwt=" }, c: { url: "http://c?monkey=1&keys=2" } }',
    [
      '1:26: connections.a.url: must not carry the secret "Api-Key": URLs are shown. Take it out and use auth: { type: api_key, query: Api-Key, value: … }',
      '1:70: connections.b.url: must not carry the secret "jwt": URLs are shown. Take it out and use auth: { type: api_key, query: jwt, value: … }',
    ],
  ],
  [
    'a url with a fragment',
    'connections: { a: { url: "http://a/#x" } }',
    ['1:26: connections.a.url: must not contain a fragment (#…)'],
  ],
  [
    'a name with __',
    'connections: { a__b: { url: http://a } }',
    ['1:16: connections.a__b: "a__b" must not contain "__", which separates a connection from its tools'],
  ],
  [
    'a reserved name',
    'connections: { sallyport-x: { url: http://a } }',
    [
      '1:16: connections.sallyport-x: "sallyport-x" is reserved: names that begin with "sallyport" belong to the gateway',
    ],
  ],
  [
    'an upper-case namespace',
    'namespaces: { Docs: { connections: [] } }',
    ['1:15: namespaces.Docs: "Docs" must be lower case: it is part of a URL'],
  ],
  [
    'a host header',
    'connections: { a: { url: http://a, headers: { Host: x } } }',
    ['1:47: connections.a.headers.Host: "Host" is set by the gateway itself and cannot be configured'],
  ],
  [
    'a hop-by-hop header',
    'connections: { a: { url: http://a, headers: { te: x } } }',
    ['1:47: connections.a.headers.te: "te" is a hop-by-hop header and cannot be set'],
  ],
  [
    'a route header',
    'connections: { a: { url: http://a, headers: { X-Sallyport-Route: x } } }',
    [
      '1:47: connections.a.headers.X-Sallyport-Route: "X-Sallyport-Route" is set by the gateway itself and cannot be configured',
    ],
  ],
  [
    'a header twice',
    'connections: { a: { url: http://a, headers: { X-A: x, x-a: y } } }',
    ['1:60: connections.a.headers.x-a: header "x-a" is there twice'],
  ],
  [
    'a line break in a header',
    'connections: { a: { url: http://a, headers: { x-a: "b\\r\\nc: d" } } }',
    ['1:52: connections.a.headers.x-a: must not contain line breaks or control characters'],
  ],
  [
    'text that no header can carry',
    'connections:\n  a: { url: http://a, headers: { x-a: "5€" } }\n  b: { url: http://b, auth: { type: bearer, token: "ключ" } }\n  c: { url: http://c, auth: { type: api_key, header: x-k, value: "é" } }\n  d: { url: http://d, auth: { type: basic, username: ü, password: "é€" } }',
    [
      '2:39: connections.a.headers.x-a: must be printable ASCII: no other character can be sent in a header',
      '3:52: connections.b.auth.token: must be printable ASCII: no other character can be sent in a header',
      '4:66: connections.c.auth.value: must be printable ASCII: no other character can be sent in a header',
    ],
  ],
  [
    'forwarding credentials',
    'connections: { a: { url: http://a, forward: [x-a, Authorization] } }',
    [
      '1:51: connections.a.forward[1]: "Authorization" is never forwarded: it belongs to the caller and the gateway, not to an upstream',
    ],
  ],
  [
    'a number for a duration',
    'connections: { a: { url: http://a, timeout: 30 } }',
    ['1:45: connections.a.timeout: must be a duration such as 800ms, 30s, 2m, 1h or 90d'],
  ],
  [
    'a duration out of bounds',
    'connections: { a: { url: http://a, refresh: 10ms } }',
    ['1:45: connections.a.refresh: must be between 1s and 1d'],
  ],
  [
    'an unknown kind of auth',
    'connections: { a: { url: http://a, auth: { type: digest } } }',
    ['1:50: connections.a.auth.type: must be one of none, bearer, api_key, basic'],
  ],
  [
    'auth that comes later',
    'connections: { a: { url: http://a, auth: { type: oauth2, grant: client_credentials } } }',
    [
      '1:50: connections.a.auth.type: "oauth2" is not supported by this version yet: use none, bearer, api_key or basic',
    ],
  ],
  [
    'an API key that goes nowhere',
    'connections: { a: { url: http://a, auth: { type: api_key, value: x } } }',
    ['1:42: connections.a.auth: needs either "header" or "query", to say where the key goes'],
  ],
  [
    'a typo in a secret',
    'connections: { a: { url: http://a, auth: { type: bearer, token: { evn: X } } } }',
    ['1:65: connections.a.auth.token: must be a string, { env: NAME } or { file: PATH }'],
  ],
  [
    'stdio',
    'connections:\n  fs: { command: npx, args: [x] }',
    [
      '2:9: connections.fs.command: "command" is not supported by this version yet',
      '2:23: connections.fs.args: "args" is not supported by this version yet',
    ],
  ],
  [
    'OpenAPI',
    'connections: { p: { openapi: ./p.yaml, url: http://a } }',
    ['1:21: connections.p.openapi: "openapi" is not supported by this version yet'],
  ],
  [
    'progressive presentation',
    'namespaces: { docs: { connections: [], presentation: progressive } }',
    ['1:54: namespaces.docs.presentation: "progressive" is not supported by this version yet: use flat'],
  ],
  [
    'overrides',
    'namespaces: { docs: { connections: [], overrides: {} } }',
    ['1:40: namespaces.docs.overrides: "overrides" is not supported by this version yet'],
  ],
  [
    'conditions',
    'personas: { a: { roles: [a], when: "true", hours: {}, sources: [], limits: {} } }',
    [
      '1:30: personas.a.when: "when" is not supported by this version yet',
      '1:44: personas.a.hours: "hours" is not supported by this version yet',
      '1:55: personas.a.sources: "sources" is not supported by this version yet',
      '1:68: personas.a.limits: "limits" is not supported by this version yet',
    ],
  ],
  [
    'issuers',
    'identity: { issuers: [], mtls: {}, introspection: {} }',
    [
      '1:13: identity.issuers: "issuers" is not supported by this version yet',
      '1:26: identity.mtls: "mtls" is not supported by this version yet',
      '1:36: identity.introspection: "introspection" is not supported by this version yet',
    ],
  ],
  [
    'later sections',
    'tenants: {}\ninspection: {}',
    ['tenants', 'inspection'].map((key, i) => `${i + 1}:1: ${key}: "${key}" is not supported by this version yet`),
  ],
  [
    'sources and rules',
    'sources:\n  a: { type: trino, url: "http://t", user: x, token: y, urll: z }\nenrichment:\n  - { name: r, connection: c, tool: t, source: { tool: x, use: a }, merge: { path: a..b } }\n  - { name: r, conection: c, tool: "a b", source: { use: a, query: q, preset: x } }',
    [
      '2:54: sources.a.token: must not travel in the clear: use an https:// URL, or leave "token" out',
      '2:57: sources.a.urll: unknown key "urll": did you mean "url"?',
      '4:64: enrichment[0].source.use: has no place beside "tool"',
      '4:84: enrichment[0].merge.path: "a..b" is not a path: write keys of letters, digits, "_" and "-", joined by dots, such as enrichment.account',
      '5:16: enrichment[1].conection: unknown key "conection": did you mean "connection"?',
      '5:36: enrichment[1].tool: "a b" is not a pattern: use letters, digits, "_", "-", ".", "/", with "*" for any run of characters and "?" for one',
      '5:79: enrichment[1].source.preset: must be one of table_context, query_context',
    ],
  ],
  [
    'the same rule twice',
    'enrichment:\n  - { name: a, connection: b, tool: c, source: { tool: d }, merge: { path: e } }\n  - { name: a, connection: b, tool: c, source: { tool: d }, merge: { path: e } }',
    ['3:13: enrichment[1].name: a rule named "a" is there twice'],
  ],
  ['receipts', 'audit: { receipts: true }', ['1:10: audit.receipts: "receipts" is not supported by this version yet']],
  [
    'a pattern that is a regular expression',
    'personas: { a: { roles: [a], tools: { allow: ["a[bc]"] } } }',
    [
      '1:47: personas.a.tools.allow[0]: "a[bc]" is not a pattern: use letters, digits, "_", "-", ".", "/", with "*" for any run of characters and "?" for one',
    ],
  ],
  [
    'a negated pattern',
    'personas: { a: { roles: [a], tools: { allow: ["!a"] } } }',
    ['1:47: personas.a.tools.allow[0]: "!a" is not a pattern: to exclude something, list it under "deny"'],
  ],
  ['a string for a list', 'personas: { a: { roles: a } }', ['1:25: personas.a.roles: must be a list, not a string']],
  [
    'a short key',
    'identity: { apiKeys: [{ name: ci, key: short, roles: [a] }] }',
    ['1:40: identity.apiKeys[0].key: must have at least 16 characters'],
  ],
  [
    'a key twice by name',
    'identity:\n  apiKeys:\n    - { name: ci, key: { env: A }, roles: [a] }\n    - { name: ci, key: { env: B }, roles: [a] }',
    ['4:15: identity.apiKeys[1].name: a key named "ci" is there twice'],
  ],
  [
    'a day that does not exist',
    'identity: { apiKeys: [{ name: ci, key: { env: A }, roles: [a], expires: 2027-02-30 }] }',
    ['1:73: identity.apiKeys[0].expires: must be a date such as 2027-01-31 or 2027-01-31T12:00:00Z'],
  ],
  ['nobody', 'identity: { anonymous: { roles: [] } }', ['1:33: identity.anonymous.roles: must name at least one']],
  [
    'an origin with a path',
    'allowedOrigins: ["https://a.example/x"]',
    ['1:18: allowedOrigins[0]: must be an origin such as https://app.example.com: scheme, host and port only'],
  ],
  [
    'a certificate without a key',
    'connections: { a: { url: https://a, tls: { cert: a.pem } } }',
    ['1:42: connections.a.tls: needs both "cert" and "key", or neither'],
  ],
  [
    'a manifest of another gateway',
    'apiVersion: x\nkind: MCPRoute',
    ['2:7: kind: an Envoy AI Gateway MCPRoute is not supported by this version yet'],
  ],
  [
    'a file for clients',
    '{"mcpServers": {}}',
    ['1:2: mcpServers: this is an mcpServers file: pass it with --mcp-config instead of --config'],
  ],
  [
    'many things at once, in the order of the file',
    `publicUrl: "\${NOPE}"\nconnections:\n  a: { url: 5 }\n  a: { url: http://a, session: x }\naudti: {}`,
    [
      '1:12: publicUrl: environment variable NOPE is not set',
      '4:3: key "a" is there twice',
      '4:32: connections.a.session: must be one of auto, stateless, pooled',
      '5:1: audti: unknown key "audti": did you mean "audit"?',
    ],
  ],
];

for (const [what, text, expected] of BAD) {
  t.test(`refused with its place: ${what}`, async (t) => {
    t.same(
      problemsOf(text),
      expected.map((line) => `c.yaml:${line}`),
    );
  });
}

t.test('patterns over URIs hold what URIs hold, and nothing else', async (t) => {
  const problems = (pattern: string): string[] =>
    problemsOf(`personas: { a: { roles: [a], tools: { deny: [${JSON.stringify(pattern)}] } } }`);
  for (const pattern of ['notes__file:///a/~b;c/*?x=1#f', "x__ui://u@[::1]:80/{id}/a'(b)!$&+,=%20", 'get/forecast*']) {
    t.same(problems(pattern), [], pattern);
  }
  for (const end of ['a b', '\u0000', '\u007f', 'ä', '\\', '<', '|', 'a'.repeat(1000)]) {
    t.match(problems(`notes__file:///${end}`), [/is not a pattern: .*percent-encoded/], JSON.stringify(end));
  }
  const connections = 'personas: { a: { roles: [a], connections: { deny: ["a:b"] } } }';
  t.match(problemsOf(connections), [/is not a pattern/], 'connections have names');
});

t.test('neither a self-referential alias nor a bomb of aliases hangs the parser', async (t) => {
  t.ok(problemsOf('x: &a [*a, *a]').length > 0);
  const bomb = [
    'a: &a [x, x, x, x, x, x, x, x, x]',
    ...'bcdefgh'.split('').map((letter, i) => `${letter}: &${letter} [${`*${'abcdefg'[i]}, `.repeat(9)}]`),
  ];
  t.match(problemsOf(bomb.join('\n')).join('\n'), /cannot be read: Excessive alias count/);
});

t.test('the environment fills text in, with defaults and an escape', async (t) => {
  const url = (text: string) => documentOf(`connections: { a: { url: "${text}" } }`).connections?.a?.url;
  t.equal(url(`http://\${HOST}/\${NOPE:-mcp}`), 'http://crm.example.com/mcp');
  t.equal(url(`http://h/\${EMPTY}x`), 'http://h/x');
  t.equal(url(`http://h/$\${HOST}`), `http://h/\${HOST}`);
  t.same(
    documentOf(`connections: { a: { url: http://a, auth: { type: bearer, token: "v-\${CRM_TOKEN}" } } }`).connections?.a
      ?.auth,
    {
      type: 'bearer',
      token: { template: `v-\${CRM_TOKEN}` },
    },
  );
});

t.test('an mcpServers file: http entries become connections whose headers are secrets', async (t) => {
  const document = documentOf(
    `// what the client has
{
\t"mcpServers": {
\t\t"My CRM": { "type": "http", "url": "https://crm/mcp?x=http://y", /* secret */
\t\t  "headers": { "Authorization": "Bearer \${env:CRM_TOKEN}", "X-Key": "k", "Accept": "application/json" }, "alwaysAllow": ["a"] },
\t\t"off": { "url": "http://127.0.0.1:1/", "disabled": true, "headers": { "Authorization": "Basic dTpw" } },
\t},
}`,
    parseMcpServers,
  );
  t.same(Object.keys(document), ['connections']);
  t.match(document.connections?.['My-CRM'], {
    url: 'https://crm/mcp?x=http://y',
    enabled: true,
    auth: { type: 'bearer', token: { value: 'crm-token-0123456789', ref: { env: 'CRM_TOKEN' } } },
    headers: { 'x-key': { value: 'k' } },
  });
  t.notOk(document.connections?.['My-CRM']?.headers.accept, 'the gateway writes Accept itself');
  t.match(document.connections?.off, { enabled: false, headers: { authorization: { value: 'Basic dTpw' } } });
});

t.test('an mcpServers file: a key in a URL is authentication where it is the only one', async (t) => {
  const read = (entry: object) =>
    documentOf(JSON.stringify({ mcpServers: { a: entry } }), parseMcpServers).connections?.a;
  t.match(read({ url: 'https://a/mcp?x=1&apiKey=s3%2Bcret&y=%7E' }), {
    url: 'https://a/mcp?x=1&y=%7E',
    auth: { type: 'api_key', query: 'apiKey', value: { value: 's3+cret' } },
  });
  t.match(read({ serverUrl: `https://a/mcp?key=\${CRM_TOKEN}`, headers: { 'X-Plain': '1' } }), {
    url: 'https://a/mcp',
    auth: { type: 'api_key', query: 'key', value: { value: 'crm-token-0123456789', ref: { env: 'CRM_TOKEN' } } },
  });
  const refused = (entry: object) => problemsOf(JSON.stringify({ mcpServers: { a: entry } }), parseMcpServers);
  const sentence = (name: string) =>
    new RegExp(`^c.yaml:1:\\d+: mcpServers.a.url: must not carry the secret "${name}".*query: ${name}, value`);
  const url = 'https://a/mcp?access_token=s3cret';
  t.match(refused({ url, headers: { Authorization: 'Bearer x' } }), [sentence('access_token')]);
  t.match(refused({ url, headers: { 'X-Api-Key': 'x' } }), [sentence('access_token')]);
  t.match(refused({ url: `${url}&token=b` }), [sentence('access_token')]);
  t.notMatch(refused({ url: `${url}&token=b` }).join(), /s3cret/);
});

t.test('an mcpServers file: what cannot be served is told with its place', async (t) => {
  const text = `{"mcpServers": {
  "fs": { "command": "npx", "args": ["x"] },
  "old": { "type": "sse", "url": "http://a" },
  "typo": { "url": "http://a", "haeders": {} },
  "nourl": {},
  "a b": { "url": "http://a" },
  "a-b": { "url": "http://a" },
  "sallyport": { "url": "http://a" },
  "h": { "url": "http://a", "headers": { "X-A": "\${input:token}" } }
}}`;
  t.same(problemsOf(text, parseMcpServers), [
    `c.yaml:9:49: mcpServers.h.headers.X-A: has a "\${" that does not begin a reference such as \${NAME}; write "$\${" for the text itself`,
  ]);
  t.same(problemsOf(text.replace(/,\n {2}"h".*/, ''), parseMcpServers), [
    'c.yaml:2:11: mcpServers.fs.command: a server started by a command (stdio) is not supported by this version yet',
    "c.yaml:3:20: mcpServers.old.type: the HTTP+SSE transport is not supported by this version yet: use the server's streamable HTTP URL",
    'c.yaml:4:32: mcpServers.typo.haeders: unknown key "haeders": did you mean "headers"?',
    'c.yaml:5:3: mcpServers.nourl.url: is required',
    'c.yaml:7:3: mcpServers.a-b: "a-b" would be the second connection named "a-b"',
    'c.yaml:8:3: mcpServers.sallyport: "sallyport" is reserved: names that begin with "sallyport" belong to the gateway',
  ]);
  t.same(problemsOf('{"servers": {}}', parseMcpServers), [
    'c.yaml:1:1: expected { "mcpServers": { NAME: { "url": … } } }',
  ]);
});

t.test('sources and rules of a file: defaults, short forms, and references kept', async (t) => {
  const { sources, rules } = documentOf(`
sources:
  ledger: { type: postgres, url: "postgres://gw:\${CRM_TOKEN}@db/ledger", tls: { ca: ./ca.pem } }
  crmapi: { type: http, url: https://x, headers: { Authorization: "\${CRM_TOKEN}", X-Team: a } }
enrichment:
  - { name: b, connection: crm, tool: "*", when: "args.id == 1", source: { use: crmapi, preset: table_context } }
  - { name: a, connection: crm, tool: "*", source: { tool: x__y, bind: { id: null } }, merge: { path: a.b, text: keep } }
`);
  const common = { enabled: true, maxConcurrent: 8, circuitBreaker: { consecutiveErrors: 5, openForMs: 10_000 } };
  t.same(sources, {
    ledger: {
      type: 'postgres',
      url: { template: `postgres://gw:\${CRM_TOKEN}@db/ledger` },
      tls: { ca: '/etc/sallyport/ca.pem' },
      ...common,
    },
    crmapi: {
      type: 'http',
      url: 'https://x',
      headers: { authorization: { env: 'CRM_TOKEN' }, 'x-team': 'a' },
      ...common,
    },
  });
  const defaults = {
    enabled: true,
    connection: 'crm',
    tool: '*',
    repeat: 'none',
    priority: 0,
    timeoutMs: 2000,
    maxRows: 100,
    maxBytes: 65_536,
    cacheMs: 0,
    errorBudget: { failures: 20, perMs: 300_000 },
  };
  t.same(rules, {
    a: {
      ...defaults,
      source: { tool: 'x__y', bind: { id: null } },
      merge: { path: 'a.b', onConflict: 'keep', as: 'auto', text: 'keep' },
    },
    b: {
      ...defaults,
      when: { cel: 'args.id == 1' },
      source: { use: 'crmapi', preset: 'table_context', bind: {} },
      merge: { path: 'semantic_context', onConflict: 'keep', as: 'auto', text: 'append' },
    },
  });
});
