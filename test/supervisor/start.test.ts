import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { signal, startOnLeash } from '../../src/runtime/leash.ts';
import { supervise } from '../../src/supervisor/child.ts';
import { openExternalDatabase } from '../../src/supervisor/database.ts';
import {
  newAdminToken,
  newSecretKey,
  prepareDataDir,
  prepareRuntimeDir,
  readOrCreateSecret,
  runtimeDirOf,
} from '../../src/supervisor/directories.ts';
import { greeting, removeReport, writeReport } from '../../src/supervisor/greeting.ts';
import { endLeftovers } from '../../src/supervisor/leftovers.ts';
import { lockDataDir } from '../../src/supervisor/lock.ts';
import { choosePorts } from '../../src/supervisor/ports.ts';
import { isAlive } from '../../src/supervisor/processes.ts';
import { startRole } from '../../src/supervisor/programs.ts';
import { originOf } from '../../src/supervisor/readiness.ts';
import { eventually, log, startNode, temporaryDirectory } from './support.ts';

t.test('ports: taken, privileged, foreign and free ones', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.teardown(() => server.close());
  const { port } = server.address() as { port: number };
  const host = '127.0.0.1';
  await t.rejects(choosePorts([{ host, port, flag: '--port' }]), {
    name: 'StartError',
    message: `Port ${port} on 127.0.0.1 is in use. Choose another with --port (0 picks a free one), or stop the program that has it.`,
  });
  await t.rejects(choosePorts([{ host: '203.0.113.7', port: 0, flag: '--port' }]), {
    message: /no address of this machine/,
  });
  const ports = await choosePorts([0, 0, 0].map((free) => ({ host, port: free, flag: '--port' })));
  t.equal(new Set(ports).size, 3, 'three different ones');
  const [free = 0] = ports;
  t.strictSame(await choosePorts([{ host, port: free, flag: '--port' }]), [free], 'and they are free again');
  const twice = [
    { host, port: free, flag: '--port' },
    { host, port: free, flag: '--admin-port' },
  ];
  await t.rejects(choosePorts(twice), { message: /in use. Choose another with --admin-port/ });
});

t.test('one `up` on a data directory, however the previous one ended', async (t) => {
  const dataDir = temporaryDirectory(t);
  const unlock = lockDataDir(dataDir);
  t.throws(() => lockDataDir(dataDir), { name: 'StartError', message: `(pid ${process.pid}) uses the data directory` });
  unlock();
  t.notOk(existsSync(join(dataDir, 'up.lock')));

  const gone = spawn(process.execPath, ['-e', '']);
  await new Promise((resolve) => gone.once('exit', resolve));
  writeFileSync(join(dataDir, 'up.lock'), `${gone.pid} 12345\n`);
  const second = lockDataDir(dataDir);
  t.equal(Number.parseInt(readFileSync(join(dataDir, 'up.lock'), 'utf8'), 10), process.pid, 'a dead one is taken over');
  second();

  writeFileSync(join(dataDir, 'up.lock'), `${process.pid} 1\n`);
  lockDataDir(dataDir)();
  t.pass('a process id that was reused is not taken for the holder');
});

t.test('directories and secrets are private', async (t) => {
  const parent = temporaryDirectory(t);
  const dataDir = prepareDataDir(join(parent, 'deep', 'data'));
  t.equal(dataDir, realpathSync(join(parent, 'deep', 'data')));
  t.equal(statSync(dataDir).mode & 0o066, 0, 'nobody else lists or writes it');
  writeFileSync(join(parent, 'file'), '');
  t.throws(() => prepareDataDir(join(parent, 'file')), {
    name: 'StartError',
    message: /Choose another with --data-dir/,
  });

  const secret = join(dataDir, 'secret-key');
  const made = readOrCreateSecret(secret, newSecretKey);
  t.match(made, { created: true, value: /^[0-9a-f]{64}$/ });
  t.strictSame(readOrCreateSecret(secret, newSecretKey), { ...made, created: false }, 'made once');
  t.equal(statSync(secret).mode & 0o777, 0o600);
  t.match(newAdminToken(), /^sp_admin_[\w-]{43}$/);
  writeFileSync(secret, '');
  t.throws(() => readOrCreateSecret(secret, newSecretKey), { message: /is empty. Restore it/ });

  const runtimeDir = runtimeDirOf(dataDir);
  t.ok(join(runtimeDir, 'processor-63.sock').length < 100, 'short enough for sockets');
  writeFileSync(join(parent, 'target'), '');
  symlinkSync(parent, runtimeDir);
  t.throws(
    () => prepareRuntimeDir(dataDir),
    { message: /belongs to somebody else, or is no directory/ },
    'no link is followed',
  );
  t.ok(existsSync(join(parent, 'target')), 'and nothing behind it removed');
  unlinkSync(runtimeDir);
  t.equal(prepareRuntimeDir(dataDir), runtimeDir);
  t.equal(statSync(runtimeDir).mode & 0o777, 0o700);
  mkdirSync(join(runtimeDir, 'stale'));
  prepareRuntimeDir(dataDir);
  t.notOk(existsSync(join(runtimeDir, 'stale')), 'what a crash left is gone');
  t.teardown(() => rmSync(runtimeDir, { recursive: true }));
});

t.test('a database that is down, refuses us, or is spoken to wrongly', async (t) => {
  const [port] = await choosePorts([{ host: '127.0.0.1', port: 0, flag: '--port' }]);
  const retries: string[] = [];
  const down = openExternalDatabase(`postgresql://me:hush@127.0.0.1:${port}/gate`, (message) => retries.push(message));
  await t.rejects(down, { name: 'DatabaseError', message: new RegExp(`127.0.0.1:${port}/gate.*DATABASE_URL`, 's') });
  t.notMatch(retries.join(), 'hush', 'the password is nowhere');
});

t.test('a child is kept running; one that gives up before it was ready ends the start', async (t) => {
  const pids: (number | undefined)[] = [];
  const directory = temporaryDirectory(t);
  const role = (name: string, code: string, onPid: (pid: number | undefined) => void = () => {}) => {
    const program = join(directory, `${name}.mjs`);
    writeFileSync(program, code);
    return supervise({ name, start: () => startRole(program, [], process.env), onPid, log });
  };
  const steady = "process.on('message', () => process.exit(0)); process.send({ type: 'ready' });";
  const child = role('steady', steady, (pid) => pids.push(pid));
  await child.ready;
  signal(pids[0], 'SIGKILL');
  await eventually('a restart', () => pids.length === 3 && pids[2] !== undefined);
  t.not(pids[2], pids[0]);
  await child.stop(5_000);
  t.notOk(isAlive(pids[2] ?? 0));
  t.equal(pids.at(-1), undefined);

  await t.rejects(role('hopeless', 'process.exit(2)').ready, {
    name: 'StartError',
    message: 'hopeless could not start (exit code 2)',
  });

  let stubbornPid: number | undefined;
  const stubborn = role('stubborn', "process.send({ type: 'ready' }); setInterval(() => {}, 1000)", (pid) => {
    stubbornPid ??= pid;
  });
  await stubborn.ready;
  await stubborn.stop(100);
  t.notOk(isAlive(stubbornPid ?? 0), 'one that does not end in time is killed');
});

t.test('a program on a leash', async (t) => {
  const missing = startOnLeash('/nonexistent/envoy', [], { stderr: 'pipe' });
  t.strictSame(await missing.ended, { code: 127, bySignal: false }, 'one that is not there');
  const brief = startOnLeash('/bin/sh', ['-c', 'exit 3'], { stderr: 'pipe' });
  t.strictSame(await brief.ended, { code: 3, bySignal: false }, 'its own exit code');

  const killed = startOnLeash('/bin/sleep', ['60'], { stderr: 'pipe' });
  signal(await killed.pid, 'SIGKILL');
  t.strictSame(await killed.ended, { code: 137, bySignal: true });

  const released = startOnLeash('/bin/sleep', ['60'], { stderr: 'pipe' });
  const pid = await released.pid;
  t.ok(isAlive(pid ?? 0));
  released.release();
  t.match(await released.ended, { bySignal: true });
  t.notOk(isAlive(pid ?? 0));

  const bereft = startOnLeash('/bin/sleep', ['60'], { stderr: 'pipe' });
  const orphan = (await bereft.pid) ?? 0;
  const shell = Number(readFileSync(`/proc/${orphan}/stat`, 'utf8').split(') ')[1]?.split(' ')[1]);
  signal(shell, 'SIGKILL');
  await bereft.ended;
  await eventually('it to end even though its shell was killed', () => !isAlive(orphan));
});

t.test('processes of a killed run are waited for and then ended, and nobody else', async (t) => {
  const dataDir = temporaryDirectory(t);
  const runtimeDir = prepareRuntimeDir(dataDir);
  const ours = startNode(t, ['-e', 'setInterval(() => {}, 1000)', '--', '--runtime-dir', runtimeDir]);
  const other = startNode(t, ['-e', 'setInterval(() => {}, 1000)', '--', `${runtimeDir}-pg`]);
  writeFileSync(
    join(runtimeDir, 'children.json'),
    JSON.stringify({ 'control-plane': ours.child.pid, postgres: other.child.pid, demo: 999_999_999 }),
  );
  const said: string[] = [];
  await endLeftovers(runtimeDir, (message) => said.push(message));
  t.notOk(isAlive(ours.child.pid ?? 0));
  t.ok(isAlive(other.child.pid ?? 0));
  t.match(said.join(), String(ours.child.pid));
});

t.test('what is said when it is up', async (t) => {
  const dataDir = temporaryDirectory(t);
  const report = { mcpUrl: 'http://127.0.0.1:1/mcp', adminUrl: 'http://127.0.0.1:2', pid: 3, firstKey: 'sp_first' };
  writeReport(dataDir, report);
  t.strictSame(JSON.parse(readFileSync(join(dataDir, 'up.json'), 'utf8')), report);
  t.equal(statSync(join(dataDir, 'up.json')).mode & 0o777, 0o600);
  removeReport(dataDir);
  removeReport(dataDir);
  t.notOk(existsSync(join(dataDir, 'up.json')));

  const text = greeting(report, { adminToken: 'sp_admin_x', dataDir });
  for (const part of [report.mcpUrl, report.adminUrl, 'sp_admin_x', 'claude mcp add --transport http sallyport'])
    t.match(text, part);
  const pasted = JSON.parse(text.slice(text.indexOf('{'), text.lastIndexOf('}') + 1));
  t.equal(pasted.mcpServers.sallyport.headers.Authorization, 'Bearer sp_first');
  const { firstKey: _, ...later } = report;
  t.match(greeting(later, { adminToken: undefined, dataDir }), 'Bearer YOUR_KEY');

  t.equal(originOf('https', '::', 443), 'https://[::1]:443');
  t.equal(originOf('http', '0.0.0.0', 80), 'http://127.0.0.1:80');
});
