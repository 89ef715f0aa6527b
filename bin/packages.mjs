// The npm packages of a clone, as package-lock.json has them.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { excerpt, root, run, StepFailed } from './step.mjs';

/** Runs `npm ci`. */
export async function install(say) {
  say('installing npm packages (the first time takes about a minute)');
  // The bootstrap may itself run under npm, whose settings for this command must not reach the other.
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^npm_(command|lifecycle|package)/.test(name)),
  );
  const { code, output } = await run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { env });
  if (code === 127)
    throw new StepFailed('npm was not found. It comes with Node: install Node from https://nodejs.org and try again.');
  if (code !== 0) {
    throw new StepFailed(
      `npm ci failed:\n${excerpt(output)}\n\nCheck that the npm registry can be reached (a proxy goes into HTTPS_PROXY, a mirror into "npm config set registry"), then start again.`,
    );
  }
  say('npm packages installed');
}

/**
 * Whether what is installed is what is locked: npm writes down what it installed. An optional package may be missing: it is for another platform. One that was
 * asked for and is missing or has another version means that the lock file changed since.
 */
export function isInstalled() {
  try {
    const locked = readPackages('package-lock.json');
    const installed = readPackages(join('node_modules', '.package-lock.json'));
    return Object.entries(locked).every(([path, wanted]) => {
      const found = installed[path];
      if (path === '' || wanted.link) return true;
      return found ? found.version === wanted.version : Boolean(wanted.optional || wanted.devOptional);
    });
  } catch {
    return false;
  }
}

function readPackages(file) {
  return JSON.parse(readFileSync(join(root, file), 'utf8')).packages;
}
