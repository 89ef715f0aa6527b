import type { z } from 'zod';
import { nearest } from './keys.ts';

/** Something wrong with a piece of configuration: where, and a sentence for the person who wrote it. */
export interface Problem {
  /** `connections.crm.auth.token`, `identity.apiKeys[0].key`; empty for the whole. */
  readonly path: string;
  readonly message: string;
}

/** A problem whose place is still a list of steps, for whoever maps it to a line and column. */
export interface PlacedProblem {
  readonly steps: readonly (string | number)[];
  readonly message: string;
  /** The last step names a key that is itself wrong, not its value. */
  readonly atKey: boolean;
}

export type Validated<T> = { readonly value: T } | { readonly problems: readonly PlacedProblem[] };

/** Checks a value against a schema; every problem is told at once, in our words, and never quotes a value that may be secret. */
export function validate<T>(schema: z.ZodType<T>, input: unknown): Validated<T> {
  const poisoned = findPoison(input, []);
  const result = schema.safeParse(input, { error: sentence });
  if (result.success && poisoned.length === 0) return { value: result.data };
  const problems = result.success ? [] : withoutEchoes(result.error.issues.flatMap(placed));
  // What the schema says of the same place is nearer to the matter.
  const known = new Set(problems.map(({ steps }) => pathText(steps)));
  return { problems: [...poisoned.filter(({ steps }) => !known.has(pathText(steps))), ...problems] };
}

/** JSON can say U+0000 and half a surrogate pair; Postgres can store neither, and no text means either. */
export function textFault(text: string): string | undefined {
  return /[\0\p{Cs}]/u.test(text) ? 'must not contain U+0000 or half a character (an unpaired surrogate)' : undefined;
}

/** `a.b[0].c`; a key that would be misread is quoted. */
export function pathText(steps: readonly (string | number)[]): string {
  let text = '';
  for (const step of steps) {
    if (typeof step === 'number') text += `[${step}]`;
    else if (/^[A-Za-z0-9_-]+$/.test(step)) text += text === '' ? step : `.${step}`;
    else text += `[${JSON.stringify(step)}]`;
  }
  return text;
}

/** The way back from `pathText`, for problems that come as text. */
export function pathSteps(text: string): (string | number)[] {
  const steps: (string | number)[] = [];
  for (const [, name, index, quoted] of text.matchAll(/([A-Za-z0-9_-]+)|\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]/g)) {
    if (index !== undefined) steps.push(Number(index));
    else steps.push(quoted === undefined ? (name ?? '') : (JSON.parse(quoted) as string));
  }
  return steps;
}

/** Drops the place as steps. */
export function toProblem({ steps, message }: PlacedProblem): Problem {
  return { path: pathText(steps), message };
}

function placed(issue: z.core.$ZodIssue): PlacedProblem[] {
  const steps = issue.path.map((step) => (typeof step === 'symbol' ? String(step) : step));
  if (issue.code === 'unrecognized_keys') {
    const sentences = issue.message.split('\n');
    return issue.keys.map((key, i) => ({
      steps: [...steps, key],
      message: sentences[i] ?? issue.message,
      atKey: true,
    }));
  }
  if (issue.code === 'invalid_key') {
    return [{ steps, message: issue.issues[0]?.message ?? issue.message, atKey: true }];
  }
  if (issue.code === 'invalid_union') {
    const inner = onlyObjectBranch(issue);
    if (inner) return inner.flatMap(placed).map((problem) => ({ ...problem, steps: [...steps, ...problem.steps] }));
  }
  return [{ steps, message: issue.message, atKey: false }];
}

/** Where a union refused an object, the branch that came nearest says more than "none of these". */
function onlyObjectBranch(issue: z.core.$ZodIssueInvalidUnion): z.core.$ZodIssue[] | undefined {
  const inside = issue.errors.filter((branch) => branch.every((inner) => inner.path.length > 0));
  return inside.length === 1 ? inside[0] : undefined;
}

const REQUIRED = 'is required';

/** A connection with `command` lacks `url` only because of the `command` that was refused: say one thing. */
function withoutEchoes(problems: readonly PlacedProblem[]): PlacedProblem[] {
  const refused = new Set(problems.filter((p) => p.atKey).map((p) => pathText(p.steps.slice(0, -1))));
  return problems.filter((p) => p.message !== REQUIRED || !refused.has(pathText(p.steps.slice(0, -1))));
}

const WORDS: Readonly<Record<string, string>> = {
  string: 'a string',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  object: 'a mapping',
  record: 'a mapping',
  array: 'a list',
  null: 'empty',
  undefined: 'missing',
};

function kindOf(input: unknown): string {
  const kind = input === null ? 'null' : Array.isArray(input) ? 'array' : typeof input;
  return kind === 'boolean' ? String(input) : (WORDS[kind] ?? kind);
}

/** Zod's issue codes in our words; messages given in the schemas win over these. */
function sentence(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      if (issue.input === undefined) return REQUIRED;
      return `must be ${WORDS[issue.expected as string] ?? issue.expected}, not ${
        issue.expected === 'int' && typeof issue.input === 'number' ? 'a fraction' : kindOf(issue.input)
      }`;
    case 'invalid_value': {
      const values = (issue.values as readonly unknown[]).map(String);
      const near = typeof issue.input === 'string' ? nearest(issue.input, values) : undefined;
      if (issue.input === undefined) return REQUIRED;
      return `must be ${values.length > 1 ? 'one of ' : ''}${values.join(', ')}${near ? `: did you mean ${near}?` : ''}`;
    }
    case 'too_small':
      if (issue.origin === 'string')
        return issue.minimum === 1 ? 'must not be empty' : `must have at least ${issue.minimum} characters`;
      if (issue.origin === 'array') return 'must name at least one';
      return `must be at least ${issue.minimum}`;
    case 'too_big':
      if (issue.origin === 'string') return `must have at most ${issue.maximum} characters`;
      return `must be at most ${issue.maximum}${issue.origin === 'array' ? ' long' : ''}`;
    default:
      return undefined;
  }
}

/**
 * Zod skips `__proto__` silently; a key that is ignored is a key that was not configured. And text that is none, at any
 * depth. YAML aliases make cycles.
 */
function findPoison(input: unknown, steps: readonly (string | number)[], seen = new Set()): PlacedProblem[] {
  const fault = typeof input === 'string' ? textFault(input) : undefined;
  if (fault !== undefined) return [{ steps, message: fault, atKey: false }];
  if (typeof input !== 'object' || input === null || seen.has(input)) return [];
  seen.add(input);
  return Object.entries(input).flatMap(([key, inner]) => {
    const here = [...steps, Array.isArray(input) ? Number(key) : key];
    if (key === '__proto__') return [{ steps: here, message: 'is not a valid key', atKey: true }];
    const keyFault = textFault(key);
    if (keyFault !== undefined) return [{ steps: here, message: keyFault, atKey: true }];
    return findPoison(inner, here, seen);
  });
}
