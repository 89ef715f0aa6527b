/** Every command of README.md, docs/configuration.md and docs/operations.md, run as it is printed there, in that order. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import t, { type Test } from 'tap';
import { parse } from 'yaml';
import { packageRoot } from '../../src/package-root.ts';
import { processesMentioning } from '../supervisor/support.ts';
import { eventually } from '../support/eventually.ts';
import { startGateway } from '../support/gateway.ts';
import { openSession, post, textOf } from '../support/mcp.ts';
import { startPostgres } from '../support/postgres.ts';
import { freePort, startEverything } from '../support/upstream.ts';
import { codes, fences, page, rows, section } from './markdown.ts';

const PAGES = ['README.md', 'docs/configuration.md', 'docs/operations.md'].map(page);
const README = PAGES[0] as (typeof PAGES)[number];
const OPERATIONS = PAGES[2] as (typeof PAGES)[number];

/** What the example of the README refers to. */
const REFERENCES = { CRM_TOKEN: 'crm-token-0123456789', CI_KEY: 'ci-key-0123456789' };

const runsRoles = (text: string): boolean => text.includes('sallyport control-plane');

/** What each command says on standard output. One that is not here is one that nobody looked at. */
const SAYS: readonly (readonly [command: RegExp, output: RegExp])[] = [
  [/ tool call demo__add /, /42/],
  [/ connection add everything /, /^everything is ready with \d+ tools, [^\n]+\.\n {2}http:.*\/mcp {2}\(default\)\n$/],
  [/ tool list$/, /^everything__echo +everything /m],
  [/ persona add analyst /, /^Added persona analyst\.\n$/],
  [/ key create ci /, /^sp_\S+\n$/],
  [/ persona explain ci everything__get-env/, /^denied: .*"\*__get-env"/],
  [/ audit list$/, /allowed +admin .* tools\/call +demo__add /],
  [/ audit list --verdict failed /, /./],
  [/ validate /, /is valid\.\n$/],
  [/ diff /, /^\+ connections crm$/m],
  [/ apply .*--dry-run/, /Nothing was changed/],
  [/ schema$/, /"title": "Sallyport configuration"/],
  [/ doctor$/, /^ok +connection everything: offers \d+ tools$/m],
  [/ connection list$/, /^everything +ready /m],
  [/ xds dump$/, /"revision"/],
  [/ export -o /, /^$/],
];

/** A shell in a directory of its own, in which the commands mean this build. */
function shellFor(t: Test) {
  const directory = mkdtempSync('/tmp/sp-docs-');
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const bin = join(directory, 'bin');
  mkdirSync(bin);
  const program = (name: string, text: string) =>
    writeFileSync(join(bin, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  const main = `exec '${process.execPath}' '${join(packageRoot, 'dist/src/main.js')}' "$@"`;
  program('sallyport', main);
  program('npx', `[ "$1" = sallyport ] && shift || exit 127\n${main}`);
  program('envoy', `exec '${process.env.ENVOY_PATH ?? ''}' "$@"`);
  const environment = { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH}` };
  const start = (script: string, env: Readonly<Record<string, string>>): ChildProcess =>
    spawn('/bin/sh', ['-ec', script], { cwd: directory, env: { ...environment, ...env }, detached: true });
  return { directory, start };
}

async function outcome(child: ChildProcess): Promise<{ code: number | null; out: string; err: string }> {
  let [out, err] = ['', ''];
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    out += chunk;
  });
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    err += chunk;
  });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, out, err };
}

/** The example of the README, with the port at which the test's server listens. */
const example = (port: string): string => fences(README, 'yaml')[0]?.text.replaceAll(':3001/', `:${port}/`) ?? '';

t.test('the commands, one after the other', async (t) => {
  const gateway = await startGateway(t);
  await gateway.ready('demo');
  const everything = await startEverything(t);
  const { port } = new URL(everything.url);
  const shell = shellFor(t);
  writeFileSync(join(shell.directory, 'sallyport.yaml'), example(port));
  const env = { ...REFERENCES, SALLYPORT_DATA_DIR: gateway.dataDir };

  const printed = new Map<string, string>();
  for (const { path, text } of PAGES) {
    for (const fence of fences({ path, text }, 'sh')) {
      if (runsRoles(fence.text)) continue;
      for (const command of fence.text.trim().split('\n')) {
        // What the fixture has done.
        if (command === 'npm start') continue;
        const plain = command.replace(/ +# .*/, '');
        const { code, out, err } = await outcome(shell.start(command.replaceAll(':3001/', `:${port}/`), env));
        t.equal(code, 0, `${path}: ${plain}\n${out}${err}`);
        const says = SAYS.find(([pattern]) => pattern.test(plain));
        t.ok(says, `${plain} has an expectation`);
        if (says) t.match(out, says[1], plain);
        printed.set(plain, out);
      }
    }
  }
  t.equal(printed.size, SAYS.length, 'nothing is expected that no page says');

  const key = [...printed].find(([command]) => command.includes('key create'))?.[1].trim();
  const names = await eventually(async () => (await openSession(gateway.mcpUrl, key)).tools());
  t.ok(names.includes('everything__echo') && !names.includes('everything__get-env'), 'the new key has its persona');
  t.notOk(
    names.some((name) => name.startsWith('demo__')),
    'and nothing else',
  );
  const first = await (await openSession(gateway.mcpUrl, gateway.key)).tools();
  t.ok(first.includes('demo__add') && first.includes('everything__get-env'), 'the first key may still do everything');
  const backup = parse(readFileSync(join(shell.directory, 'sallyport-backup.yaml'), 'utf8'));
  t.same(Object.keys(backup.personas), ['admin', 'analyst'], 'the backup has what was configured');

  const metrics = await (await fetch(`${gateway.adminUrl}/metrics`)).text();
  const measured = new Set([...metrics.matchAll(/^# TYPE (sallyport_\w+)/gm)].map(([, name]) => name));
  const described = rows(section(OPERATIONS, '### Metrics')).flatMap(([name = '']) => codes(name));
  t.same(described.sort(), [...measured].sort(), 'the metrics are those of the page');

  const { json } = await gateway.admin<{ items: object[] }>('GET', 'audit/events');
  const columns = rows(section(OPERATIONS, '## The audit')).flatMap(([names = '']) => codes(names));
  t.same(columns.sort(), Object.keys(json.items[0] ?? {}).sort(), 'the columns of the audit are those of the page');
});

/** The block that starts a gateway by its roles, run with a runtime directory and ports of its own. */
async function startRoles(t: Test, config: string, databaseUrl: string) {
  const shell = shellFor(t);
  const runtimeDir = join(shell.directory, 'run');
  const here = (text: string) => text.replaceAll('/run/sallyport', runtimeDir);
  writeFileSync(join(shell.directory, 'sallyport.yaml'), config);
  mkdirSync(join(shell.directory, 'envoy'));
  writeFileSync(join(shell.directory, 'envoy/bootstrap.json'), here(page('envoy/bootstrap.json').text));

  const [mcpPort, adminPort] = [await freePort(), await freePort()];
  const script = fences(OPERATIONS, 'sh').find(({ text }) => runsRoles(text))?.text ?? '';
  const child = shell.start(here(script), {
    ...REFERENCES,
    DATABASE_URL: databaseUrl,
    SALLYPORT_SECRET_KEY: '5e'.repeat(32),
    SALLYPORT_ADMIN_TOKEN: 'operator-token-0123456789',
    SALLYPORT_MCP_PORT: String(mcpPort),
    SALLYPORT_ADMIN_PORT: String(adminPort),
  });
  const ended = outcome(child);
  const end = (signal: NodeJS.Signals): void => {
    try {
      process.kill(-(child.pid as number), signal);
    } catch {
      // All of them are gone.
    }
  };
  t.teardown(() => end('SIGKILL'));
  return {
    mcpUrl: `http://127.0.0.1:${mcpPort}/mcp`,
    /** Serves, and all that belongs to it is there. */
    ready: () =>
      eventually(async () => {
        const answer = await fetch(`http://127.0.0.1:${adminPort}/readyz`);
        const state = (await answer.json()) as Record<string, unknown>;
        return state.status === 'ready' && state.envoysSettled === 1 && state.processors === 2;
      }, 60_000),
    async stop(): Promise<void> {
      end('SIGTERM');
      await ended;
      await eventually(() => processesMentioning(runtimeDir).length === 0, 15_000);
    },
  };
}

t.test('the roles apart, as the page starts them, twice on one Postgres', async (t) => {
  const postgres = await startPostgres();
  t.teardown(() => postgres.stop());
  const everything = await startEverything(t);
  const config = example(new URL(everything.url).port);
  const database = await postgres.createDatabase({ migrated: false });
  const gateways = [await startRoles(t, config, database), await startRoles(t, config, database)] as const;
  await Promise.all(gateways.map((gateway) => gateway.ready()));

  const [one, other] = gateways;
  // Envoy asks after its processors twice a second.
  const session = await eventually(() => openSession(one.mcpUrl, REFERENCES.CI_KEY));
  await eventually(async () => (await session.tools()).includes('everything__echo'), 20_000);
  t.equal(textOf(await session.call('everything__echo', '{"message":"one"}')), 'Echo: one');
  const elsewhere = await eventually(async () => {
    const answer = await post(
      other.mcpUrl,
      REFERENCES.CI_KEY,
      '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"everything__echo","arguments":{"message":"other"}}}',
      { 'mcp-session-id': session.id },
    );
    return textOf(answer) === 'Echo: other' && answer;
  });
  t.equal(elsewhere.status, 200, 'a session of one gateway is good at the other');

  await Promise.all(gateways.map((gateway) => gateway.stop()));
  t.pass('all of them end when they are told to');
});
