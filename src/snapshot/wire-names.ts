/** Names under which upstream tools and prompts appear to agents: unique per namespace, stable, and short enough for clients. */
import { createHash } from 'node:crypto';

/** Models accept 64 characters; clients put `mcp__sallyport__` (16) before what we say. */
export const MAX_WIRE_NAME = 48;

export type Prefixing = 'always' | 'collision' | 'never';

export interface NamedItem<T> {
  readonly connection: string;
  /** What the upstream calls it. */
  readonly item: string;
  readonly value: T;
}

/** Wire name → tool, in the order given. Every one gets a name; which one depends on no other replica's state. */
export function wireNames<T>(items: readonly NamedItem<T>[], prefixing: Prefixing): Map<string, NamedItem<T>> {
  const owners = new Map<string, Set<string>>();
  if (prefixing === 'collision') {
    for (const { item, connection } of items) owners.set(item, (owners.get(item) ?? new Set()).add(connection));
  }
  const members = [...new Set(items.map(({ connection }) => connection))];
  const named = new Map<string, NamedItem<T>>();
  for (const entry of items) {
    const prefixed = prefixing === 'always' || (owners.get(entry.item)?.size ?? 0) > 1;
    const wanted = prefixed ? `${entry.connection}__${entry.item}` : entry.item;
    // A bare name that reads as another connection's would let one server answer for another.
    const isForeign = !prefixed && members.some((name) => name !== entry.connection && wanted.startsWith(`${name}__`));
    const fits =
      !isForeign &&
      wanted.length <= MAX_WIRE_NAME &&
      /^[A-Za-z0-9_.-]+$/.test(wanted) &&
      !wanted.startsWith('sallyport_');
    named.set(fits && !named.has(wanted) ? wanted : freeShortName(wanted, entry, named), entry);
  }
  return named;
}

/** The beginning that people recognise, and a hash of what it stands for. Nobody else's name is ever taken. */
function freeShortName(wanted: string, entry: NamedItem<unknown>, taken: ReadonlyMap<string, unknown>): string {
  const readable = wanted.replace(/[^A-Za-z0-9_.-]/g, '_').replace(/^sallyport_/, 'x_');
  const hash = createHash('sha256').update(`${entry.connection}\0${entry.item}`).digest('hex');
  for (let digits = 8; ; digits += 8) {
    const name = `${readable.slice(0, MAX_WIRE_NAME - digits - 1)}_${hash.slice(0, digits)}`;
    if (!taken.has(name) || digits >= 40) return name;
  }
}
