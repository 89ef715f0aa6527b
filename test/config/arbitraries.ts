/** Sources and rules as documents have them, for properties. */
import fc from 'fast-check';
import type { RuleConfig, RuleSource, SecretInput, SourceConfig } from '../../src/config/document.ts';

const text = fc.string({ unit: 'grapheme', maxLength: 40 });
const word = fc.stringMatching(/^[A-Za-z][A-Za-z0-9_]{0,9}$/);
const milliseconds = fc.integer({ min: 1000, max: 3_600_000 });

/** `reference`: a secret that is not written out. `headers`: of an upstream. */
export function sources(
  reference: fc.Arbitrary<SecretInput>,
  headers: fc.Arbitrary<Record<string, SecretInput>>,
): fc.Arbitrary<SourceConfig> {
  const common = {
    enabled: fc.boolean(),
    maxConcurrent: fc.integer({ min: 1, max: 1000 }),
    circuitBreaker: fc.record({
      consecutiveErrors: fc.integer({ min: 1, max: 1000 }),
      openForMs: fc.oneof(fc.constant(10_000), milliseconds),
    }),
    description: text,
  };
  const tls = fc.record({ ca: fc.constant('/ca.pem'), insecure: fc.boolean() }, { requiredKeys: [] });
  const always = ['type', 'enabled', 'maxConcurrent', 'circuitBreaker'] as const;
  const url = fc.constantFrom('https://a.example', `https://a.example/\${x}`);
  const databaseUrl = fc.constantFrom<SecretInput>({ env: 'URL' }, '[REDACTED]', {
    template: `postgres://a:\${TOKEN}@h/d`,
  });
  return fc.oneof(
    fc.record(
      {
        type: fc.constant('trino' as const),
        url,
        user: word,
        token: reference,
        catalog: word,
        schema: word,
        session: fc.dictionary(word, word, { maxKeys: 2 }),
        tls,
        ...common,
      },
      { requiredKeys: [...always, 'url', 'user', 'session'] },
    ),
    fc.record(
      { type: fc.constant('postgres' as const), url: databaseUrl, tls, ...common },
      { requiredKeys: [...always, 'url'] },
    ),
    fc.record(
      { type: fc.constant('datahub' as const), url, token: reference, ...common },
      { requiredKeys: [...always, 'url'] },
    ),
    fc.record(
      { type: fc.constant('http' as const), url, headers, ...common },
      { requiredKeys: [...always, 'url', 'headers'] },
    ),
  );
}

const path = fc.constantFrom('$.args.id', '$.response.a[0]', '$.item.id', `$.x['\${y}']`);
const constant = fc.oneof(path, text, fc.integer(), fc.boolean(), fc.constant(null));
const bind = fc.dictionary(word, constant, { maxKeys: 3 });
const match = fc.dictionary(word, word, { minKeys: 1, maxKeys: 2 });
/** Looks like a reference of a secret, and is none. */
const body = fc.oneof(fc.constant({ template: `\${x} :id` }), fc.constant({ env: 'X' }), fc.constant([1, null, ':id']));

const source: fc.Arbitrary<RuleSource> = fc.oneof(
  fc.record(
    { use: word, query: fc.constantFrom('select :a', `select '\${b}'\n  from c`), bind, match },
    { requiredKeys: ['use', 'query', 'bind'] },
  ),
  fc.record(
    { use: word, request: fc.constant('GET /a/:b'), body, rows: path, bind, match },
    { requiredKeys: ['use', 'request', 'bind'] },
  ),
  fc.record({ use: word, operation: fc.constantFrom('entity' as const, 'search' as const), bind }),
  fc.record({ tool: word, rows: path, bind }, { requiredKeys: ['tool', 'bind'] }),
  fc.record({ use: word, preset: fc.constantFrom('table_context' as const, 'query_context' as const), bind }),
);

const anyRule: fc.Arbitrary<RuleConfig> = fc.record(
  {
    enabled: fc.boolean(),
    description: text,
    connection: fc.constantFrom('crm', '*', 'c?m'),
    tool: fc.constantFrom('get_*', '*'),
    when: fc.oneof(
      fc.record({ exists: fc.array(path, { minLength: 1, maxLength: 2 }) }),
      fc.record({ cel: fc.constant(`args.x == "\${y}"`) }),
      fc.record({
        equals: fc.dictionary(path, constant, { maxKeys: 2 }),
        matches: fc.dictionary(path, text, { maxKeys: 2 }),
      }),
    ),
    forEach: path,
    source,
    merge: fc.record({
      path: fc.constantFrom('enrichment.account', 'a', 'semantic_context'),
      onConflict: fc.constantFrom('keep' as const, 'replace' as const, 'array' as const),
      as: fc.constantFrom('auto' as const, 'object' as const, 'array' as const),
      text: fc.constantFrom('append' as const, 'splice' as const, 'keep' as const),
    }),
    repeat: fc.constantFrom('none' as const, 'reference' as const, 'summary' as const),
    priority: fc.integer({ min: -5, max: 5 }),
    timeoutMs: fc.integer({ min: 10, max: 4500 }),
    maxRows: fc.integer({ min: 1, max: 10_000 }),
    maxBytes: fc.integer({ min: 1024, max: 4_194_304 }),
    cacheMs: fc.oneof(fc.constant(0), milliseconds),
    errorBudget: fc.record({ failures: fc.integer({ min: 0, max: 100 }), perMs: milliseconds }),
  },
  {
    requiredKeys: [
      'enabled',
      'connection',
      'tool',
      'source',
      'merge',
      'repeat',
      'priority',
      'timeoutMs',
      'maxRows',
      'maxBytes',
      'cacheMs',
      'errorBudget',
    ],
  },
);

/** What a tool answers is never used again. */
export const rule = anyRule.map((one) => ('tool' in one.source ? { ...one, cacheMs: 0 } : one));
