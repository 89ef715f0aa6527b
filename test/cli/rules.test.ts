import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { ADMIN_TOKEN, controlPlane } from '../control-plane/harness.ts';
import { startPostgres } from '../support/postgres.ts';
import { type RunOptions, runSallyport } from './sallyport.ts';

const postgres = await startPostgres();
const plane = await controlPlane(await postgres.createDatabase({ migrated: false }));
const directory = mkdtempSync(join(tmpdir(), 'sp-rules-cli-'));
const accounts = createServer((request, response) => {
  const status = request.headers.authorization === 'Bearer crm-secret-1' ? 200 : 401;
  response.writeHead(status, { 'content-type': 'application/json' }).end('{"tier":"gold","id":9007199254740993}');
});
await new Promise<void>((resolve) => accounts.listen(0, '127.0.0.1', resolve));
const url = `http://127.0.0.1:${(accounts.address() as AddressInfo).port}/api`;
t.teardown(async () => {
  accounts.close();
  await plane.stop();
  await postgres.stop();
  rmSync(directory, { recursive: true, force: true });
});

const sallyport = (line: string | readonly string[], options?: RunOptions) =>
  runSallyport(
    directory,
    [...(typeof line === 'string' ? line.split(' ') : line), '--server', plane.adminUrl, '--token', ADMIN_TOKEN],
    options,
  );
/** Runs a command that must work. */
async function done(line: string | readonly string[], options?: RunOptions): Promise<string> {
  const { code, out, err } = await sallyport(line, options);
  t.equal(code, 0, `${line}: ${err}`);
  return out;
}
const file = (name: string, text: string): string => {
  writeFileSync(join(directory, name), text);
  return name;
};

const RULE = `name: owner-context
connection: crm
tool: "get_*"
when: { exists: ["$.response.id"] }
source:
  use: crmapi
  request: "GET /accounts/:id"
  bind: { id: "$.response.id" }
merge: { path: enrichment.account }
`;

t.test('sources', async (t) => {
  t.match(await done('source list'), /^No sources\. Add one: sallyport source add/);
  const refused = await sallyport(['source', 'add', 'crmapi', '--type', 'http', '--url', 'http://127.0.0.1:9']);
  t.match(refused, { code: 1, err: /crmapi does not work: .*\n.*Nothing was stored/ });
  t.match(await sallyport('source get crmapi'), { code: 1, err: /no source named "crmapi"/ });
  t.match(await sallyport('source add x --type mysql --url x'), { code: 2, err: /Allowed choices are trino/ });
  t.match(await sallyport('source add x --type http'), { code: 2, err: /--url or --url-env/ });

  const header = 'authorization=Bearer crm-secret-1';
  const added = await done(['source', 'add', 'crmapi', '--type', 'http', '--url', url, '--header', header]);
  t.match(added, /^crmapi answers in \d+ ms/);
  t.match(await done('source list'), new RegExp(`^NAME +TYPE .*\\ncrmapi +http +unused +api +${url}`));
  const shown = JSON.parse(await done('source get crmapi --json'));
  t.match(shown, { type: 'http', headers: { authorization: '[REDACTED]' } });
  t.match(await done('source test crmapi'), /^crmapi answers/);

  const env = { LEDGER: 'postgres://ledger:ledger-pw-1@127.0.0.1:9/ledger' };
  await done('source add ledger --type postgres --url-env LEDGER --no-test', { env });
  t.match(await sallyport('source test ledger'), { code: 1, out: /^ledger does not work: / });
  t.match(await done('export'), /ledger:\n +type: postgres\n +url:\n +env: LEDGER\n/);
  t.match(await done('source remove ledger'), /^Removed source ledger\.\n$/);
});

t.test('rules: added, listed, switched, rolled back', async (t) => {
  t.match(await done(['rule', 'add', '-f', file('rule.yaml', RULE)]), /^Added rule owner-context, version 1\.\n$/);
  t.match(await sallyport('rule add -f rule.yaml'), { code: 1, err: /There is a rule named "owner-context" already/ });
  const section = `enrichment:\n  - ${RULE.trimEnd().replaceAll('\n', '\n    ')}\n    priority: 3\n`;
  t.match(await done(['rule', 'add', '--replace', '-f', file('section.yaml', section)]), /^Saved .* version 2\.\n$/);
  await done('rule add -f -', { input: RULE.replace('owner-context', 'second') });

  const list = await done('rule list');
  t.match(list, /^NAME +CONNECTION +TOOL +SOURCE +PRIORITY +STATE +VERSION/);
  t.match(list, /\nowner-context +crm +get_\* +crmapi +3 +on +2 +api.*\nsecond +crm +get_\* +crmapi +0 +on +1 /);
  t.match(await done('rule get owner-context'), /^source\.request +GET \/accounts\/:id$/m);
  t.match(await done('rule disable second'), /^Rule second is disabled\.\n$/);
  t.match(await done('rule list'), /\nsecond .* disabled +2 /);
  t.match(await done('rule enable second'), /^Rule second is on\.\n$/);
  t.match(
    await done('rule history owner-context'),
    /^VERSION +AT +AUTHOR +REASON\n2 +\S+ +admin api +put rule owner-context\n1 +\S+ +admin api +add rule owner-context\n$/,
  );
  t.match(await done('rule rollback owner-context 1'), /says again what version 1 said; that is version 3\.\n$/);
  t.match(await sallyport('rule rollback owner-context zero'), { code: 2, err: /whole number/ });
  t.match(await sallyport('rule rollback owner-context 9'), { code: 1, err: /no version 9/ });
  t.match(await sallyport('source remove crmapi'), { code: 1, err: /used by the rules "owner-context", "second"/ });
  await done('rule remove second');
  t.match(JSON.parse(await done('rule list --json')).items, [{ name: 'owner-context', runs: 1 }]);
});

t.test("a rule's faults have their line and column", async (t) => {
  const bad = RULE.replace('/:id"', '/:nope"').replace('tool:', 'tol:');
  t.match(await sallyport(['rule', 'add', '-f', file('bad.yaml', bad)]), {
    code: 1,
    err: 'sallyport: bad.yaml:3:6: tol: unknown key "tol": did you mean "tool"?\n',
  });
  const unbound = RULE.replace('/:id"', '/:nope"').replace('owner-context', 'x');
  const expected = /^sallyport: unbound\.yaml:8:9: source\.bind: ":nope" has no binding/;
  t.match(await sallyport(['rule', 'add', '-f', file('unbound.yaml', unbound)]), { code: 1, err: expected });
  t.match(await sallyport(['rule', 'dry-run', '-f', 'unbound.yaml', '--response', '{}']), { code: 1, err: expected });

  const whole = `sources:\n  crmapi: { type: http, url: "${url}" }\nenrichment:\n  - name: a\n    connection: crm\n    tool: x\n    source: { use: crmapi, request: "GET /x/:id", bind: { id: "$.nowhere" } }\n    merge: { path: a }\n`;
  t.match(await sallyport(['validate', '-f', file('whole.yaml', whole)]), {
    code: 1,
    err: /^sallyport: whole\.yaml:7:\d+: enrichment\[0\]\.source\.bind\.id: /,
  });
  t.match(await sallyport(['validate', '-f', file('other.yaml', whole.replace('type: http', 'type: datahub'))]), {
    code: 1,
    err: /^sallyport: other\.yaml:7:\d+: enrichment\[0\]\.source\.request: .*datahub/,
  });
  const alone = whole.slice(whole.indexOf('enrichment:')).replace('$.nowhere', '$.args.id');
  t.match(
    await sallyport(['validate', '-f', file('alone.yaml', alone)]),
    { code: 0 },
    'the source may be on the gateway',
  );
  t.match(await sallyport(['apply', '--dry-run', '-f', file('gone.yaml', alone.replace('use: crmapi', 'use: gone'))]), {
    code: 1,
    err: /^sallyport: gone\.yaml:5:\d+: enrichment\[0\]\.source\.use: there is no source "gone"/,
  });
  t.match(await sallyport(['rule', 'add', '-f', file('two.yaml', `[{name: a}, {name: b}]`)]), {
    code: 1,
    err: /has 2 rules, and one is expected/,
  });
  t.match(await sallyport('rule add -f nowhere.yaml'), { code: 1, err: /Cannot read nowhere\.yaml: ENOENT/ });
});

t.test('dry runs: the trace, what was asked, and the diff', async (t) => {
  const out = await done(['rule', 'dry-run', '-f', 'section.yaml', '--response', '{"id":12345678901234567890}']);
  t.match(out, /^RULE +OUTCOME +SOURCE +ROWS +MS +WHY\nowner-context +merged +crmapi +1 +[\d.]+ +-\n/);
  t.match(out, /\nowner-context asks:\n {2}GET \/accounts\/12345678901234567890\n/);
  t.match(out, /\n--- before\n\+\+\+ after\n@@/);
  t.match(out, /\n\+ +"id": 9007199254740993/);
  t.notMatch(out, /\u001b/, 'no colours where nobody looks');
  t.notMatch(out, /crm-secret/);

  const sample = file('sample.json', '{"name":"no id"}');
  const skipped = await done(['rule', 'dry-run', 'owner-context', '--response', sample, '--args', '{"a":1}']);
  t.match(skipped, /^owner-context +skipped .*\$\.response\.id/m);
  t.match(skipped, /The result stays as it is\.\n$/);
  const json = await done(['rule', 'dry-run', 'owner-context', '--response', '{"id":1}', '--json']);
  t.match(JSON.parse(json), { trace: [{ outcome: 'merged' }], diff: String, before: {}, after: {} });

  const failing = file('failing.yaml', RULE.replace('/accounts/:id', ':id').replace('get_*', 'x'));
  const { code } = await sallyport(['rule', 'dry-run', '-f', failing, '--response', '{"id":1}']);
  t.equal(code, 1);
  for (const usage of [
    'rule dry-run --response {}',
    'rule dry-run owner-context --call x --response {}',
    'rule dry-run owner-context --response {x',
  ]) {
    t.equal((await sallyport(usage)).code, 2, usage);
  }
  t.match(await sallyport('rule dry-run owner-context --call x'), { code: 1, err: /no audit event named "x"/ });
  t.match(await sallyport(['rule', 'dry-run', 'owner-context', '--response', '{}', '--as', 'nobody']), {
    code: 1,
    err: /no key named "nobody"/,
  });
  await done(['rule', 'dry-run', 'owner-context', '--response', '{"id":1}', '--as', 'role:analyst']);
});
