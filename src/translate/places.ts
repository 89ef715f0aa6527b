/** Where an upstream's messages name what has another name for clients: resource URIs and task ids (MCP, all methods). */
import { type Span, stringAt } from '../mcp/json.ts';
import { META } from '../mcp/revision.ts';
import type { Edit } from '../mcp/splice.ts';
import { compilePaths, type Path, type Paths, visitPaths } from './paths.ts';

/** Content blocks: a link has its own URI, an embedded resource one inside. */
const block = (at: Path): Path[] => [
  [...at, 'uri'],
  [...at, 'resource', 'uri'],
];
/** The messages of a prompt or of a sampling request: one block each, or several. */
const messages = (at: Path): Path[] => [
  ...block([...at, '*', 'content']),
  ...block([...at, '*', 'content', '*']),
  // Results of tools that a sampling model used.
  ...block([...at, '*', 'content', '*', 'content', '*']),
];

const URIS = {
  result: compilePaths([
    ...block(['content', '*']),
    ['contents', '*', 'uri'],
    ...messages(['messages']),
    ...messages(['inputRequests', '*', 'params', 'messages']),
    // A finished task of the tasks extension carries its result.
    ...block(['result', 'content', '*']),
    ...messages(['inputRequests', '*', 'request', 'params', 'messages']),
    ['_meta', 'ui', 'resourceUri'],
    ['_meta', 'ui/resourceUri'],
  ]),
  error: compilePaths([['data', 'uri']]),
  params: compilePaths([['uri'], ...messages(['messages'])]),
} as const;

const TASKS = {
  result: compilePaths([
    ['taskId'],
    ['task', 'taskId'],
    ['tasks', '*', 'taskId'],
    ['_meta', META.relatedTask, 'taskId'],
  ]),
  error: compilePaths([]),
  params: compilePaths([['taskId'], ['task', 'taskId'], ['_meta', META.relatedTask, 'taskId']]),
} as const;

export type Part = 'result' | 'error' | 'params';

/** Edits that give every URI in the value its other form. */
export const uriEdits = (bytes: Buffer, span: Span, part: Part, rename: (uri: string) => string): Edit[] =>
  // Most messages name none: a native search settles those. A key may be written with an escape.
  holds(bytes, span, 'uri"') || holds(bytes, span, 'Uri"') || holds(bytes, span, '\\u')
    ? edits(bytes, span, URIS[part], rename)
    : [];

/** The same for task ids. */
export const taskEdits = (bytes: Buffer, span: Span, part: Part, rename: (taskId: string) => string): Edit[] =>
  holds(bytes, span, '"taskId"') || holds(bytes, span, '\\u') ? edits(bytes, span, TASKS[part], rename) : [];

function holds(bytes: Buffer, { start, end }: Span, text: string): boolean {
  const at = bytes.indexOf(text, start, 'latin1');
  return at >= 0 && at < end;
}

function edits(bytes: Buffer, span: Span, paths: Paths, rename: (name: string) => string): Edit[] {
  // Two paths may lead to one place.
  const found = new Map<number, Edit>();
  visitPaths(bytes, span.start, 1, paths, (start, end) => {
    if (bytes[start] !== 0x22) return;
    const name = stringAt(bytes, start, end);
    const other = rename(name);
    if (other !== name) found.set(start, { start, end, with: JSON.stringify(other) });
  });
  return [...found.values()];
}
