/** A namespace as one persona sees it: filtered, renamed, and serialised once, so that a list costs a copy. */
import { createHash } from 'node:crypto';
import { JsonError, stringAt, walkObject } from '../mcp/json.ts';
import { type Edit, splice } from '../mcp/splice.ts';
import { decide, resourceName } from '../policy/decide.ts';
import type { ItemKind, Namespace, NamespaceItem, Persona, UriSpace } from './snapshot.ts';

/** A page ends before it passes either. */
const PAGE_BYTES = 1 << 20;
const PAGE_ITEMS = 1000;

export interface View {
  readonly items: readonly NamespaceItem[];
  /** Changes exactly when what the persona sees changes. */
  readonly digest: string;
  /** Each page as `"tools":[…]`, without braces: the cursor is added per answer. */
  readonly pages: readonly Buffer[];
}

const views = new WeakMap<Namespace, Map<Persona | undefined, Map<ItemKind, View>>>();

/** Built at first use, kept as long as the snapshot that holds the namespace. */
export function viewOf(namespace: Namespace, persona: Persona | undefined, kind: ItemKind): View {
  const byPersona = entry(views, namespace, () => new Map<Persona | undefined, Map<ItemKind, View>>());
  const byKind = entry(byPersona, persona, () => new Map<ItemKind, View>());
  return entry(byKind, kind, () => buildView(namespace, persona, kind));
}

/** What is there under the key, made now if nothing is. */
function entry<K, V>(map: { get(key: K): V | undefined; set(key: K, value: V): unknown }, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}

/**
 * The name that policy judges: tools and prompts by the name that clients see, resources and templates by
 * `connection__URI`, so that one list of patterns opens things of every kind.
 */
export function judgedName(kind: ItemKind, { wireName, connection, item }: NamespaceItem): string {
  return kind === 'tools' || kind === 'prompts' ? wireName : resourceName(connection.name, item.name);
}

/** What a definition calls itself by, and what its list is called in a result. */
const KEYS: Readonly<Record<ItemKind, { readonly own: string; readonly list: string }>> = {
  tools: { own: 'name', list: 'tools' },
  prompts: { own: 'name', list: 'prompts' },
  resources: { own: 'uri', list: 'resources' },
  templates: { own: 'uriTemplate', list: 'resourceTemplates' },
};

function buildView(namespace: Namespace, persona: Persona | undefined, kind: ItemKind): View {
  const items = [...namespace[kind].values()].filter(
    (item) => decide(persona, judgedName(kind, item), item.connection.name).allowed,
  );
  const start = Buffer.from(`"${KEYS[kind].list}":[`);
  const pages: Buffer[] = [];
  let page: Buffer[] = [];
  let size = 0;
  const close = (): void => {
    pages.push(Buffer.concat([start, ...page.flatMap((item, i) => (i === 0 ? [item] : [COMMA, item])), END]));
    page = [];
    size = 0;
  };
  for (const item of items) {
    const bytes = renamed(item, KEYS[kind].own, namespace.uris);
    if (page.length > 0 && (size + bytes.length > PAGE_BYTES || page.length >= PAGE_ITEMS)) close();
    page.push(bytes);
    size += bytes.length;
  }
  close();
  const hash = createHash('sha256');
  for (const bytes of pages) hash.update(bytes);
  return { items, digest: hash.digest('base64url').slice(0, 16), pages };
}

const COMMA = Buffer.from(',');
const END = Buffer.from(']');

/**
 * The definition as the upstream wrote it (its output schema widened where rules add to results), with the name, and the
 * URIs of its user interface, that the agent will use.
 */
function renamed(entry: NamespaceItem, ownKey: string, uris: UriSpace): Buffer {
  const { item, wireName, connection } = entry;
  const bytes = Buffer.from(entry.definition ?? item.definition);
  if (item.name === wireName && uris.isIdentity) return bytes;
  const edits: Edit[] = [];
  walkObject(bytes, bytes.indexOf('{'), 1, (key, start, end) => {
    if (key === ownKey && item.name !== wireName) edits.push({ start, end, with: JSON.stringify(wireName) });
    if (key !== '_meta' || uris.isIdentity) return;
    for (const place of interfacePlaces(bytes, start)) {
      const uri = stringAt(bytes, place.start, place.end);
      edits.push({ ...place, with: JSON.stringify(uris.toWire(connection, uri)) });
    }
  });
  return splice(bytes, edits);
}

/** MCP Apps: `_meta.ui.resourceUri`, and the older flat `_meta["ui/resourceUri"]`. */
function interfacePlaces(bytes: Buffer, meta: number): { start: number; end: number }[] {
  const places: { start: number; end: number }[] = [];
  const note = (start: number, end: number): void => {
    if (bytes[start] === 0x22) places.push({ start, end });
  };
  if (bytes[meta] !== 0x7b) return places;
  try {
    walkObject(bytes, meta, 2, (key, start, end) => {
      if (key === 'ui/resourceUri') note(start, end);
      if (key !== 'ui' || bytes[start] !== 0x7b) return;
      walkObject(bytes, start, 3, (inner, from, to) => {
        if (inner === 'resourceUri') note(from, to);
      });
    });
  } catch (error) {
    // A key that comes twice: nobody can say which one counts.
    if (error instanceof JsonError) return [];
    throw error;
  }
  return places;
}
