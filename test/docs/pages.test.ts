/** What the pages say of names, keys, flags and files, held against the code. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { stringify } from 'yaml';
import { parseConfigFile, problemLine } from '../../src/config/file.ts';
import { configJsonSchema } from '../../src/config/json-schema.ts';
import { parseMcpServers } from '../../src/config/mcp-servers.ts';
import { packageRoot } from '../../src/package-root.ts';
import { allPages, anchors, codes, fences, page, relativeLinks, rows, section, sources } from './markdown.ts';

const ENV = { CRM_TOKEN: 'crm-token-0123456789', CI_KEY: 'ci-key-0123456789' };
const configuration = page('docs/configuration.md');
const ours = [page('README.md'), configuration, page('docs/operations.md')];

t.test('every link leads somewhere', async (t) => {
  for (const from of allPages()) {
    for (const link of relativeLinks(from)) {
      const [file = '', fragment] = link.split('#');
      const target = file === '' ? from.path : join(dirname(from.path), file);
      t.ok(existsSync(join(packageRoot, target)), `${from.path} → ${link}`);
      if (fragment !== undefined) t.ok(anchors(page(target)).includes(fragment), `${from.path} → ${link}`);
    }
  }
});

t.test('every example of a file can be read', async (t) => {
  for (const from of ours) {
    for (const { language, text, line } of fences(from, 'yaml', 'json')) {
      const parsed = (language === 'yaml' ? parseConfigFile : parseMcpServers)(text, from.path, ENV);
      const problems = 'problems' in parsed ? parsed.problems.map((one) => problemLine(from.path, one)) : [];
      t.same(problems, [], `${from.path}:${line}`);
    }
  }
});

t.test('every npm script that a page names is there', async (t) => {
  const { scripts } = JSON.parse(page('package.json').text) as { scripts: Record<string, string> };
  t.equal(scripts.start, 'node bin/sallyport.mjs up');
  for (const { path, text } of allPages()) {
    for (const [, name = ''] of text.matchAll(/npm run ([a-z][\w:-]*)/g))
      t.ok(scripts[name], `${path}: npm run ${name}`);
  }
});

t.test('flags and variables: what is named exists, and what exists is named', async (t) => {
  const code = sources('src', 'bin');
  const twins = [...sources('src/cli').matchAll(/twin\(\s*['"]--([a-z-]+)/g)].map(([, flag = '']) => flag);
  t.ok(twins.length > 10, 'the flags of the roles were found');
  const variableOf = (flag: string) => `SALLYPORT_${flag.toUpperCase().replaceAll('-', '_')}`;

  for (const { path, text } of ours.slice(0, 2)) {
    const flags = new Set([...text.matchAll(/(?<![\w-])--[a-z][a-z-]+/g)].map(([flag]) => flag));
    for (const flag of flags) t.match(code, new RegExp(`['" ,]${flag}[ '"]`), `${path}: ${flag}`);
  }
  const reference = section(configuration, '## Flags and environment');
  const variables = new Set(codes(reference).filter((text) => /^[A-Z][A-Z_]+$/.test(text)));
  for (const variable of variables) {
    t.ok(twins.map(variableOf).includes(variable) || code.includes(variable) || variable === 'TMPDIR', variable);
  }
  for (const flag of twins) {
    t.ok(codes(reference).includes(`--${flag}`), `--${flag} is described`);
    t.ok(variables.has(variableOf(flag)), `${variableOf(flag)} is described`);
  }
});

t.test('every key of the schema is described', async (t) => {
  const words = new Set(codes(configuration.text).flatMap((code) => code.split(/[^$\w]+/)));
  for (const key of keysIn(configJsonSchema())) t.ok(words.has(key), key);
});

function keysIn(schema: unknown): Set<string> {
  const keys = new Set<string>();
  const walk = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return;
    for (const [name, inner] of Object.entries(node)) {
      if (name === 'properties') for (const key of Object.keys(inner as object)) keys.add(key);
      walk(inner);
    }
  };
  walk(schema);
  return keys;
}

t.test('what is said to be for later is refused so', async (t) => {
  /** Where the rows of the table mean. */
  const places: Readonly<Record<string, (inside: string) => string>> = {
    'top level': (inside) => inside,
    'a connection': (inside) => `connections: { x: { ${inside} } }`,
    'a namespace': (inside) => `namespaces: { x: { ${inside} } }`,
    'a persona': (inside) => `personas: { x: { ${inside} } }`,
    '`identity`': (inside) => `identity: { ${inside} }`,
    'a key': (inside) => `identity: { apiKeys: [{ ${inside} }] }`,
    '`audit`': (inside) => `audit: { ${inside} }`,
  };
  const [, ...table] = rows(section(configuration, '## Not in this version'));
  t.equal(table.length, Object.keys(places).length);
  for (const [where = '', keys = ''] of table) {
    for (const key of codes(keys)) {
      const text = places[where]?.(key.includes(':') ? key : stringify({ [key]: 1 }).trim()) ?? '';
      const parsed = parseConfigFile(text, 'x.yaml', ENV);
      const messages = 'problems' in parsed ? parsed.problems.map(({ message }) => message) : [];
      t.ok(
        messages.some((message) => message.includes('is not supported by this version yet')),
        text,
      );
    }
  }
});
