// TypeScript → dist/, when something changed. As a program (`npm run build`) it always looks at everything.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { root, run, StepFailed } from './step.mjs';

const dist = join(root, 'dist');
const stampFile = join(dist, '.built');

/** Builds. Type errors fail the step. */
export async function build(say) {
  say('building');
  const { code, output } = await compile();
  if (code !== 0)
    throw new StepFailed(`The build failed:\n${output}\n\nCorrect the type errors above and start again.`);
  say('built');
}

/** Whether dist/ was built from exactly these files. */
export function isBuilt() {
  try {
    return readFileSync(stampFile, 'utf8') === fingerprint();
  } catch {
    return false;
  }
}

/** Runs the compiler, incrementally. It writes JavaScript even when types are wrong; the stamp says that none are. */
export async function compile() {
  // Taken first: what changes while the compiler runs is not in its output.
  const stamp = fingerprint();
  rmSync(stampFile, { force: true });
  // Without its output, the compiler's memory of it is misleading.
  if (!existsSync(join(dist, 'src', 'package-root.js'))) rmSync(join(dist, '.tsbuildinfo'), { force: true });
  const result = await run(process.execPath, [
    join(root, 'node_modules', 'typescript', 'bin', 'tsc'),
    '-p',
    '.',
    '--pretty',
    'false',
  ]);
  removeOrphans();
  if (result.code === 0) writeFileSync(stampFile, stamp);
  return result;
}

/** Names, sizes and times of everything the build depends on: contents need not be read. */
function fingerprint() {
  const hash = createHash('sha256');
  const files = [
    'tsconfig.json',
    'package-lock.json',
    ...['src', 'test'].flatMap((directory) => listFiles(directory, '.ts')),
  ];
  for (const file of files.sort()) {
    const { mtimeMs, size } = statSync(join(root, file));
    hash.update(`${file} ${mtimeMs} ${size}\n`);
  }
  return hash.digest('hex');
}

/** Output whose source is gone: a test that was deleted must not run. */
function removeOrphans() {
  for (const file of listFiles('dist', '.js')) {
    const source = file.slice('dist/'.length).replace(/\.js$/, '.ts');
    if (!existsSync(join(root, source)))
      for (const end of ['', '.map']) rmSync(join(root, `${file}${end}`), { force: true });
  }
}

/** Files under a directory of the clone with this ending, as relative paths. */
export function listFiles(directory, ending) {
  if (!existsSync(join(root, directory))) return [];
  return readdirSync(join(root, directory), { recursive: true })
    .filter((name) => name.endsWith(ending))
    .map((name) => join(directory, name));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { code, output } = await compile();
  if (output) process.stdout.write(`${output}\n`);
  process.exitCode = code;
}
