/** A rule as people write it → compiled, or everything that is wrong with it. Pure. */

import type { Bindings, Match, RuleConfig, SourceType } from '../config/document.ts';
import { pathText } from '../config/problems.ts';
import type { Json } from '../mcp/exact-json.ts';
import { compileRequest } from '../sources/request.ts';
import type { Template, TemplateFault } from '../sources/source.ts';
import { isItemPath } from './item-path.ts';
import { compilePath, ROOTS } from './paths.ts';
import { PRESETS } from './presets/preset.ts';
import type { CompiledRule, Condition, Path, Request } from './rule.ts';
import { compileWhen } from './when.ts';

/** A rule under its name, not yet compiled. */
export interface WrittenRule {
  readonly id: string;
  readonly name: string;
  readonly version: number;
  readonly tenant: string;
  readonly config: RuleConfig;
}

/** By name; what is not there does not exist. */
export type SourceTypes = ReadonlyMap<string, SourceType>;

/** Everything why a rule cannot be saved. Paths are relative to the rule. */
export function checkRule(config: RuleConfig, sources: SourceTypes): readonly TemplateFault[] {
  const compiled = compileRule({ id: '', name: '', version: 0, tenant: '', config }, sources);
  return 'faults' in compiled ? compiled.faults : [];
}

export function compileRule(
  written: WrittenRule,
  sources: SourceTypes,
): CompiledRule | { readonly faults: readonly TemplateFault[] } {
  const { config } = written;
  const faults: TemplateFault[] = [];
  const when = compileWhen(config.when);
  if (typeof when !== 'function') faults.push(...when.faults);
  const forEach = compileForEach(config, faults);
  const bindings = compileBindings(config, faults);
  const request = compileAsked(config, sources, faults);
  if (request !== undefined && request.kind !== 'preset') checkNames(config, request.template, faults);
  if (faults.length > 0 || request === undefined) return { faults };
  return {
    ...written,
    when: when as Condition,
    forEach,
    bindings,
    itemNames: new Set(forEach === undefined ? [] : itemNames(config.source.bind)),
    match: matchOf(config),
    request,
    target: config.merge.path.split('.'),
  };
}

function compileForEach({ forEach, source }: RuleConfig, faults: TemplateFault[]): Path | undefined {
  if (forEach === undefined) return undefined;
  if ('preset' in source) {
    faults.push({ path: 'forEach', message: 'a preset finds by itself what it is about: leave "forEach" out' });
    return undefined;
  }
  const path = compilePath(forEach, { roots: ['response'] });
  if (!('fault' in path)) return path;
  faults.push({ path: 'forEach', message: path.fault });
  return undefined;
}

function compileBindings(
  { forEach, source: { bind } }: RuleConfig,
  faults: TemplateFault[],
): Map<string, Path | { readonly constant: Json }> {
  const roots = forEach === undefined ? ROOTS : [...ROOTS, 'item'];
  const compiled = new Map<string, Path | { readonly constant: Json }>();
  for (const [name, value] of Object.entries(bind)) {
    if (!isPath(value)) {
      compiled.set(name, { constant: value });
      continue;
    }
    const path = compilePath(value, { roots });
    if ('fault' in path) faults.push({ path: `source.bind.${name}`, message: path.fault });
    else compiled.set(name, path);
  }
  return compiled;
}

const isPath = (value: Bindings[string]): value is string => typeof value === 'string' && value.startsWith('$');

function compileAsked({ source }: RuleConfig, sources: SourceTypes, faults: TemplateFault[]): Request | undefined {
  if ('preset' in source) {
    const { sourceType, names } = PRESETS[source.preset];
    const type = sources.get(source.use);
    if (type !== sourceType) {
      const is = type === undefined ? `there is no source "${source.use}"` : `"${source.use}" is of type ${type}`;
      faults.push({
        path: 'source.use',
        message: `${is}: the preset ${source.preset} asks a source of type ${sourceType}`,
      });
    }
    for (const name of Object.keys(source.bind)) {
      if (names.has(name)) continue;
      const message = `the preset ${source.preset} takes no "${name}", only ${[...names].join(', ')}`;
      faults.push({ path: `source.bind.${name}`, message });
    }
    return { kind: 'preset', source: source.use, preset: source.preset };
  }
  const compiled = compileRequest(source, 'use' in source ? sources.get(source.use) : undefined);
  if ('faults' in compiled) {
    faults.push(...compiled.faults);
    return undefined;
  }
  const { template } = compiled;
  return 'tool' in source
    ? { kind: 'tool', tool: source.tool, template }
    : { kind: 'source', source: source.use, template };
}

/** Every name of the template has its binding and the other way round; elements go where several values may stand. */
function checkNames({ forEach, source }: RuleConfig, { names }: Template, faults: TemplateFault[]): void {
  const { bind } = source;
  for (const [name] of names) {
    if (!Object.hasOwn(bind, name))
      faults.push({ path: 'source.bind', message: `":${name}" has no binding: add "${name}"` });
  }
  for (const name of Object.keys(bind)) {
    if (!names.has(name)) {
      faults.push({ path: `source.bind.${name}`, message: `is not used: there is no ":${name}"` });
    }
  }
  const match = 'match' in source ? source.match : undefined;
  if (forEach === undefined) {
    if (match !== undefined) faults.push({ path: 'source.match', message: 'belongs to "forEach", which is not there' });
    return;
  }
  const items = itemNames(bind);
  if (items.length === 0) {
    faults.push({ path: 'source.bind', message: 'with "forEach", at least one binding begins with "$.item"' });
  }
  for (const name of items) {
    if (names.get(name) !== 'one') continue;
    const message = `with "forEach" all elements are asked for at once: ":${name}" must stand in a list, such as "in (:${name})"`;
    faults.push({ path: `source.bind.${name}`, message });
  }
  for (const [column, name] of Object.entries(match ?? {})) {
    if (items.includes(name)) continue;
    faults.push({
      path: pathText(['source', 'match', column]),
      message: `"${name}" is not a binding that begins with "$.item"`,
    });
  }
}

const itemNames = (bind: Bindings): string[] =>
  Object.entries(bind).flatMap(([name, value]) => (isPath(value) && isItemPath(value) ? [name] : []));

/** Pairs of column and binding by which rows find their elements. */
function matchOf({ forEach, source }: RuleConfig): CompiledRule['match'] {
  if (forEach === undefined) return [];
  const written: Match | undefined = 'match' in source ? source.match : undefined;
  return written === undefined ? itemNames(source.bind).map((name) => [name, name]) : Object.entries(written);
}
