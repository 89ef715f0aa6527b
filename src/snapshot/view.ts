/** A namespace as one persona sees it: filtered, renamed, and serialised once, so that a list costs a copy. */
import { createHash } from 'node:crypto';
import { stringAt, walkObject } from '../mcp/json.ts';
import { splice } from '../mcp/splice.ts';
import { decide } from '../policy/decide.ts';
import type { Namespace, NamespaceItem, Persona } from './snapshot.ts';

/** A page ends before it passes either. */
const PAGE_BYTES = 1 << 20;
const PAGE_TOOLS = 1000;

export interface View {
  readonly tools: readonly NamespaceItem[];
  /** Changes exactly when what the persona sees changes. */
  readonly digest: string;
  /** Each page as `"tools":[…]`, without braces: the cursor is added per answer. */
  readonly pages: readonly Buffer[];
}

const views = new WeakMap<Namespace, Map<Persona | undefined, View>>();

/** Built at first use, kept as long as the snapshot that holds the namespace. */
export function viewOf(namespace: Namespace, persona: Persona | undefined): View {
  let byPersona = views.get(namespace);
  if (byPersona === undefined) {
    byPersona = new Map();
    views.set(namespace, byPersona);
  }
  let view = byPersona.get(persona);
  if (view === undefined) {
    view = buildView(namespace, persona);
    byPersona.set(persona, view);
  }
  return view;
}

function buildView(namespace: Namespace, persona: Persona | undefined): View {
  const tools = [...namespace.tools.values()].filter(
    (tool) => decide(persona, tool.wireName, tool.connection.name).allowed,
  );
  const pages: Buffer[] = [];
  let page: Buffer[] = [];
  let size = 0;
  const close = (): void => {
    pages.push(
      Buffer.concat([Buffer.from('"tools":['), ...page.flatMap((tool, i) => (i === 0 ? [tool] : [COMMA, tool])), END]),
    );
    page = [];
    size = 0;
  };
  for (const tool of tools) {
    const bytes = renamed(tool);
    if (page.length > 0 && (size + bytes.length > PAGE_BYTES || page.length >= PAGE_TOOLS)) close();
    page.push(bytes);
    size += bytes.length;
  }
  close();
  const hash = createHash('sha256');
  for (const bytes of pages) hash.update(bytes);
  return { tools, digest: hash.digest('base64url').slice(0, 16), pages };
}

const COMMA = Buffer.from(',');
const END = Buffer.from(']');

/** The definition as the upstream wrote it, with the name the agent will use. */
function renamed({ item: tool, wireName }: NamespaceItem): Buffer {
  const bytes = Buffer.from(tool.definition);
  if (tool.name === wireName) return bytes;
  let edited: Buffer = bytes;
  walkObject(bytes, bytes.indexOf('{'), 1, (key, start, end) => {
    if (key === 'name' && stringAt(bytes, start, end) === tool.name)
      edited = splice(bytes, [{ start, end, with: JSON.stringify(wireName) }]);
  });
  return edited;
}
