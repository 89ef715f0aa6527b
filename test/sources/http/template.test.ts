import fc from 'fast-check';
import t from 'tap';
import { ExactNumber, type Json } from '../../../src/mcp/exact-json.ts';
import { compileHttp, type HttpRequest } from '../../../src/sources/http/template.ts';
import { type Bound, ValueError } from '../../../src/sources/source.ts';

type Source = Parameters<typeof compileHttp>[0];

function template(source: Source) {
  const compiled = compileHttp(source);
  if ('faults' in compiled) throw new Error(compiled.faults.map(({ message }) => message).join('; '));
  return compiled.template;
}
function render(source: Source, values: Readonly<Record<string, Bound>>): HttpRequest {
  return template(source).render(new Map(Object.entries(values))) as HttpRequest;
}
const faults = (source: Source) => {
  const compiled = compileHttp(source);
  return 'faults' in compiled ? compiled.faults.map(({ path, message }) => `${path}: ${message}`) : [];
};

t.test('values stand in segments and in values of the query', async (t) => {
  const source = { request: 'GET /accounts/:id/v:version?fields=:fields&q=name::x-:part&all' };
  t.strictSame(Object.fromEntries(template(source).names), { id: 'one', version: 'one', fields: 'list', part: 'one' });
  t.equal(template(source).mayWrite, false);
  const request = render(source, {
    id: 'a/b c',
    version: new ExactNumber('9007199254740993'),
    fields: ['x,y', 'ü'],
    part: true,
  });
  t.equal(request.path, '/accounts/a%2Fb%20c/v9007199254740993?fields=x%2Cy,%C3%BC&q=name:x-true&all');
  t.equal(request.shown, `GET ${request.path}`);
  t.equal(request.method, 'GET');
});

t.test('a name that also stands for one value takes one', async (t) => {
  t.equal(template({ request: 'GET /a/:id?ids=:id' }).names.get('id'), 'one');
  t.equal(template({ request: 'POST /a?ids=:id', body: { id: ':id' } }).names.get('id'), 'one');
});

t.test('a body is JSON with values in it', async (t) => {
  const body = { id: ':id', in: [':ids', 'x'], text: '::id', at: '10:30', deep: [{ when: null, n: 1.5 }], ':id': true };
  const source = { request: 'POST /search', body };
  t.strictSame(Object.fromEntries(template(source).names), { id: 'one', ids: 'list' });
  t.equal(template(source).mayWrite, true);
  const rendered = render(source, {
    id: new ExactNumber('9007199254740993'),
    ids: ['a"b', 2, new ExactNumber('0.10000000000000000001')],
  });
  t.equal(
    rendered.body,
    '{"id":9007199254740993,"in":["a\\"b",2,0.10000000000000000001,"x"],"text":":id","at":"10:30","deep":[{"when":null,"n":1.5}],":id":true}',
  );
  t.match(rendered.shown, /^POST \/search\n\{"id":9007199254740993/);
  t.equal(render({ request: 'POST /s', body: { ids: [':ids'] } }, { ids: [] }).body, '{"ids":[]}');
  t.equal(render({ request: 'POST /s', body: { ids: ':ids' } }, { ids: [1, 'b'] }).body, '{"ids":[1,"b"]}');
  t.equal(render({ request: 'POST /s', body: ':all' }, { all: null }).body, 'null');
  t.equal(render({ request: 'POST /s' }, {}).body, undefined);
});

t.test('requests with different answers have different keys', async (t) => {
  const key = (source: Source, values = {}) => render(source, values).key;
  const keys = [
    key({ request: 'GET /a' }),
    key({ request: 'POST /a' }),
    key({ request: 'POST /a', body: {} }),
    key({ request: 'GET /a', rows: '$.x' }),
    key({ request: 'GET /:a' }, { a: 'b' }),
  ];
  t.equal(new Set(keys).size, keys.length);
  t.equal(key({ request: 'GET /:a' }, { a: 'b' }), key({ request: 'GET /:c' }, { c: 'b' }));
});

t.test('what could reach something else is refused when it is saved, with the column', async (t) => {
  const refused: [request: string, fault: RegExp][] = [
    ['get /a', /column 1: begin with GET or POST/],
    ['DELETE /a', /column 1: /],
    ['GET  /a', /column 5: the path begins with one \//],
    ['GET https://elsewhere.example/a', /column 5: /],
    ['GET //elsewhere.example/a', /column 5: /],
    ['GET :host/a', /column 5: /],
    ['GET a', /column 5: /],
    ['GET /a/../b', /column 8: a path does not climb/],
    ['GET /a/%2e%2E/b', /column 8: /],
    ['GET /a/..;x/b', /column 8: /],
    ['GET /a%2f..%2fb', /column 6: /],
    ['GET /a/.', /column 8: /],
    ['GET /a\\b', /column 7: "\\\\" cannot stand here/],
    ['GET /a b', /column 7: " " cannot stand here/],
    ['GET /a\r\nHost: x', /column 7: /],
    ['GET /ä', /column 6: "ä" cannot stand here/],
    ['GET /a%zz', /column 7: "%" cannot stand here/],
    ['GET /a%0d%0a', /column 7: control characters/],
    ['GET /a%ff', /column 7: .*not UTF-8/],
    ['GET /a#b', /column 7: a fragment/],
    ['GET /a?:name=1', /column 8: a value cannot be the name/],
    ['GET /a?x=1&y:z', /column 13: a value cannot be the name/],
  ];
  for (const [request, fault] of refused) t.match(faults({ request }), [fault], request);
  t.match(faults({ request: 'GET /a', body: {} }), [/^source\.body: a GET has no body/]);
  t.match(faults({ request: 'POST /a', body: { a: [{ b: ':id/x' }] } }), [/^source\.body: ":id\/x" at a\[0\]\.b/]);
  t.match(faults({ request: 'GET /a', rows: 'items' }), [/^source\.rows: /]);
  t.equal(faults({ request: 'GET /a', rows: '$.items[*]' }).length, 0);
});

t.test('values that must not stand where they are bound', async (t) => {
  const path = (value: Bound) => () => render({ request: 'GET /a/:id/b' }, { id: value });
  for (const value of [
    '',
    '.',
    '..',
    '../x',
    'x/..',
    'x\\..\\y',
    '..;x',
    'a\0b',
    '\ud800',
    null,
    Number.NaN,
    [],
    ['a'],
    {},
  ] as Bound[]) {
    t.throws(path(value), ValueError, JSON.stringify(value));
  }
  t.doesNotThrow(path('...'));
  t.doesNotThrow(path('a..b'));
  t.throws(() => render({ request: 'GET /a/:x.' }, { x: '.' }), ValueError, 'two halves that climb together');
  for (const x of ['%2e%2e', '..%2fadmin', '%252e%252e%252fadmin', '．．', '‥', '．．／admin', 'a\\..\\b', '%2e.;x']) {
    t.throws(() => render({ request: 'GET /a/:x' }, { x }), ValueError, x);
  }
  for (const x of ['a..b', '...', '50%', '%2', '100%25', '…', 'a.b.c', `%${'25'.repeat(100_000)}`.slice(0, 60_000)]) {
    t.doesNotThrow(() => render({ request: 'GET /a/:x' }, { x }), x.slice(0, 20));
  }
  const list = (value: Bound) => () => render({ request: 'GET /a?ids=:ids' }, { ids: value });
  for (const value of [[], [null], [['a']], [{}]] as Bound[]) t.throws(list(value), ValueError, JSON.stringify(value));
  const body = (value: Bound) => () => render({ request: 'POST /a', body: { id: ':id' } }, { id: value });
  for (const value of [{ $ne: null }, [{}], [[1]], Number.POSITIVE_INFINITY] as Bound[])
    t.throws(body(value), ValueError);
  t.throws(list(Array.from({ length: 10_000 }, () => 'x'.repeat(20))), /bind fewer values/);
});

t.test('a value never changes the shape of a request, and arrives as it was', async () => {
  const source = { request: 'POST /a/:id/b?q=:q&r=x:r', body: { one: ':id', many: [':q', 'end'] } };
  const compiled = template(source);
  const string = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string(),
    fc.constantFrom('../..', '&r=1', '#', '%2e%2e', '\r\nX: y', '":1,"x":"'),
  );
  fc.assert(
    fc.property(string, fc.array(string, { minLength: 1, maxLength: 4 }), string, (id, q, r) => {
      let request: HttpRequest;
      try {
        request = compiled.render(
          new Map<string, Bound>([
            ['id', id],
            ['q', q],
            ['r', r],
          ]),
        ) as HttpRequest;
      } catch (error) {
        if (!(error instanceof ValueError)) throw error;
        return;
      }
      const url = new URL(`http://host.example/base${request.path}`);
      const segments = url.pathname.split('/');
      const body = JSON.parse(request.body ?? '') as Record<string, Json>;
      const shape = [url.host, segments.length, segments[1], segments[2], segments[4], url.hash].join(' ');
      if (shape !== 'host.example 5 base a b ') throw new Error(`the URL changed: ${shape}`);
      if (decodeURIComponent(segments[3] ?? '') !== id) throw new Error('the segment changed');
      const [first, second, third] = url.search.slice(1).split('&');
      if (third !== undefined || !first?.startsWith('q=') || !second?.startsWith('r=x'))
        throw new Error('the query changed');
      const list = first.slice(2).split(',').map(decodeURIComponent);
      if (JSON.stringify(list) !== JSON.stringify(q)) throw new Error('the list changed');
      if (decodeURIComponent(second.slice(3)) !== r) throw new Error('the value changed');
      if (JSON.stringify(body) !== JSON.stringify({ one: id, many: [...q, 'end'] }))
        throw new Error('the body changed');
    }),
    { numRuns: 3_000 },
  );
});
