import fc from 'fast-check';
import t from 'tap';
import { EMPTY_CATALOG } from '../../src/snapshot/compile.ts';
import type { CatalogItem, Connection } from '../../src/snapshot/snapshot.ts';
import { fitsTemplate, readTemplate } from '../../src/snapshot/uri-template.ts';
import { uriSpace } from '../../src/snapshot/uris.ts';

const item = (name: string): CatalogItem => ({ name, definition: '{}', digest: name });

function member(name: string, resources: string[] = [], templates: string[] = []): Connection {
  const hasResources = resources.length + templates.length > 0;
  return {
    id: name,
    name,
    tenant: 'default',
    route: `default/${name}`,
    url: new URL('http://127.0.0.1:1/mcp'),
    path: '/mcp',
    session: 'auto',
    timeoutMs: 1,
    refreshMs: 1,
    forward: new Set(),
    injection: { fault: undefined, credentialId: undefined, headers: [], query: undefined },
    catalog: {
      ...EMPTY_CATALOG,
      capabilities: hasResources ? { resources: {} } : {},
      resources: resources.map(item),
      templates: templates.map(item),
    },
  };
}

/** RFC 6570 expansion of level 1, 2 and form-style expressions: what a client does with a template. */
const expand = (template: string, value: string): string =>
  template.replace(/\{([+#./;?&]?)([^}]*)\}/g, (_, operator: string, names: string) => {
    const encoded = operator === '+' || operator === '#' ? encodeURI(value) : encodeURIComponent(value);
    if (operator === '' || operator === '+') return encoded;
    if (operator === '?' || operator === '&') return `${operator}${names.split(',')[0]}=${encoded}`;
    return operator === ';' ? `;${names}=${encoded}` : `${operator}${encoded}`;
  });

t.test('what a client sees', async (t) => {
  const [notes, app] = [member('notes', ['file:///a']), member('My_App')];
  const space = uriSpace([notes, app], 'always');
  t.equal(space.isIdentity, false);
  t.equal(space.toWire(notes, 'file:///a'), 'notes+file:///a');
  t.equal(space.toWire(notes, 'urn:isbn:1'), 'notes+urn:isbn:1', 'opaque ones too');
  t.equal(space.toWire(notes, 'https://x.example/a'), 'https://x.example/a', 'clients may fetch these');
  t.equal(space.toWire(notes, 'ui://view/a.html'), 'ui://notes/view/a.html', 'MCP Apps know them by the scheme');
  t.equal(space.toWire(notes, 'memo://{id}'), 'notes+memo://{id}');
  t.match(space.toWire(app, 'urn:x'), /^my-app-[0-9a-f]{6}\+urn:x$/, 'a scheme has no underscore and no case');
  t.same(space.fromWire('NOTES+file:///a'), { connection: notes, uri: 'file:///a' });
  t.same(space.fromWire('ui://notes/view/a.html'), { connection: notes, uri: 'ui://view/a.html' });
  t.same(space.fromWire('file:///a'), { connection: notes, uri: 'file:///a' }, 'a bare one that one member lists');
  t.equal(uriSpace([notes], 'collision').isIdentity, true, 'one member has its own names');
  t.equal(uriSpace([notes], 'always').isIdentity, false);
  t.equal(uriSpace([notes, app], 'never').isIdentity, true);
});

t.test('a bare URI is its owner’s, if there is one', async (t) => {
  const a = member('a', ['file:///a', 'file:///both', 'https://x.example/both'], ['memo://{id}', 'gen:{+rest}']);
  const b = member('b', ['file:///both', 'https://x.example/both'], ['memo://{id}/raw', '{+anything}']);
  const owner = (uri: string, members = [a, b]) => uriSpace(members, 'always').fromWire(uri)?.connection.name;
  t.equal(owner('file:///a'), 'a');
  t.equal(owner('file:///both'), undefined, 'two could own it');
  t.equal(owner('memo://7'), 'a', 'by its template');
  t.equal(owner('memo://7/raw'), 'b', 'a variable does not reach over a slash');
  t.equal(owner('gen:x/y?z'), 'a');
  t.equal(owner('else://1'), undefined, 'a template without a scheme says nothing');
  t.equal(owner('else://1', [a, member('tools-only')]), 'a', 'the only one with resources');
  const space = uriSpace([a, b], 'always');
  t.equal(space.toWire(a, 'https://x.example/both'), 'a+https://x.example/both', 'unless two list it');
  t.equal(space.toWire(b, 'https://x.example/both'), 'b+https://x.example/both');

  const never = uriSpace([a, b], 'never');
  t.equal(never.fromWire('file:///both')?.connection.name, 'a', 'where nothing is rewritten the first one has it');
  t.equal(never.fromWire('memo://7/raw')?.connection.name, 'b');
  t.equal(uriSpace([member('solo')], 'never').fromWire('any:thing')?.connection.name, 'solo');
});

const name = fc
  .stringMatching(/^[A-Za-z0-9]([A-Za-z0-9_.-]{0,10}[A-Za-z0-9])?$/)
  .filter((text) => !text.includes('__'));
const uri = fc.oneof(
  fc.constantFrom('https://x.example/1', 'https://x.example/2', 'http://x.example/{id}', 'file:///1', 'ui://x/1'),
  fc.webUrl(),
  fc.stringMatching(/^[a-zA-Z][a-zA-Z0-9+.-]{0,8}:[!-z]{0,20}$/),
  fc.stringMatching(/^ui:\/\/[!-z]{0,20}$/),
  fc.string(),
);
const membersWith = (value: fc.Arbitrary<string>) =>
  fc.uniqueArray(fc.tuple(name, fc.uniqueArray(value, { minLength: 1, maxLength: 6 })), {
    minLength: 2,
    maxLength: 5,
    selector: ([one]) => one,
  });

t.test('every listed URI comes back to its owner, and no two share a wire URI', async () => {
  fc.assert(
    fc.property(membersWith(uri), (described) => {
      const members = described.map(([own, uris]) => member(own, uris));
      const space = uriSpace(members, 'always');
      const seen = new Set<string>();
      for (const one of members) {
        for (const { name: upstream } of one.catalog.resources) {
          const wire = space.toWire(one, upstream);
          const back = space.fromWire(wire);
          if (seen.has(wire) || back?.connection !== one || back.uri !== upstream) return false;
          seen.add(wire);
        }
      }
      return true;
    }),
    { numRuns: 500 },
  );
});

const expression = fc.constantFrom('{id}', '{+path}', '{/segment}', '{?q}', '{;p}', '{.ext}', '{#part}', '{a}-{b}');
const template = fc
  .tuple(
    fc.constantFrom('http://h.example/', 'https://h.example/x', 'ui://app/', 'memo://', 'urn:x:', 'git+ssh://h/', ''),
    fc.array(fc.oneof(expression, fc.stringMatching(/^[a-z/]{1,5}$/)), { minLength: 1, maxLength: 4 }),
  )
  .map(([start, parts]) => start + parts.join(''));

t.test('what a wire template expands to is its owner’s, expanded', async () => {
  fc.assert(
    fc.property(membersWith(template), fc.string({ maxLength: 12 }), (described, value) => {
      const members = described.map(([own, templates]) => member(own, [], templates));
      const space = uriSpace(members, 'always');
      return members.every((one) =>
        one.catalog.templates.every(({ name: upstream }) => {
          const back = space.fromWire(expand(space.toWire(one, upstream), value));
          return back?.connection === one && back.uri === expand(upstream, value);
        }),
      );
    }),
    { numRuns: 500 },
  );
});

t.test('templates', async (t) => {
  const fits = (text: string, value: string) => {
    const read = readTemplate(text);
    return read !== undefined && fitsTemplate(value, read);
  };
  for (const [text, value, expected] of [
    ['file:///{name}', 'file:///a.txt', true],
    ['file:///{name}', 'file:///a/b', false],
    ['file:///{+path}', 'file:///a/b?c', true],
    ['db://{table}/{id}', 'db://t/1', true],
    ['db://{table}/{id}', 'db://t', false],
    ['s://x{/segments*}', 's://x/a/b', true],
    ['s://x{/segments*}', 's://xa', false],
    ['s://x{?q,limit}', 's://x?q=1&limit=2', true],
    ['s://x{?q,limit}', 's://x', true],
    ['s://x{?q}', 's://xyz', false],
    ['s://{a}.{b}.txt', 's://1.2.3.txt', true],
    ['s://plain', 's://plain', true],
    ['s://{broken', 's://x', false],
    ['s://bro}ken', 's://bro}ken', false],
    ['{+all}', 's://x', false],
  ] as const) {
    t.equal(fits(text, value), expected, `${text} ${expected ? 'gives' : 'does not give'} ${value}`);
  }
  const hostile = readTemplate(`s:${'{+a}x'.repeat(16)}y`);
  const began = performance.now();
  t.equal(hostile !== undefined && fitsTemplate(`s:${'x'.repeat(2000)}`, hostile), false);
  t.ok(performance.now() - began < 500, 'the work is bounded');
});
