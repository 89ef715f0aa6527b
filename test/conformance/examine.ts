/** One requirement set, run against one subject, and what came of it. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { type RequirementSet, type Role, SETS, type SetName, scoredIn } from './sets.ts';
import type { Suite } from './suite.ts';

/** A server by its URL, or a client by the command that starts it; the suite appends its own server's URL to that. */
export type Subject = { readonly url: string } | { readonly command: string };

export interface Checks {
  readonly passed: number;
  readonly failed: number;
  readonly warned: number;
}

export interface ScenarioResult {
  readonly name: string;
  /** It counts for the revision, or is one that we want besides. */
  readonly kind: 'scored' | 'also';
  readonly passed: boolean;
  readonly checks: Checks;
  /** Why it did not pass: the first reason given. */
  readonly reason: string;
}

/** A client has this long for a scenario, in milliseconds: all of them run at once. */
const CLIENT_TIMEOUT_MS = 60_000;

/** Runs all of a set in one process of the suite. Scenarios that nobody asked for are left out. */
export async function examine(suite: Suite, setName: SetName, subject: Subject): Promise<ScenarioResult[]> {
  const set: RequirementSet = SETS[setName];
  const role: Role = 'url' in subject ? 'server' : 'client';
  const target =
    'url' in subject ? ['--url', subject.url] : ['--command', subject.command, '--timeout', String(CLIENT_TIMEOUT_MS)];
  const directory = await mkdtemp(join(tmpdir(), 'sp-conformance-'));
  try {
    const { output } = await suite.run(set.suite, [role, ...target, ...set.args, '--output-dir', directory]);
    const written = await readResults(directory, role === 'server' ? 'server-' : '');
    const announced = Number(/\((\d+) scenarios\)/.exec(output)?.[1] ?? 0);
    if (announced === 0 || written.size < announced) {
      throw new Error(`The suite ended after ${written.size} of ${announced} scenarios:\n${output.slice(-2000)}`);
    }
    const scored = (await scoredIn(suite, set, role)) ?? [...written.keys()];
    const also = set.also.filter((name) => written.has(name));
    return [
      ...scored.map((name) => judge(name, 'scored', written.get(name), output)),
      ...also.map((name) => judge(name, 'also', written.get(name), output)),
    ];
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** As the suite writes it; other fields are for people. */
interface WrittenCheck {
  readonly id: string;
  readonly status: 'SUCCESS' | 'FAILURE' | 'WARNING' | 'SKIPPED' | 'INFO';
  readonly name: string;
  readonly description: string;
  readonly errorMessage?: string;
}

/** Says that every message was well-formed, also when there was none. */
const WELL_FORMED = 'wire-schema-valid';

/**
 * It passes if a check of its own succeeded and nothing failed. Warnings and well-formed messages alone are no pass:
 * that is what some scenarios make of a server that is not there.
 */
function judge(
  name: string,
  kind: ScenarioResult['kind'],
  written: readonly WrittenCheck[] | undefined,
  output: string,
): ScenarioResult {
  const having = (status: WrittenCheck['status']) => (written ?? []).filter((check) => check.status === status);
  const [succeeded, failed, warned] = [having('SUCCESS'), having('FAILURE'), having('WARNING')];
  const passed = failed.length === 0 && succeeded.some(({ id }) => id !== WELL_FORMED);
  const first = failed[0] ?? warned[0];
  const reason = first ? (first.errorMessage ?? `${first.name}: ${first.description}`) : thrown(name, output);
  return {
    name,
    kind,
    passed,
    // A scenario that ended with an exception wrote nothing: that is a failed check, too.
    checks: { passed: succeeded.length, failed: written ? failed.length : 1, warned: warned.length },
    reason: passed ? '' : reason,
  };
}

/** What the suite printed of a scenario that it could not run. */
function thrown(name: string, output: string): string {
  const at = output.indexOf(`Failed to run scenario ${name}:`);
  return at < 0 ? 'nothing was checked' : output.slice(at).split('\n', 1).join('');
}

/**
 * A directory PREFIX SCENARIO-TIME for each scenario that was begun, with `checks.json` unless it ended with an
 * exception. Names of scenarios may contain a slash.
 */
async function readResults(
  directory: string,
  prefix: string,
): Promise<Map<string, readonly WrittenCheck[] | undefined>> {
  const results = new Map<string, readonly WrittenCheck[] | undefined>();
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const name = /^(.+)-\d{4}-\d\d-\d\dT[\d-]+Z$/.exec(relative(directory, path))?.[1]?.slice(prefix.length);
    if (!entry.isDirectory() || name === undefined) continue;
    const text = await readFile(join(path, 'checks.json'), 'utf8').catch(() => undefined);
    results.set(name, text === undefined ? undefined : (JSON.parse(text) as WrittenCheck[]));
  }
  return results;
}
