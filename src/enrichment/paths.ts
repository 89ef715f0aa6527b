/**
 * JSONPath as rules use it: `$.response.items[*].id`. Paths of names, indices and `*` are walked here, others by
 * jsonpath-plus (path-search.ts) with the same results. Only keys that the JSON wrote are found; a number with many
 * digits is a leaf. A path finds at most MOST_RESULTS values and looks at no more than MOST_STEPS: what lies beyond, in
 * document order, counts as absent.
 */
import type { Json } from '../mcp/exact-json.ts';
import { child, hasKey, isTree, librarySteps, MOST_RESULTS, MOST_STEPS, placed, search } from './path-search.ts';
import { readPath, type Step } from './path-text.ts';
import type { Path, Place, Root } from './rule.ts';

/** Where a path begins, except in bindings of a rule with `forEach`: these have `item` besides. */
export const ROOTS = ['args', 'response', 'principal', 'tool'] as const;

/**
 * `roots`: the names one of which comes first, default ROOTS; an empty list: the root is a document of its own, and `$`
 * alone is a path. The fault says the column and what to do.
 */
export function compilePath(
  text: string,
  options: { readonly roots?: readonly string[] } = {},
): Path | { readonly fault: string } {
  const steps = readPath(text);
  if ('fault' in steps) return steps;
  const roots = options.roots ?? ROOTS;
  if (roots.length > 0 && !startsAt(steps[0], roots)) {
    return { fault: `column 2: a path begins with one of ${roots.map((root) => `\`$.${root}\``).join(', ')}` };
  }
  const keys = plainKeys(steps);
  if (keys === undefined) return searching(text, steps);
  return keys.includes(EACH) ? walking(text, keys) : definite(text, keys as readonly (string | number)[]);
}

function startsAt(first: Step | undefined, roots: readonly string[]): boolean {
  return typeof first === 'object' && 'key' in first && roots.includes(String(first.key));
}

/** Stands for `*` among keys: an index no array has. */
const EACH = -1;

function plainKeys(steps: readonly Step[]): readonly (string | number)[] | undefined {
  const keys: (string | number)[] = [];
  for (const step of steps) {
    if (step === '*') keys.push(EACH);
    else if (typeof step === 'object' && 'key' in step) keys.push(step.key);
    else return undefined;
  }
  return keys;
}

const NOTHING: readonly never[] = [];

function definite(text: string, keys: readonly (string | number)[]): Path {
  return {
    text,
    find(root) {
      const value = follow(root, keys);
      return value === undefined ? NOTHING : [value];
    },
    places(root) {
      const place: (string | number)[] = [];
      let value: Json | Root = root;
      for (const key of keys) {
        if (!isTree(value) || !hasKey(value, key)) return NOTHING;
        place.push(placed(value, key));
        value = child(value, key);
      }
      return [place];
    },
  };
}

function follow(root: Json | Root, keys: readonly (string | number)[]): Json | undefined {
  let value: Json | Root = root;
  for (const key of keys) {
    if (!isTree(value)) return undefined;
    // Most often absent, and then there is no need to ask whose it would be.
    const next: Json | undefined = value[key];
    if (next === undefined || !hasKey(value, key)) return undefined;
    value = next;
  }
  return value as Json;
}

function walking(text: string, keys: readonly (string | number)[]): Path {
  return {
    text,
    find(root) {
      const found: Json[] = [];
      walk(root, keys, (value) => found.push(value));
      return found;
    },
    places(root) {
      const places: Place[] = [];
      walk(root, keys, (_value, place) => places.push([...place]));
      return places;
    },
  };
}

/** `visit` gets a place that changes afterwards and returns how many it has now. */
function walk(
  root: Json | Root,
  keys: readonly (string | number)[],
  visit: (value: Json, place: Place) => number,
): void {
  const place: (string | number)[] = [];
  let steps = 0;
  /** Whether to go on. */
  function from(value: Json | Root, depth: number): boolean {
    steps += 1;
    if (steps > MOST_STEPS) return false;
    const key = keys[depth];
    if (key === undefined) return visit(value as Json, place) < MOST_RESULTS;
    if (!isTree(value)) return true;
    if (key !== EACH) return !hasKey(value, key) || below(value, key, depth);
    if (!Array.isArray(value)) return Object.keys(value).every((name) => below(value, name, depth));
    for (let index = 0; index < value.length; index += 1) if (!below(value, index, depth)) return false;
    return true;
  }
  function below(value: Parameters<typeof child>[0], key: string | number, depth: number): boolean {
    place.push(placed(value, key));
    const goesOn = from(child(value, key), depth + 1);
    place.pop();
    return goesOn;
  }
  from(root, 0);
}

function searching(text: string, steps: readonly Step[]): Path {
  const library = librarySteps(steps);
  return {
    text,
    find: (root) => search(library, root).map(({ value }) => value),
    places: (root) => search(library, root).map(({ place }) => place),
  };
}
