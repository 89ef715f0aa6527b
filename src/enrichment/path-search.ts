/**
 * Paths that search (`..`, slices, lists): walked by jsonpath-plus with `eval: false`, step by step under our eyes. Each
 * of its steps passes through `_trace`, which is where names are looked up as own keys only, work is counted, and results
 * are kept together with their places.
 */
import { JSONPath } from 'jsonpath-plus';
import type { Json } from '../mcp/exact-json.ts';
import type { Step } from './path-text.ts';
import type { Place, Root } from './rule.ts';

/** Beyond it, in document order, nothing more is found. */
export const MOST_RESULTS = 10_000;
/** Values that one search looks at; the rest of the document is as if it were not there. */
export const MOST_STEPS = 100_000;
/** Levels below which a search does not go. */
const DEEPEST = 512;

export interface Found {
  readonly place: Place;
  readonly value: Json;
}

interface LibraryWalk {
  _trace(
    steps: readonly LibraryStep[],
    value: Json | Root,
    place: Place,
    parent: unknown,
    parentKey: unknown,
  ): readonly never[];
}

/**
 * Operators as the library writes them. Names and lists of names are objects, so never taken for operators; a number is
 * what it makes of a slice.
 */
type LibraryStep = Exclude<Step, { readonly slice: string }> | `${string}:${string}` | number;

const Library = JSONPath as unknown as new (options: { autostart: false; eval: false }) => LibraryWalk;

export function librarySteps(steps: readonly Step[]): readonly LibraryStep[] {
  return steps.map((step) =>
    typeof step === 'object' && 'slice' in step ? (step.slice as `${string}:${string}`) : step,
  );
}

/** In document order; at most MOST_RESULTS. */
export function search(steps: readonly LibraryStep[], root: Json | Root): readonly Found[] {
  const walk = new Walk({ autostart: false, eval: false });
  try {
    walk._trace(steps, root, [], null, null);
  } catch (error) {
    if (error !== ENOUGH) throw error;
  }
  return walk.found;
}

const ENOUGH = new Error('enough');

class Walk extends Library {
  readonly found: Found[] = [];
  #steps = 0;

  override _trace(
    steps: readonly LibraryStep[],
    value: Json | Root,
    place: Place,
    parent: unknown,
    parentKey: unknown,
  ): readonly never[] {
    this.#steps += 1;
    if (this.#steps > MOST_STEPS) throw ENOUGH;
    const step = steps[0];
    if (step === undefined) {
      this.found.push({ place, value: value as Json });
      if (this.found.length >= MOST_RESULTS) throw ENOUGH;
      return [];
    }
    if (!isTree(value) || place.length > DEEPEST) return [];
    if (typeof step !== 'object') return super._trace(steps, value, place, parent, parentKey);
    const rest = steps.slice(1);
    for (const key of 'keys' in step ? step.keys : [step.key]) {
      if (hasKey(value, key)) this._trace(rest, child(value, key), [...place, placed(value, key)], value, key);
    }
    return [];
  }
}

type Tree = Readonly<Record<string | number, Json>>;

/** Whether anything may be below. An ExactNumber passes, but has no keys of its own. */
export function isTree(value: Json | Root): value is Tree {
  return typeof value === 'object' && value !== null;
}

/** Keys that JSON wrote: nothing inherited, and no `length` of arrays. */
export function hasKey(value: Tree, key: string | number): boolean {
  return Object.hasOwn(value, key) && (key !== 'length' || !Array.isArray(value));
}

export function child(value: Tree, key: string | number): Json {
  return value[key] as Json;
}

/** `['0']` of an array is its index 0, `[0]` of an object its key `0`. */
export function placed(value: Tree, key: string | number): string | number {
  return Array.isArray(value) ? Number(key) : String(key);
}
