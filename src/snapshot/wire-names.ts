/** Names under which upstream tools appear to agents: unique per namespace, stable, and short enough for clients. */
import { createHash } from 'node:crypto';

/** Models accept 64 characters; clients put `mcp__sallyport__` (16) before what we say. */
export const MAX_WIRE_NAME = 48;

export type Prefixing = 'always' | 'collision' | 'never';

export interface NamedTool<T> {
  readonly connection: string;
  readonly tool: string;
  readonly value: T;
}

/** Wire name → tool, in the order given. Every tool gets a name; which one depends on no other replica's state. */
export function wireNames<T>(tools: readonly NamedTool<T>[], prefixing: Prefixing): Map<string, NamedTool<T>> {
  const owners = new Map<string, Set<string>>();
  if (prefixing === 'collision') {
    for (const { tool, connection } of tools) owners.set(tool, (owners.get(tool) ?? new Set()).add(connection));
  }
  const members = [...new Set(tools.map(({ connection }) => connection))];
  const named = new Map<string, NamedTool<T>>();
  for (const entry of tools) {
    const prefixed = prefixing === 'always' || (owners.get(entry.tool)?.size ?? 0) > 1;
    const wanted = prefixed ? `${entry.connection}__${entry.tool}` : entry.tool;
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
function freeShortName(wanted: string, entry: NamedTool<unknown>, taken: ReadonlyMap<string, unknown>): string {
  const readable = wanted.replace(/[^A-Za-z0-9_.-]/g, '_').replace(/^sallyport_/, 'x_');
  const hash = createHash('sha256').update(`${entry.connection}\0${entry.tool}`).digest('hex');
  for (let digits = 8; ; digits += 8) {
    const name = `${readable.slice(0, MAX_WIRE_NAME - digits - 1)}_${hash.slice(0, digits)}`;
    if (!taken.has(name) || digits >= 40) return name;
  }
}
