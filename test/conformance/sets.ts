/** What is asked of a server or a client, by revision. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import type { Suite, SuiteName } from './suite.ts';

/** Which side of the protocol is examined. */
export type Role = 'server' | 'client';

export interface RequirementSet {
  readonly suite: SuiteName;
  /** How the suite is told what to run. */
  readonly args: readonly string[];
  /** The suite's frozen list of what counts; without one, everything that it runs counts. */
  readonly revision?: string;
  /** Run by the suite without being counted, for it came later or is pending: it is in the specification all the same. */
  readonly also: readonly string[];
}

export type SetName = keyof typeof SETS;

export const SETS = {
  '2026-07-28': required('2026-07-28', [
    'http-header-validation',
    'http-custom-header-server-validation',
    'json-schema-2020-12',
    'json-schema-2020-12-preservation',
  ]),
  '2025-11-25': required('2025-11-25', [
    'server-session-lifecycle',
    'server-sse-polling',
    'json-schema-2020-12',
    'json-schema-2020-12-preservation',
  ]),
  '2025-06-18': all('conformance', '--spec-version', '2025-06-18'),
  '2025-03-26': all('conformance', '--spec-version', '2025-03-26'),
  '0.1.16 all': all('conformance-stable'),
} satisfies Record<string, RequirementSet>;

function required(revision: string, also: readonly string[]): RequirementSet {
  return { suite: 'conformance', args: ['--requirements', revision], revision, also };
}

function all(suite: SuiteName, ...args: string[]): RequirementSet {
  return { suite, args: ['--suite', 'all', ...args], also: [] };
}

/** The scenarios that count; undefined: all that are run. */
export async function scoredIn(suite: Suite, set: RequirementSet, role: Role): Promise<readonly string[] | undefined> {
  if (set.revision === undefined) return undefined;
  const file = join(suite.directoryOf(set.suite), 'requirements', `${set.revision}.yaml`);
  return (parse(await readFile(file, 'utf8')) as Record<Role, string[]>)[role];
}
