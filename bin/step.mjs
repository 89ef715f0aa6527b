// What the bootstrap steps share: where they are, how they run a program, how they fail, and how only one runs at once.
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The directory of package.json. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** A step that cannot be done; the message names the remedy. */
export class StepFailed extends Error {}

/** Runs a program and resolves to its exit code and everything it printed; a program that does not exist has code 127. */
export function run(command, args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], ...options });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (chunk) => {
        output += chunk;
      });
    }
    child.once('error', (error) => resolve({ code: 127, output: error.message }));
    child.once('close', (code) => resolve({ code: code ?? 1, output: output.trim() }));
  });
}

/** The first and the last lines of a program's output: the reason is in one or the other. */
export function excerpt(output, lines = 20) {
  const all = output.split('\n');
  if (all.length <= 2 * lines) return output;
  return [...all.slice(0, lines), '[...]', ...all.slice(-lines)].join('\n');
}

/**
 * Runs `work` while no other process of this clone is installing or building: two `npm ci` at once ruin each other.
 * The lock of a process that is gone does not count.
 */
export async function lockWhile(work) {
  const file = join(root, '.sallyport', 'bootstrap.lock');
  mkdirSync(dirname(file), { recursive: true, mode: 0o711 });
  while (!take(file)) {
    if (!isHeld(file)) rmSync(file, { force: true });
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const release = () => rmSync(file, { force: true });
  process.once('exit', release);
  try {
    return await work();
  } finally {
    process.off('exit', release);
    release();
  }
}

function take(file) {
  try {
    const lock = openSync(file, 'wx', 0o600);
    writeSync(lock, String(process.pid));
    closeSync(lock);
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw new StepFailed(
      `${dirname(file)} cannot be written (${error.code}). Make the clone writable, or install the package.`,
    );
  }
}

/** By a process that lives; one that has not written its id yet is given a moment. */
function isHeld(file) {
  try {
    const holder = Number(readFileSync(file, 'utf8'));
    return holder ? isAlive(holder) : Date.now() - statSync(file).mtimeMs < 5_000;
  } catch {
    return true;
  }
}

/** A process that has ended and whose parent has not noticed (a zombie) does not live. */
function isAlive(pid) {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (error.code !== 'EPERM') return false;
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat[stat.lastIndexOf(')') + 2] !== 'Z';
  } catch {
    return true;
  }
}
