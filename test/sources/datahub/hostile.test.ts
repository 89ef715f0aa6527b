/** A DataHub that misbehaves. */
import type { ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import fc from 'fast-check';
import t from 'tap';
import { ExactNumber, type JsonObject } from '../../../src/mcp/exact-json.ts';
import { openDataHub } from '../../../src/sources/datahub/client.ts';
import { rowsOf } from '../../../src/sources/datahub/shape.ts';
import { compileDataHub, renderEntities } from '../../../src/sources/datahub/template.ts';
import { SourceError } from '../../../src/sources/source.ts';
import { type DataHubServer, startDataHub, TOKEN } from '../../support/datahub/server.ts';

const CONFIG = {
  type: 'datahub',
  enabled: true,
  maxConcurrent: 10,
  circuitBreaker: { consecutiveErrors: 5, openForMs: 1000 },
} as const;

const URN = 'urn:li:tag:pii';
const LIMITS = { timeoutMs: 5000, maxRows: 100, maxBytes: 65_536 };

let server: DataHubServer;
t.before(async () => {
  server = await startDataHub();
});
t.teardown(() => server.close());

async function ask(signal = AbortSignal.timeout(20_000), url = server.url, token = TOKEN) {
  const client = openDataHub({ ...CONFIG, url, token });
  try {
    return await client.ask(renderEntities([URN]), { ...LIMITS, signal });
  } finally {
    await client.close();
  }
}

const answers = (status: number, headers: Record<string, string>, body: string): void => {
  server.behave = (request, response) => {
    request.resume();
    response.writeHead(status, headers).end(body);
  };
};
const json = (value: unknown): void => answers(200, { 'content-type': 'application/json' }, JSON.stringify(value));

t.afterEach(() => {
  server.behave = undefined;
});

t.test('one that hangs is left when the time is up, and says what its time limit says', async (t) => {
  for (const begin of [() => {}, (response: ServerResponse) => response.writeHead(200).write('{"data":')]) {
    const controller = new AbortController();
    server.behave = (_request, response) => {
      begin(response);
      setImmediate(() => controller.abort(new SourceError('timeout', 'no answer in time')));
    };
    await t.rejects(ask(controller.signal), { kind: 'timeout', message: 'no answer in time' });
  }
  await t.rejects(ask(AbortSignal.abort(new SourceError('timeout', 'late'))), { message: 'late' });
});

t.test('answers that are none', async (t) => {
  const refused = async (kind: string, message: RegExp): Promise<void> => {
    await t.rejects(ask(), { name: 'SourceError', kind, message });
  };
  answers(200, { 'content-type': 'text/html; charset=utf-8' }, '<html>log in</html>');
  await refused('bad answer', /a web page/);
  answers(200, { 'content-type': 'application/json' }, '{"data": {"entities": [');
  await refused('bad answer', /not JSON/);
  answers(302, { location: 'http://169.254.169.254/' }, '');
  await refused('refused', /a redirect, which is not followed/);
  answers(401, {}, 'token abc is not valid');
  await refused('refused', /^DataHub answered with HTTP 401: its token is missing or not valid$/);
  answers(404, {}, '');
  await refused('bad answer', /404: there is no GraphQL at this URL/);
  answers(429, {}, '');
  await refused('busy', /429/);
  answers(502, {}, '');
  await refused('unavailable', /502/);
  for (const value of [null, 1, [], {}, { data: null }, { data: [] }, { data: 'x', errors: [] }]) {
    json(value);
    await refused('bad answer', /neither data nor errors/);
  }
});

t.test('errors of GraphQL', async (t) => {
  json({ data: { entities: null }, errors: [{ message: 'Failed to batch load Datasets', extensions: { code: 500 } }] });
  await t.rejects(ask(), { kind: 'refused', message: 'DataHub refused: Failed to batch load Datasets' });
  json({ errors: [{ message: 'x'.repeat(10_000) }] });
  await t.rejects(ask(), { kind: 'refused', message: /^DataHub refused: x{500}$/ });
  json({ errors: [{ message: "Variable 'types' has an invalid value" }] });
  await t.rejects(ask(), { kind: 'bad value', message: /Variable/ });
  json({ errors: [{ message: 'no', extensions: { code: 503 } }] });
  await t.rejects(ask(), { kind: 'unavailable', message: /refused: no/ });
  json({ errors: [17], data: {} });
  t.same(await ask(), { rows: [], isTruncated: false }, 'errors that are none');
  json({
    data: { entities: [{ urn: URN, type: 'TAG', properties: { name: 'pii' }, ownership: null }] },
    errors: [{ message: 'no owners for you' }],
  });
  t.same((await ask()).rows, [{ urn: URN, name: 'pii', type: 'TAG' }], 'what is there is used');
});

t.test('a wrong token, a closed port, a connection that is cut', async (t) => {
  await t.rejects(ask(undefined, undefined, 'wrong'), { kind: 'refused', message: /401/ });
  const closed = createServer();
  await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve));
  const { port } = closed.address() as AddressInfo;
  await new Promise((resolve) => closed.close(resolve));
  await t.rejects(ask(undefined, `http://127.0.0.1:${port}`), { kind: 'unavailable', message: /ECONNREFUSED/ });
  server.behave = (_request, response) => {
    response.writeHead(200, { 'content-length': '1000' });
    response.write('{"data"', () => response.destroy());
  };
  await t.rejects(ask(), { kind: 'unavailable', message: /cannot be reached/ });
});

t.test('a million entities are not read', async (t) => {
  let sent = 0;
  server.behave = (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    const chunk = `${JSON.stringify({ urn: URN, type: 'TAG' })},`.repeat(1000);
    const more = (): void => {
      while (sent < 1_000_000 && !response.destroyed) {
        sent += 1000;
        if (!response.write(sent === 1000 ? `{"data":{"entities":[${chunk}` : chunk)) break;
      }
    };
    response.on('drain', more);
    more();
  };
  await t.rejects(ask(), { kind: 'too large', message: /larger than 8388608 bytes/ });
  t.ok(sent < 1_000_000, `${sent} were sent`);
});

t.test('numbers keep their digits', async (t) => {
  answers(
    200,
    { 'content-type': 'application/json' },
    '{"data":{"entities":[{"urn":"urn:li:tag:pii","type":"DATASET","datasetProfiles":[{"rowCount":9007199254740993}]}]}}',
  );
  const [row] = (await ask()).rows as { profile: JsonObject }[];
  const count = row?.profile.rowCount;
  t.ok(count instanceof ExactNumber);
  t.equal((count as ExactNumber).text, '9007199254740993');
});

const MEMBERS = [
  'urn',
  'type',
  'name',
  'platform',
  'properties',
  'editableProperties',
  'ownership',
  'owners',
  'owner',
  'tags',
  'tag',
  'glossaryTerms',
  'terms',
  'term',
  'domain',
  'deprecation',
  'deprecated',
  'replacement',
  'decommissionTime',
  'health',
  'status',
  'schemaMetadata',
  'fields',
  'fieldPath',
  'editableSchemaMetadata',
  'editableSchemaFieldInfo',
  'statsSummary',
  'datasetProfiles',
  'timestampMillis',
  'rowCount',
  'parentNodes',
  'nodes',
  'subTypes',
  'typeNames',
  'description',
  'entity',
  'relationships',
];

t.test('whatever stands where something else was promised gives rows of objects, and no error', async () => {
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 7, withCrossShrink: true },
      fc.constantFrom(null, true, 'x', '', 'urn:li:tag:a', 0, -1, 1e300, '__proto__'),
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...MEMBERS), tie('value'), { maxKeys: 12 }),
    ),
  }));
  const kinds = [
    { kind: 'entities', isTerm: false, columns: 'all' },
    { kind: 'entities', isTerm: false, columns: 'described' },
    { kind: 'search' },
    { kind: 'term named', name: 'x' },
    { kind: 'lineage', direction: 'UPSTREAM' },
  ] as const;
  fc.assert(
    fc.property(fc.constantFrom(...kinds), value, fc.array(value, { maxLength: 3 }), (answers, one, many) => {
      const data = {
        entities: many,
        entity: { lineage: { relationships: many } },
        searchAcrossEntities: { searchResults: [one, { entity: one }, ...many] },
      };
      return rowsOf(data as unknown as JsonObject, answers).every((row) => {
        return !Object.values(row).some(
          (member) => member === undefined || (Array.isArray(member) && member.length === 0),
        );
      });
    }),
    { numRuns: 2000 },
  );
});

t.test('a request that cannot be rendered reaches nobody', async (t) => {
  const compiled = compileDataHub({ operation: 'entity', bind: { urn: '$.a' } });
  if ('faults' in compiled) throw new Error('faulty');
  const before = server.asked.length;
  t.throws(() => compiled.template.render(new Map([['urn', "urn:li:dataset:(a,b') OR 1=1"]])));
  t.equal(server.asked.length, before);
});
