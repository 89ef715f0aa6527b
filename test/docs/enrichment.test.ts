/** docs/enrichment.md, as a newcomer follows it: its files written, its commands run, its other rules checked. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { parse } from 'yaml';
import { namedRuleSchema } from '../../src/config/rule-schema.ts';
import { checkRule } from '../../src/enrichment/compile.ts';
import { packageRoot } from '../../src/package-root.ts';
import { startLedger } from '../journeys/enrichment.ts';
import { startGateway } from '../support/gateway.ts';
import { codes, fences, page, rows, section } from './markdown.ts';

const PAGE = page('docs/enrichment.md');
const run = promisify(execFile);

const SAYS: readonly (readonly [command: RegExp, output: RegExp])[] = [
  [/ rule dry-run /, /clock[\s\S]*merged[\s\S]*\+.*"made"/],
  [/ rule add -f clock/, /clock/],
  [/ rule list/, /clock +demo +add/],
  [/ audit list /, /"outcome": "merged"/],
  [/ source add /, /ledger/],
  [/ source test /, /PostgreSQL \d+/],
  [/ rule add -f account/, /account/],
  [/ rule history /, /1 /],
];

t.test('the page, from top to bottom', async (t) => {
  const ledger = await startLedger(t);
  const gateway = await startGateway(t);
  await gateway.ready('demo');
  const directory = mkdtempSync(join(tmpdir(), 'sp-docs-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const rules = fences(PAGE, 'yaml').map(({ text }) => text);
  for (const text of rules.filter((one) => /^name: /.test(one))) {
    writeFileSync(join(directory, `${parse(text).name}.yaml`), text);
  }
  const env = { ...process.env, SALLYPORT_DATA_DIR: gateway.dataDir, LEDGER_URL: ledger.url };
  const commands = fences(PAGE, 'sh').flatMap(({ text }) => text.trim().split('\n'));
  let calls = 0;
  for (const command of commands) {
    const script = command.replace(
      /^npx sallyport/,
      `'${process.execPath}' '${join(packageRoot, 'dist/src/main.js')}'`,
    );
    const sallyport = () => run('/bin/sh', ['-ec', script], { cwd: directory, env });
    if (/ tool call /.test(command)) {
      calls += 1;
      const wanted = calls === 1 ? /"made\.at"[\s\S]*"weekday"/ : /"owner": ?"owner-42"/;
      // A rule is in force within two seconds of being stored.
      let out = '';
      for (let i = 0; i < 20 && !wanted.test(out); i++) out = (await sallyport()).stdout;
      t.match(out, wanted, command);
      continue;
    }
    const { stdout } = await sallyport();
    const says = SAYS.find(([pattern]) => pattern.test(command));
    t.ok(says, `${command} has an expectation`);
    if (says) t.match(stdout, says[1], command);
  }
  t.equal(calls, 2);

  const metrics = await (await fetch(`${gateway.adminUrl}/metrics`)).text();
  const measured = [...metrics.matchAll(/^# TYPE (sallyport_(?:enrichment|source)_\w+)/gm)].map(([, name]) => name);
  const described = new Set(rows(section(PAGE, '### Metrics')).flatMap(([name = '']) => codes(name)));
  t.ok(measured.includes('sallyport_enrichment_total'));
  t.same(
    measured.filter((name) => !described.has(name ?? '')),
    [],
    'the page has all metrics',
  );
});

t.test('the rules that the page only shows could be saved', (t) => {
  const types = new Map([
    ['ledger', 'postgres'],
    ['catalog', 'datahub'],
    ['warehouse', 'trino'],
  ] as const);
  const shown = fences(PAGE, 'yaml').flatMap(({ text }) => parse(text) as object | object[]);
  t.equal(shown.length, 5);
  for (const rule of shown) {
    const { name, ...config } = namedRuleSchema.parse(rule);
    t.same(checkRule(config, types), [], name);
  }
  t.end();
});
