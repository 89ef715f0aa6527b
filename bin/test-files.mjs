// Runs compiled tap files, a few at a time. A tap file is a plain program: it prints TAP and its totals, and exits with
// 1 if anything failed. Started like this it costs a third of a second less than under tap's own runner, and a
// file that cannot even be parsed shows why.
import { spawn } from 'node:child_process';
import { root } from './step.mjs';

/** Files at a time: most of them wait for processes that they started. */
const JOBS = 2;
/** A file that takes longer hangs. tap's own limit, per test, is set below it so that the test is named. */
const FILE_LIMIT_S = 300;
const TEST_LIMIT_S = 240;

/** Runs the files and prints a line for each, with what failed; resolves to the counted assertions. */
export async function runTestFiles(files, nameOf) {
  const total = { passed: 0, failed: 0, skipped: 0 };
  const waiting = [...files];
  const running = new Set();
  const stop = (signal) => {
    for (const child of running) endGroup(child);
    process.exit(signal === 'SIGINT' ? 130 : 143);
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  const worker = async () => {
    for (let file = waiting.shift(); file; file = waiting.shift()) {
      const result = await runFile(file, running);
      for (const key of Object.keys(total)) total[key] += result[key];
      process.stdout.write(report(nameOf(file), result));
    }
  };
  await Promise.all(Array.from({ length: JOBS }, worker));
  process.off('SIGINT', stop);
  process.off('SIGTERM', stop);
  return total;
}

function runFile(file, running) {
  return new Promise((resolve) => {
    const startedAt = Date.now();
    const env = { ...process.env, TAP_TIMEOUT: String(TEST_LIMIT_S), TAP_DIAG: '1' };
    // A group of its own, so that a file that hangs ends with what it started.
    const child = spawn(process.execPath, ['--enable-source-maps', file], {
      cwd: root,
      env,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    running.add(child);
    let tap = '';
    let errors = '';
    child.stdout.setEncoding('utf8').on('data', (chunk) => {
      tap += chunk;
    });
    child.stderr.setEncoding('utf8').on('data', (chunk) => {
      errors = (errors + chunk).slice(-20_000);
    });
    let overdue = false;
    const limit = setTimeout(() => {
      overdue = true;
      endGroup(child);
    }, FILE_LIMIT_S * 1000);
    const done = (how) => {
      clearTimeout(limit);
      running.delete(child);
      const seconds = (Date.now() - startedAt) / 1000;
      resolve({
        ...count(tap, how === undefined),
        how: overdue ? `took longer than ${FILE_LIMIT_S} s` : how,
        tap,
        errors,
        seconds,
      });
    };
    child.once('error', (error) => done(error.message));
    // A process that a test left behind may hold the pipes: the file is over when its own process is.
    child.once('exit', (code, signal) =>
      setTimeout(() => done(code === 0 ? undefined : `ended with ${signal ?? `code ${code}`}`), 50),
    );
  });
}

/** tap's last comment, `# { total: 6, pass: 3, fail: 2, skip: 1 }`. A file that failed without saying so counts as one. */
function count(tap, succeeded) {
  const totals = [...tap.matchAll(/^# \{ total: .*\}$/gm)].at(-1)?.[0] ?? '';
  const of = (key) => Number(new RegExp(`\\b${key}: (\\d+)`).exec(totals)?.[1] ?? 0);
  const failed = of('fail');
  // No totals and no failure: it ended before it had tested anything.
  const silent = failed === 0 && (!succeeded || totals === '');
  return { passed: of('pass'), failed: silent ? 1 : failed, skipped: of('skip') + of('todo') };
}

function report(name, { passed, failed, skipped, how, tap, errors, seconds }) {
  const counts = `${passed} passed${failed ? `, ${failed} failed` : ''}${skipped ? `, ${skipped} skipped` : ''}`;
  const head = `${failed ? 'FAILED' : 'ok    '}  ${name} (${counts}, ${seconds.toFixed(1)} s)\n`;
  if (!failed) return head;
  const parts = [
    head,
    failures(tap),
    how ? `  ${name} ${how}\n` : '',
    errors.trim() ? `${indent(errors.trim())}\n` : '',
  ];
  return `${parts.join('')}\n`;
}

/** The lines of TAP that say what failed: each `not ok` with its diagnosis, under the names of the tests it is in. */
function failures(tap) {
  const kept = [];
  let depth = -1;
  for (const line of tap.split('\n')) {
    const here = line.length - line.trimStart().length;
    const text = line.trim();
    if (text.startsWith('not ok')) {
      depth = here;
      kept.push(line);
    } else if (text.startsWith('# Subtest:')) {
      depth = -1;
      kept.push(line);
    } else if (depth >= 0 && (here > depth || text === '')) kept.push(line);
    else depth = -1;
  }
  return `${indent(dropEmptyTests(kept).join('\n'))}\n`;
}

/** A heading that is followed by another of the same or a lower level had nothing to show. */
function dropEmptyTests(lines) {
  const level = (line) => line.length - line.trimStart().length;
  const isHeading = (line) => line.trim().startsWith('# Subtest:');
  return lines.filter((line, index) => {
    if (!isHeading(line)) return true;
    const next = lines[index + 1];
    return next !== undefined && (isHeading(next) ? level(next) > level(line) : level(next) > level(line));
  });
}

function indent(text) {
  return text.replace(/^(?=.)/gm, '  ');
}

function endGroup(child) {
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // It is gone already.
  }
}
