import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { MAIN, type Outcome, type RunOptions, runSallyport } from './sallyport.ts';

const directory = mkdtempSync(join(tmpdir(), 'sp-cli-'));
t.teardown(() => rmSync(directory, { recursive: true, force: true }));
const sallyport = (args: readonly string[], options?: RunOptions) => runSallyport(directory, args, options);

const file = (name: string, text: string): string => {
  writeFileSync(join(directory, name), text);
  return name;
};

t.test('help and version need nothing, and tell what there is', async (t) => {
  const help = await sallyport(['--help']);
  t.equal(help.code, 0);
  const commands =
    'up control-plane processor demo bench apply diff validate export connection namespace persona key tool audit client doctor xds version';
  for (const command of commands.split(' ')) t.match(help.out, new RegExp(`^  ${command}\\b`, 'm'));
  const nested = await sallyport(['connection', 'add', '--help']);
  t.match(nested.out, /--bearer-env/);
  t.match(nested.out, /--server <url>/, 'options that every command has are shown with each');
  const version = JSON.parse((await sallyport(['version', '--json'])).out);
  t.match(version, { version: /^\d+\.\d+\.\d+$/, node: process.versions.node });
});

/** [arguments, what the error says]: all of these end with 2. */
const USAGE: [string, RegExp][] = [
  ['', /Usage: sallyport/],
  ['connection', /Usage: sallyport connection/],
  ['conection list', /unknown command 'conection'\n\(Did you mean connection\?\)/],
  ['connection list --jsn', /unknown option '--jsn'\n\(Did you mean --json\?\)/],
  ['connection get', /missing required argument 'name'/],
  ['connection get a b', /too many arguments/],
  ['connection add x', /required option '--url <url>' not specified/],
  ['connection add x --url http://a --bearer b --basic c:d', /Use only one of --bearer/],
  ['connection add x --url http://a --value v', /--value goes with --api-key-header/],
  ['connection add x --url http://a --api-key-header k', /--value goes with --api-key-header/],
  ['connection add x --url http://a --basic nocolon', /--basic must be USER:PASSWORD/],
  ['connection add x --url http://a --header nothing', /must be NAME=VALUE/],
  ['connection add x --url http://a --session some', /Allowed choices are auto, stateless, pooled/],
  ['namespace set docs', /Say what to change/],
  ['key create ci', /required option '--role <names>' not specified/],
  ['tool call x {a}', /must be a JSON object/],
  ['tool call x [1]', /must be a JSON object such as/],
  ['audit list --verdict maybe', /Allowed choices are allowed, denied, limited, blocked, failed/],
  ['audit list --limit 0', /whole number from 1 to 500/],
  ['apply', /required option '-f, --file <file>' not specified/],
  ['client config emacs', /Allowed choices are claude-code, cursor, vscode, json/],
  ['up --port 70000', /whole number from 0 to 65535/],
  ['up --workers 0', /whole number from 1 to 64/],
  ['processor', /needs --runtime-dir .* or --listen/],
  ['processor --runtime-dir x', /DATABASE_URL is not set/],
  ['control-plane', /required option '--runtime-dir <directory>' not specified/],
  ['key list --server localhost:8081', /must be a URL such as http:\/\/127\.0\.0\.1:8081/],
  ['bench --nonsense', /nonsense/],
];

t.test('usage errors end with 2, on standard error, and say what to do', async (t) => {
  const env = { DATABASE_URL: '' };
  const outcomes = await Promise.all(USAGE.map(([args]) => sallyport(args === '' ? [] : args.split(' '), { env })));
  for (const [i, [args, message]] of USAGE.entries()) {
    const { code, out, err } = outcomes[i] as Outcome;
    t.equal(code, 2, `sallyport ${args}`);
    t.equal(out, '', `sallyport ${args}`);
    t.match(err, message);
    t.notMatch(err, /^\s+at .*\.js:/m, 'no stack trace');
  }
});

t.test('an environment twin is read like its flag, and refused like it', async (t) => {
  const { code, err } = await sallyport(['up'], { env: { SALLYPORT_ADMIN_PORT: 'x' } });
  t.equal(code, 2);
  t.match(err, /SALLYPORT_ADMIN_PORT/);
});

t.test('validate is offline: line and column for every problem', async (t) => {
  const good = await sallyport([
    'validate',
    '-f',
    file('good.yaml', 'connections: { a: { url: http://a } }\nnamespaces: { default: { connections: [a] } }'),
  ]);
  t.same(good, { code: 0, out: 'good.yaml is valid.\n', err: '' });

  const typo = file('typo.yaml', 'connections:\n  a:\n    url: http://a\n    timout: 3s\nnamespace: {}\n');
  const bad = await sallyport(['validate', '-f', typo]);
  t.equal(bad.code, 1);
  t.equal(bad.out, '');
  t.equal(
    bad.err,
    'sallyport: typo.yaml:4:5: connections.a.timout: unknown key "timout": did you mean "timeout"?\ntypo.yaml:5:1: namespace: unknown key "namespace": did you mean "namespaces"?\n',
  );
  const json = await sallyport(['validate', '-f', typo, '--json']);
  t.equal(json.code, 1);
  t.match(JSON.parse(json.out), {
    valid: false,
    problems: [
      { line: 4, column: 5, path: 'connections.a.timout' },
      { line: 5, column: 1 },
    ],
  });

  // What only the whole shows has its place too.
  const whole = file(
    'whole.yaml',
    'connections: { a: { url: http://a } }\nnamespaces:\n  default:\n    connections: [a, crm]\n',
  );
  t.equal(
    (await sallyport(['validate', '-f', whole])).err,
    'sallyport: whole.yaml:4:22: namespaces.default.connections[1]: there is no connection named "crm"\n',
  );

  // Secrets need not be at hand to check a file; a variable in plain text must be.
  const secret = file(
    'secret.yaml',
    'connections: { a: { url: http://a, auth: { type: bearer, token: { env: NOPE } } } }',
  );
  const noted = await sallyport(['validate', '-f', secret]);
  t.equal(noted.code, 0);
  t.equal(noted.err, 'note: secret.yaml:1:65: connections.a.auth.token: environment variable NOPE is not set\n');
  const stdin = await sallyport(['validate', '-f', '-'], { input: `publicUrl: \${NOPE}` });
  t.equal(stdin.err, 'sallyport: stdin:1:12: publicUrl: environment variable NOPE is not set\n');
  const servers = await sallyport(['validate', '-f', '-'], { input: '{"mcpServers": {"fs": {"command": "npx"}}}' });
  t.match(servers.err, /stdin:1:24: mcpServers\.fs\.command: .* is not supported by this version yet/);
  t.match(await sallyport(['validate', '-f', 'nowhere.yaml']), {
    code: 1,
    err: 'sallyport: There is no file nowhere.yaml.\n',
  });
});

t.test('apply refuses a file whose secrets are not at hand before it asks anybody', async (t) => {
  const outcome = await sallyport(['apply', '-f', 'secret.yaml', '--server', 'http://127.0.0.1:9']);
  t.equal(outcome.code, 1);
  t.match(outcome.err, /secret\.yaml:1:65: connections\.a\.auth\.token: environment variable NOPE is not set/);
});

t.test('the JSON Schema can be printed', async (t) => {
  const { code, out } = await sallyport(['schema']);
  t.equal(code, 0);
  t.match(JSON.parse(out), { $schema: 'http://json-schema.org/draft-07/schema#', properties: { connections: {} } });
});

t.test('a gateway that is not there: what was tried, and what to do', async (t) => {
  const free = createServer();
  await new Promise<void>((resolve) => free.listen(0, '127.0.0.1', resolve));
  const { port } = free.address() as AddressInfo;
  await new Promise((resolve) => free.close(resolve));
  const server = `http://127.0.0.1:${port}`;
  const outcome = await sallyport(['connection', 'list', '--server', server]);
  t.equal(outcome.code, 1);
  t.equal(
    outcome.err,
    `sallyport: Cannot reach ${server}: nothing listens there. Is the gateway running? Start it with "npm start" (or "sallyport up"), or say where it is with --server URL.\n`,
  );
  const doctor = await sallyport(['doctor', '--json'], { env: { SALLYPORT_SERVER: server } });
  t.equal(doctor.code, 1);
  t.match(JSON.parse(doctor.out), {
    ok: false,
    checks: [{ name: 'admin API answers', ok: false, detail: /Cannot reach/ }],
  });
});

t.test('something else listens there: said so, and the token that lies here is not sent to strangers', async (t) => {
  let authorization: string | undefined;
  const stranger = createServer((request, response) => {
    authorization = request.headers.authorization;
    response.end('<html>hello</html>');
  });
  await new Promise<void>((resolve) => stranger.listen(0, '0.0.0.0', resolve));
  t.teardown(() => stranger.close());
  const { port } = stranger.address() as AddressInfo;
  mkdirSync(join(directory, '.sallyport'), { recursive: true });
  file('.sallyport/admin-token', 'token-of-this-machine\n');
  const there = await sallyport(['key', 'list', '--server', `http://0.0.0.0:${port}`]);
  t.equal(there.code, 1);
  t.match(there.err, /not as Sallyport's admin API does/);
  t.equal(authorization, undefined);
  await sallyport(['key', 'list', '--server', `http://127.0.0.1:${port}`]);
  t.equal(authorization, 'Bearer token-of-this-machine');
  file(
    '.sallyport/up.json',
    JSON.stringify({ adminUrl: `http://0.0.0.0:${port}`, mcpUrl: 'http://127.0.0.1:8090/mcp', firstKey: 'sp_first' }),
  );
  await sallyport(['key', 'list']);
  t.equal(authorization, 'Bearer token-of-this-machine', 'the gateway that runs here is found by its report');
  await sallyport(['key', 'list'], { env: { SALLYPORT_ADMIN_TOKEN: 'from-environment' } });
  t.equal(authorization, 'Bearer from-environment');
  await sallyport(['key', 'list', '--token', 'from-flag'], { env: { SALLYPORT_ADMIN_TOKEN: 'from-environment' } });
  t.equal(authorization, 'Bearer from-flag');
});

t.test('client configurations are ready to paste', async (t) => {
  const config = async (...args: string[]) => (await sallyport(['client', 'config', ...args])).out;
  t.equal(
    await config('claude-code'),
    'claude mcp add --transport http sallyport http://127.0.0.1:8090/mcp --header "Authorization: Bearer sp_first"\n',
  );
  const headers = { Authorization: 'Bearer sp_k' };
  const url = 'http://127.0.0.1:8090/docs/mcp';
  t.same(JSON.parse(await config('vscode', '--namespace', 'docs', '--key', 'sp_k')), {
    servers: { sallyport: { type: 'http', url, headers } },
  });
  t.same(JSON.parse(await config('cursor', '--namespace', 'docs', '--key', 'sp_k', '--name', 'x')), {
    mcpServers: { x: { url, headers } },
  });
  t.same(JSON.parse(await config('json', '--url', 'https://g/mcp', '--key', 'sp_k')), {
    mcpServers: { sallyport: { type: 'http', url: 'https://g/mcp', headers } },
  });
});

t.test('a command that only talks to the gateway loads none of its parts', async (t) => {
  // CPU time, because the machine may be busy; Node alone takes about 60 ms, Postgres' client or zod as much again.
  const script = `process.argv = ['node', '${MAIN}', 'version'];
    await import('${MAIN}');
    const { user, system } = process.cpuUsage();
    console.error((user + system) / 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { cwd: directory });
  let err = '';
  child.stderr.on('data', (chunk) => {
    err += chunk;
  });
  await new Promise((resolve) => child.on('close', resolve));
  t.ok(Number(err) < 250, `${err.trim()} ms of CPU`);
});
