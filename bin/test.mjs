// `npm test`: everything CI runs. Arguments choose test files by a part of their path: `npm test -- test/supervisor`.
// The last line is plain, `N passed, N failed`, whatever happened before it.
import { relative } from 'node:path';
import { fail, prepare } from './bootstrap.mjs';
import { compile, listFiles } from './build.mjs';
import { lockWhile, root, run, StepFailed } from './step.mjs';
import { runTestFiles } from './test-files.mjs';

const filters = process.argv.slice(2).filter((arg) => !arg.startsWith('-'));
const total = { passed: 0, failed: 0, skipped: 0 };

await prepare({ envoyFor: `${root}/.sallyport`, announce: true, build: false });
await gate('types', () => lockWhile(compile));
if (filters.length === 0) {
  await gate('lint', () => tool('@biomejs/biome/bin/biome', ['check', '--colors=off', '.']));
  await gate('dependency rules', () =>
    tool('dependency-cruiser/bin/dependency-cruise.mjs', ['--config', '.dependency-cruiser.cjs', 'src']),
  );
}
await testFiles();

const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : '';
process.stdout.write(`\n${total.passed} passed, ${total.failed} failed${skipped}\n`);
process.exitCode = total.failed > 0 ? 1 : 0;

/** A check of the whole: counts as one test. */
async function gate(name, check) {
  const startedAt = Date.now();
  const { code, output } = await check();
  const seconds = ((Date.now() - startedAt) / 1000).toFixed(1);
  if (code === 0) {
    total.passed += 1;
    process.stdout.write(`ok      ${name} (${seconds} s)\n`);
  } else {
    total.failed += 1;
    process.stdout.write(`FAILED  ${name} (${seconds} s)\n${output}\n`);
  }
}

function tool(path, args) {
  return run(process.execPath, [`${root}/node_modules/${path}`, ...args]);
}

async function testFiles() {
  const all = listFiles('dist/test', '.test.js').sort();
  const wanted = filters.map((filter) => sourceName(filter.startsWith('/') ? relative(root, filter) : filter));
  const files = all.filter((file) => wanted.length === 0 || wanted.some((part) => sourceName(file).includes(part)));
  if (files.length === 0)
    fail(
      new StepFailed(`No test file matches ${filters.join(', ')}. Write a part of a path, such as test/supervisor.`),
    );
  const { passed, failed, skipped } = await runTestFiles(files, sourceName);
  total.passed += passed;
  total.failed += failed;
  total.skipped += skipped;
}

/** dist/test/a.test.js → test/a.test.ts, which is what people know a test by. */
function sourceName(file) {
  return file
    .replace(/^\.\//, '')
    .replace(/^dist\//, '')
    .replace(/\.js$/, '.ts');
}
