/** The values that a rule's request takes from a call, and which elements each row of the answer belongs to. */
import { ExactNumber, type Json } from '../mcp/exact-json.ts';
import type { Bound } from '../sources/source.ts';
import type { CompiledRule, Path, Place, Root } from './rule.ts';

/** More values than this are not asked for at once. */
export const MAX_LIST = 10_000;

/** Why the rule has nothing to ask. */
export class Unbound {
  readonly reason: string;
  constructor(reason: string) {
    this.reason = reason;
  }
}

/** The values of a rule without `forEach`. */
export function bindOnce(rule: CompiledRule, root: Root): ReadonlyMap<string, Bound> | Unbound {
  const values = new Map<string, Bound>();
  for (const [name, binding] of rule.bindings) {
    const value = boundValue(name, binding, root, takesList(rule, name));
    if (value instanceof Unbound) return value;
    values.set(name, value);
  }
  return values;
}

function takesList({ request }: CompiledRule, name: string): boolean {
  return request.kind !== 'preset' && request.template.names.get(name) === 'list';
}

function boundValue(
  name: string,
  binding: Path | { readonly constant: Json },
  root: Root,
  list: boolean,
): Bound | Unbound {
  if ('constant' in binding) return list ? [binding.constant] : binding.constant;
  const found = binding.find(root).filter((value) => value !== null);
  const [first] = found;
  if (first === undefined) return new Unbound(`${binding.text} found nothing for :${name}`);
  if (list) return distinct(found.flatMap((value) => (Array.isArray(value) ? (value as Json[]) : [value])));
  if (found.length === 1) return first;
  return new Unbound(`${binding.text} found ${found.length} values, and :${name} takes one`);
}

/** What a rule with `forEach` asks for all elements at once. */
export interface BoundElements {
  readonly values: ReadonlyMap<string, Bound>;
  /** Places from the response's root of the elements with the same values, by `keyOf` those values. */
  readonly places: ReadonlyMap<string, readonly Place[]>;
  /** Elements there are. */
  readonly found: number;
}

export function bindElements(rule: CompiledRule, forEach: Path, root: Root): BoundElements | Unbound {
  const elements = forEach.places(root);
  const once = new Map<string, Bound>();
  const perItem: [name: string, path: Path][] = [];
  for (const [name, binding] of rule.bindings) {
    if (!('constant' in binding) && rule.itemNames.has(name)) {
      perItem.push([name, binding]);
      continue;
    }
    const value = boundValue(name, binding, root, takesList(rule, name));
    if (value instanceof Unbound) return value;
    once.set(name, value);
  }
  const lists = new Map<string, Map<string, Json>>(perItem.map(([name]) => [name, new Map()]));
  const places = new Map<string, Place[]>();
  for (const place of elements) {
    const item = at(root, place);
    const values = perItem.map(([name, path]) => [name, single(path.find({ ...root, item }))] as const);
    // An element that lacks what is asked by is left as it is.
    if (values.some(([, value]) => value === undefined)) continue;
    for (const [name, value] of values) lists.get(name)?.set(keyOf([value as Json]), value as Json);
    const byName = new Map(values);
    const key = keyOf(rule.match.map(([, binding]) => byName.get(binding) as Json));
    const same = places.get(key);
    // Of `response.orders[0]` the response's own part.
    if (same === undefined) places.set(key, [place.slice(1)]);
    else same.push(place.slice(1));
  }
  for (const [name, list] of lists) {
    if (list.size > MAX_LIST) return new Unbound(`more than ${MAX_LIST} values for :${name}`);
    if (list.size === 0) return new Unbound(`no element that ${forEach.text} finds has a value for :${name}`);
    once.set(name, [...list.values()]);
  }
  return { values: once, places, found: elements.length };
}

/** The rows of each group of elements. Rows that belong to none are left out. */
export function rowsByKey(rule: CompiledRule, rows: readonly Json[]): Map<string, Json[]> {
  const groups = new Map<string, Json[]>();
  for (const row of rows) {
    if (typeof row !== 'object' || row === null || Array.isArray(row)) continue;
    const members = row as Readonly<Record<string, Json>>;
    const values = rule.match.map(([column]) => (Object.hasOwn(members, column) ? members[column] : undefined));
    if (values.some((value) => value === undefined || value === null)) continue;
    const key = keyOf(values as Json[]);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [row]);
    else group.push(row);
  }
  return groups;
}

/** Equal for values that a source would call equal: `5` and `"5"` are the same key to most of them. */
function keyOf(values: readonly Json[]): string {
  const [first] = values;
  if (values.length === 1 && first !== undefined) return text(first);
  return JSON.stringify(values.map(text));
}

const text = (value: Json): string => (value instanceof ExactNumber ? value.text : String(value));

/** The one scalar that was found. */
function single(found: readonly Json[]): Json | undefined {
  const [value] = found;
  if (found.length !== 1 || value === null) return undefined;
  return typeof value === 'object' && !(value instanceof ExactNumber) ? undefined : value;
}

function at(root: Root, place: Place): Json {
  let value: unknown = root;
  for (const step of place) value = (value as Record<string | number, unknown>)[step];
  return value as Json;
}

function distinct(values: readonly Json[]): Json[] {
  if (values.length < 2) return [...values];
  const seen = new Map<string, Json>();
  for (const value of values) {
    const key = `${typeof value} ${typeof value === 'object' ? JSON.stringify(value) : value}`;
    if (!seen.has(key)) seen.set(key, value);
  }
  return [...seen.values()];
}
