// Makes a fresh clone runnable with nothing but Node: packages, build, Envoy. No dependencies, and quick when there is
// nothing to do. Each step that does something says so in one line; a failure says what to do about it.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { build as compileAll, isBuilt } from './build.mjs';
import { findEnvoy } from './envoy.mjs';
import { install, isInstalled } from './packages.mjs';
import { lockWhile, root, StepFailed } from './step.mjs';

/** The oldest Node that runs Sallyport: `engines` in package.json. */
const OLDEST_NODE = [20, 19];

/**
 * Prepares to run a command. `envoyFor` is the data directory for a command that needs Envoy: its path is then in
 * ENVOY_PATH. With `announce`, steps that find everything in order say so too; `build: false` leaves that to the caller.
 */
export async function prepare({ envoyFor, announce = false, build = true }) {
  const startedAt = Date.now();
  const say = (message) => {
    process.stderr.write(`sallyport  +${String(Date.now() - startedAt).padStart(5)} ms  ${message}\n`);
  };
  try {
    checkNode();
    if (announce) say(`Node ${process.versions.node}`);
    if (isClone()) await prepareClone(say, { announce, wantBuild: build });
    if (envoyFor === undefined) return;
    const { path, version } = await findEnvoy(envoyFor, say);
    process.env.ENVOY_PATH = path;
    say(`Envoy ${version} (${path})`);
  } catch (error) {
    fail(error);
  }
}

/** A published package brings dist/ and neither sources nor a lock file of its own. */
export function isClone() {
  return existsSync(join(root, 'tsconfig.json'));
}

/** Says what went wrong and ends the process. */
export function fail(error) {
  process.stderr.write(`sallyport: ${error instanceof StepFailed ? error.message : error.stack}\n`);
  process.exit(1);
}

/** Looks first and locks only when there is something to do: a clone that is in order may be read-only. */
async function prepareClone(say, { announce, wantBuild }) {
  if (isInstalled() && (!wantBuild || isBuilt())) {
    if (announce) say(`npm packages ${wantBuild ? 'and build ' : ''}are up to date`);
    return;
  }
  await lockWhile(async () => {
    if (!isInstalled()) await install(say);
    if (wantBuild && !isBuilt()) await compileAll(say);
  });
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1])) return;
  throw new StepFailed(
    `Node ${process.versions.node} is too old: Sallyport needs ${OLDEST_NODE.join('.')} or later. Install it from https://nodejs.org or with your version manager.`,
  );
}
