/** What the gateway says it can do in the name of a namespace's members, and what it remembers of a client's word. */
import { skipSpace, walkObject } from '../mcp/json.ts';
import type { Era } from '../mcp/revision.ts';
import type { Connection } from '../snapshot/snapshot.ts';

type Capabilities = Readonly<Record<string, unknown>>;

/**
 * The union of what members can do and the gateway passes on. `isRelayed`: notifications have a way to the client. A
 * member that was never read may have anything; an empty list costs a client less than a closed door.
 */
export function offeredCapabilities(members: readonly Connection[], era: Era, isRelayed: boolean): Capabilities {
  const some = (test: (capabilities: Capabilities) => boolean): boolean =>
    members.some(({ catalog }) => test(catalog.capabilities));
  const isUnknown = members.some(({ catalog }) => catalog.protocolVersion === undefined);
  const listed = isRelayed ? { listChanged: true } : {};
  return {
    // Always: a client that saw none would not ask when there are some.
    tools: listed,
    ...((isUnknown || some(({ prompts }) => isObject(prompts))) && { prompts: listed }),
    ...((isUnknown || some(({ resources }) => isObject(resources))) && {
      resources: {
        ...(isRelayed &&
          some(({ resources }) => isObject(resources) && resources.subscribe === true) && {
            subscribe: true,
          }),
        ...listed,
      },
    }),
    ...(some(({ completions }) => isObject(completions)) && { completions: {} }),
    ...(some(({ logging }) => isObject(logging)) && { logging: {} }),
    ...(era === 'legacy' ? offeredTasks(members) : {}),
    ...offeredExtensions(members, era),
  };
}

/** Tasks of 2025-11-25. Not `list`: what others' sessions began would have to be told apart. */
function offeredTasks(members: readonly Connection[]): Capabilities {
  const all = members
    .filter(({ catalog }) => catalog.era === 'legacy')
    .map(({ catalog }) => catalog.capabilities.tasks)
    .filter(isObject);
  const first = all.find(({ requests }) => isObject(requests));
  if (first === undefined) return {};
  return { tasks: { requests: first.requests, ...(all.some(({ cancel }) => isObject(cancel)) && { cancel: {} }) } };
}

/** Extensions that work through the gateway, and between which eras. All others would be promises nobody keeps. */
const EXTENSIONS: Readonly<Record<string, 'any' | 'modern'>> = {
  'io.modelcontextprotocol/ui': 'any',
  'io.modelcontextprotocol/tasks': 'modern',
};

function offeredExtensions(members: readonly Connection[], era: Era): Capabilities {
  const extensions: Record<string, unknown> = {};
  for (const { catalog } of members) {
    if (!isObject(catalog.capabilities.extensions)) continue;
    for (const [id, settings] of Object.entries(catalog.capabilities.extensions)) {
      const works =
        EXTENSIONS[id] === 'any' || (EXTENSIONS[id] === 'modern' && era === 'modern' && catalog.era === era);
      if (works && extensions[id] === undefined) extensions[id] = settings;
    }
  }
  return Object.keys(extensions).length === 0 ? {} : { extensions };
}

/** Of the session id, which travels in a header with every request. Bytes. */
const MAX_KEPT_BYTES = 1500;

/**
 * The client's `capabilities` as its session remembers them: its own text, or where that is long the known members alone.
 * `params`: the object of an initialize request.
 */
export function keptCapabilities(bytes: Buffer, params: number): string {
  let text = '{}';
  walkObject(bytes, skipSpace(bytes, params), 1, (key, start, end) => {
    if (key === 'capabilities' && bytes[start] === 0x7b) text = bytes.toString('utf8', start, end);
  });
  if (Buffer.byteLength(JSON.stringify(text)) <= MAX_KEPT_BYTES) return text;
  const declared = JSON.parse(text) as Capabilities;
  const kept: Record<string, unknown> = {};
  for (const [key, members] of Object.entries(KNOWN)) {
    const value = declared[key];
    if (!isObject(value)) continue;
    kept[key] = Object.fromEntries(
      members.flatMap((member) => {
        const own = value[member];
        return isObject(own) ? [[member, {}]] : typeof own === 'boolean' ? [[member, own]] : [];
      }),
    );
  }
  return JSON.stringify(kept);
}

/** Client capabilities by which upstreams may ask something (MCP 2025-11-25, `ClientCapabilities`). */
const KNOWN = {
  elicitation: ['form', 'url'],
  sampling: ['context', 'tools'],
  roots: ['listChanged'],
} as const;

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
