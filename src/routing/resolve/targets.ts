/** Which connection a request is for, by what it names: a tool, a prompt, a resource, a completion's subject, a task. */
import type { World } from '../../data-plane/world.ts';
import { type Exchange, type Refusal, refuse, type Target } from '../../exchange/exchange.ts';
import { problems } from '../../exchange/problem.ts';
import type { Envelope } from '../../mcp/envelope.ts';
import { stringAt, walkObject } from '../../mcp/json.ts';
import type { NamespaceItem } from '../../snapshot/snapshot.ts';

/** Finds the target of a request, or says why there is none. */
export type Resolver = (exchange: Exchange, envelope: Envelope, world: World) => Target | Refusal;

/** By method; what is not here is answered elsewhere or not at all. */
export const RESOLVERS: Readonly<Record<string, Resolver>> = {
  'tools/call': tool,
  'prompts/get': prompt,
  'resources/read': resource,
  'resources/subscribe': resource,
  'resources/unsubscribe': resource,
  'completion/complete': completion,
  'tasks/get': task,
  'tasks/result': task,
  'tasks/update': task,
  'tasks/cancel': task,
};

function tool({ namespace }: Exchange, envelope: Envelope): Target | Refusal {
  const { name, nameSpan, arguments: given, bytes } = envelope;
  if (name === undefined || nameSpan === undefined) {
    return refuse(problems.badParams('tools/call needs params.name, a string'));
  }
  if (given !== undefined && bytes[given.start] !== 0x7b) {
    return refuse(problems.badParams('params.arguments must be an object'));
  }
  const found = namespace?.tools.get(name);
  if (found === undefined) return refuse(problems.noTool(shown(name), 'no such tool in this namespace'));
  return named('tool', found, nameSpan);
}

function prompt({ namespace }: Exchange, { name, nameSpan }: Envelope): Target | Refusal {
  if (name === undefined || nameSpan === undefined) {
    return refuse(problems.badParams('prompts/get needs params.name, a string'));
  }
  const found = namespace?.prompts.get(name);
  if (found === undefined) return refuse(problems.noPrompt(shown(name), 'no such prompt in this namespace'));
  return named('prompt', found, nameSpan);
}

function resource(exchange: Exchange, { method, uri, uriSpan }: Envelope): Target | Refusal {
  if (uri === undefined || uriSpan === undefined) {
    return refuse(problems.badParams(`${method} needs params.uri, a string`));
  }
  if (method !== 'resources/read' && !canBeKept(uri)) {
    return refuse(problems.badParams(`${method} needs params.uri, a URI of at most ${MAX_KEPT_BYTES} bytes`));
  }
  return resourceTarget(exchange, uri, uriSpan);
}

/** A subscription is a row, found by its URI. */
const MAX_KEPT_BYTES = 2000;
const canBeKept = (uri: string): boolean => Buffer.byteLength(uri) <= MAX_KEPT_BYTES && !/[\0\p{Surrogate}]/u.test(uri);

function resourceTarget({ namespace, client }: Exchange, uri: string, span: Span): Target | Refusal {
  const found = namespace?.uris.fromWire(uri);
  if (found === undefined) {
    return refuse(problems.noResource(shown(uri), client?.era ?? 'legacy', 'no upstream of this namespace owns it'));
  }
  return {
    connection: found.connection,
    kind: 'resource',
    wireName: uri,
    upstreamName: found.uri,
    item: namespace?.resources.get(uri)?.item,
    edits: renamed(uri, found.uri, span),
  };
}

/** `ref` is a prompt's name, or a resource template's URI. */
function completion(exchange: Exchange, envelope: Envelope): Target | Refusal {
  const ref = { type: '', name: undefined as Span | undefined, uri: undefined as Span | undefined };
  const { bytes } = envelope;
  if (envelope.ref !== undefined) {
    walkObject(bytes, envelope.ref.start, 2, (key, start, end) => {
      if (bytes[start] !== 0x22) return;
      if (key === 'type') ref.type = stringAt(bytes, start, end);
      if (key === 'name') ref.name = { start, end };
      if (key === 'uri') ref.uri = { start, end };
    });
  }
  if (ref.type === 'ref/prompt' && ref.name !== undefined) {
    return prompt(exchange, { ...envelope, name: stringAt(bytes, ref.name.start, ref.name.end), nameSpan: ref.name });
  }
  if (ref.type !== 'ref/resource' || ref.uri === undefined) {
    return refuse(
      problems.badParams('completion/complete needs params.ref: a ref/prompt with a name or a ref/resource with a uri'),
    );
  }
  const uri = stringAt(bytes, ref.uri.start, ref.uri.end);
  const template = exchange.namespace?.templates.get(uri);
  if (template === undefined) return resourceTarget(exchange, uri, ref.uri);
  return { ...named('resource', template, ref.uri), wireName: uri };
}

/** Task ids were wrapped on their way out, for the principal who got them. */
function task(
  { namespace, principal }: Exchange,
  { method, taskId, taskIdSpan }: Envelope,
  world: World,
): Target | Refusal {
  if (taskId === undefined || taskIdSpan === undefined) {
    return refuse(problems.badParams(`${method} needs params.taskId, a string`));
  }
  const [name, upstreamId] = world.handles.unwrap('task', principal?.binding ?? '', taskId) ?? [];
  const connection = namespace?.connections.find((one) => one.name === name);
  if (connection === undefined || upstreamId === undefined) {
    return refuse(problems.noTask('the task id was not made here for this principal and namespace'));
  }
  return {
    connection,
    kind: 'task',
    wireName: taskId,
    upstreamName: upstreamId,
    item: undefined,
    edits: renamed(taskId, upstreamId, taskIdSpan),
  };
}

interface Span {
  readonly start: number;
  readonly end: number;
}

function named(kind: Target['kind'], { connection, wireName, item }: NamespaceItem, span: Span): Target {
  return { connection, kind, wireName, upstreamName: item.name, item, edits: renamed(wireName, item.name, span) };
}

const renamed = (from: string, to: string, span: Span): Target['edits'] =>
  from === to ? [] : [{ start: span.start, end: span.end, with: JSON.stringify(to) }];

/** A name in a message: bounded, without control characters. */
export const shown = (name: string): string => name.slice(0, 100).replace(/[\x00-\x1f\x7f]/g, '?');
