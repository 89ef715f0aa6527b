/**
 * When a rule applies: all that is written must hold. Reasons go into the audit, so they name paths and never values.
 */

import type { Binding, WhenConfig } from '../config/document.ts';
import { pathText } from '../config/problems.ts';
import { ExactNumber, type Json } from '../mcp/exact-json.ts';
import type { TemplateFault } from '../sources/source.ts';
import { compileCel } from './cel.ts';
import { compilePath, ROOTS } from './paths.ts';
import { compilePattern, type Pattern } from './pattern.ts';
import type { Condition, Path, Root } from './rule.ts';

const ALWAYS: Condition = () => undefined;

/** Nothing written: it always holds. */
export function compileWhen(when: WhenConfig | undefined): Condition | { readonly faults: readonly TemplateFault[] } {
  if (when === undefined) return ALWAYS;
  const faults: TemplateFault[] = [];
  const conditions: Condition[] = [];
  const add = (path: string, compiled: Condition | { readonly fault: string }) => {
    if (typeof compiled === 'function') conditions.push(compiled);
    else faults.push({ path, message: compiled.fault });
  };
  for (const [index, path] of (when.exists ?? []).entries()) add(pathText(['when', 'exists', index]), exists(path));
  for (const [path, value] of Object.entries(when.equals ?? {}))
    add(pathText(['when', 'equals', path]), equals(path, value));
  for (const [path, pattern] of Object.entries(when.matches ?? {}))
    add(pathText(['when', 'matches', path]), matches(path, pattern));
  // Last: it costs most.
  if (when.cel !== undefined) add('when.cel', cel(when.cel));
  if (faults.length > 0) return { faults };
  const [only] = conditions;
  return conditions.length === 1 && only !== undefined ? only : all(conditions);
}

function all(conditions: readonly Condition[]): Condition {
  return (root) => {
    for (const condition of conditions) {
      const reason = condition(root);
      if (reason !== undefined) return reason;
    }
    return undefined;
  };
}

function exists(text: string): Condition | { readonly fault: string } {
  const path = compilePath(text);
  if ('fault' in path) return path;
  const absent = `${text} does not exist`;
  return (root) => {
    for (const value of path.find(root)) if (value !== null) return undefined;
    return absent;
  };
}

function equals(text: string, wanted: Binding): Condition | { readonly fault: string } {
  const path = compilePath(text);
  if ('fault' in path) return path;
  const differs = `${text} is not what \`equals\` says`;
  return (root) => {
    const found = path.find(root);
    for (const value of found) if (isEqual(value, wanted)) return undefined;
    return found.length === 0 ? notFound(path) : differs;
  };
}

/** The same type and value; of numbers, however they are written, the same number. */
function isEqual(value: Json, wanted: Binding): boolean {
  if (value === wanted) return true;
  return value instanceof ExactNumber && typeof wanted === 'number' && isSameNumber(value.text, wanted);
}

/** `9007199254740993` is not 9007199254740992, although a double cannot tell them apart; `0.10` is 0.1. */
function isSameNumber(text: string, wanted: number): boolean {
  if (Number(text) !== wanted) return false;
  return /^-?[0-9]+$/.test(text) ? BigInt(text) === BigInt(wanted) : true;
}

function matches(text: string, patternText: string): Condition | { readonly fault: string } {
  const path = compilePath(text);
  if ('fault' in path) return path;
  const pattern = compilePattern(patternText);
  if ('fault' in pattern) return pattern;
  return (root) => mismatch(path, pattern, root);
}

function mismatch(path: Path, pattern: Pattern, root: Root): string | undefined {
  const found = path.find(root);
  if (found.length === 0) return notFound(path);
  let reason = `${path.text} is neither a text nor a number`;
  for (const value of found) {
    const text = textOf(value);
    if (text === undefined) continue;
    const matches = pattern.test(text);
    if (matches) return undefined;
    reason = matches === undefined ? `${path.text} is too long for its pattern` : `${path.text} does not match`;
  }
  return reason;
}

function textOf(value: Json): string | undefined {
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return String(value);
  return value instanceof ExactNumber ? value.text : undefined;
}

function notFound(path: Path): string {
  return `${path.text} is not there`;
}

function cel(text: string): Condition | { readonly fault: string } {
  const compiled = compileCel(text, ROOTS);
  if ('fault' in compiled) return compiled;
  return (root) => {
    const result = compiled.run(root as unknown as Readonly<Record<string, Json>>);
    if (result === true) return undefined;
    return result === false ? 'the CEL condition does not hold' : `the CEL condition fails: ${result.error}`;
  };
}
