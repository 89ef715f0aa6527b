/**
 * A response while rules add to it. What was parsed is never changed, nor is what a rule has been shown: each reading of
 * `response` is a value of its own, and containers on the way to an addition are copied once after it.
 */
import type { RuleConfig } from '../config/document.ts';
import { isDeeper, isObject, type Json, type JsonObject } from '../mcp/exact-json.ts';
import { type Change, childOf, FRESH, inside, setChild } from './change.ts';
import { type FoundResponse, MAX_LEVELS } from './response.ts';
import type { Place } from './rule.ts';

export interface Addition {
  /** Keys and indices from the response to the element that is added to; `[]`: the response itself. */
  readonly at: Place;
  /** Keys from the element to where the value goes; objects are made on the way. */
  readonly path: readonly string[];
  readonly value: Json;
  /**
   * What happens where something stands already. `array`: a list of what stands there and the value; lists are joined, so
   * that it stays flat whichever of the two is one.
   */
  readonly onConflict: RuleConfig['merge']['onConflict'];
  /** `splice`: it also goes into the text block that says the same as the response. */
  readonly text: RuleConfig['merge']['text'];
}

type Container = Record<string, Json> | Json[];

export class Merge {
  readonly found: FoundResponse;
  private value: Json;
  /** What has become of the upstream's response; undefined: nothing. */
  private record: Change | undefined;
  private readonly additions: Addition[] = [];
  /** Containers that nobody else has seen. */
  private own = new Set<Json>();

  constructor(found: FoundResponse) {
    this.found = found;
    this.value = found.value;
  }

  /** With everything merged so far. */
  get response(): Json {
    this.own = new Set();
    return this.value;
  }

  get change(): Change | undefined {
    return this.record;
  }

  /**
   * A response that is no object becomes `response` of one. `kept`: something stands in the way, `at` names no object, or
   * the result would be nested too deeply.
   */
  add(addition: Addition): 'merged' | 'kept' {
    const { at, path, value, onConflict } = addition;
    const isRoot = at.length === 0;
    const isWrapped = isRoot && !isObject(this.value);
    const target = isWrapped ? { response: this.value } : at.reduce<Json | undefined>(memberOf, this.value);
    if (target === undefined || !isFree(target, path, onConflict)) return 'kept';
    if (isDeeper(value, Math.max(0, MAX_LEVELS - at.length - path.length - 2))) return 'kept';
    if (isWrapped) {
      this.value = target;
      this.own.add(target);
      this.record = { kind: 'wrapped', key: 'response', inner: this.record };
    }
    this.record ??= inside();
    this.write([...at, ...path], value, onConflict);
    this.additions.push(addition);
    return 'merged';
  }

  /** The merge as the text is to have it: with the additions of rules that splice into texts alone. */
  forText(): Merge {
    if (this.additions.every(({ text }) => text === 'splice')) return this;
    const merge = new Merge(this.found);
    for (const addition of this.additions) if (addition.text === 'splice') merge.add(addition);
    return merge;
  }

  private write(keys: readonly (string | number)[], value: Json, onConflict: Addition['onConflict']): void {
    this.value = this.owned(this.value);
    let holder = this.value as Container;
    let change = this.record;
    for (const key of keys.slice(0, -1)) {
      const child = memberOf(holder, key);
      const next = this.owned(child ?? {});
      put(holder, key, next);
      if (child === undefined) setChild(change, key, true, FRESH);
      change = child === undefined ? undefined : childOf(change, key);
      holder = next as Container;
    }
    const last = keys[keys.length - 1] as string;
    const existing = memberOf(holder, last);
    if (existing === undefined || onConflict === 'replace') {
      put(holder, last, value);
      setChild(change, last, existing === undefined, FRESH);
    } else put(holder, last, this.joined(existing, value, change, last));
  }

  /** `existing` and `value` in one list. */
  private joined(existing: Json, value: Json, holder: Change | undefined, key: string): Json {
    const more: readonly Json[] = Array.isArray(value) ? value : [value];
    const own = Array.isArray(existing) ? (this.owned(existing) as Json[]) : [existing];
    if (Array.isArray(existing)) {
      const change = childOf(holder, key);
      if (change?.kind === 'inside') change.hadItems ??= own.length;
    } else {
      const inner = childOf(holder, key);
      setChild(holder, key, false, inner?.kind === 'fresh' ? FRESH : { kind: 'wrapped', key: 0, inner });
      this.own.add(own);
    }
    for (const item of more) own.push(item);
    return own;
  }

  private owned(container: Json): Json {
    if (this.own.has(container)) return container;
    const copy: Json = Array.isArray(container) ? [...container] : { ...(container as JsonObject) };
    this.own.add(copy);
    return copy;
  }
}

/** Whether the value may go there. */
function isFree(element: Json, path: readonly string[], onConflict: Addition['onConflict']): boolean {
  let holder: Json | undefined = element;
  for (let i = 0; i < path.length; i++) {
    if (!isObject(holder)) return false;
    holder = memberOf(holder, path[i] as string);
    if (holder === undefined) return true;
  }
  return path.length > 0 && onConflict !== 'keep';
}

/** Own members only. */
function memberOf(container: Json | undefined, key: string | number): Json | undefined {
  if (typeof key === 'number') return Array.isArray(container) ? (container as readonly Json[])[key] : undefined;
  return isObject(container) && Object.hasOwn(container, key) ? container[key] : undefined;
}

function put(container: Container, key: string | number, value: Json): void {
  if (key === '__proto__') {
    Object.defineProperty(container, key, { value, enumerable: true, writable: true, configurable: true });
  } else (container as Record<string | number, Json>)[key] = value;
}
