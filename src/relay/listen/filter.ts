/** What a `subscriptions/listen` asks for, and how much of it can be done (MCP 2026-07-28, "Notification Filter"). */
import type { Envelope } from '../../mcp/envelope.ts';
import { decideUri } from '../../policy/decide.ts';
import type { Connection, Namespace, Persona } from '../../snapshot/snapshot.ts';
import { member } from '../../translate/member.ts';
import { tellsOfResources } from '../upstream/modern-listen.ts';
import { LIST_KINDS, type ListKind, offeredKinds } from '../view-changes.ts';

export const MAX_SUBSCRIPTIONS = 1000;
/** Longer ones name nothing that anybody has. */
const MAX_URI_CHARS = 4096;

export interface Filter {
  readonly lists: readonly ListKind[];
  /** As the client calls them. */
  readonly resources: readonly string[];
}

const KEYS: Readonly<Record<ListKind, string>> = {
  tools: 'toolsListChanged',
  prompts: 'promptsListChanged',
  resources: 'resourcesListChanged',
};

/** A text says what is wrong with it. */
export function readFilter({ bytes, params }: Envelope): Filter | string {
  const span = params === undefined ? undefined : member(bytes, params, 'notifications');
  if (span === undefined || bytes[span.start] !== 0x7b)
    return 'subscriptions/listen needs params.notifications, an object';
  const asked = JSON.parse(bytes.toString('utf8', span.start, span.end)) as Record<string, unknown>;
  for (const key of Object.values(KEYS)) {
    if (asked[key] !== undefined && typeof asked[key] !== 'boolean') return `notifications.${key} must be a boolean`;
  }
  const { resourceSubscriptions: uris = [] } = asked;
  if (
    !Array.isArray(uris) ||
    !uris.every((uri): uri is string => typeof uri === 'string' && uri.length <= MAX_URI_CHARS)
  ) {
    return 'notifications.resourceSubscriptions must be a list of URIs';
  }
  if (uris.length > MAX_SUBSCRIPTIONS)
    return `at most ${MAX_SUBSCRIPTIONS} resources can be subscribed to in one listen`;
  return { lists: LIST_KINDS.filter((kind) => asked[KEYS[kind]] === true), resources: [...new Set(uris)] };
}

/** One resource to listen for. */
export interface Subscription {
  readonly connection: Connection;
  /** The upstream's own. */
  readonly uri: string;
  readonly wireUri: string;
}

export interface Honoured {
  readonly lists: readonly ListKind[];
  readonly subscriptions: readonly Subscription[];
}

/** What a caller may not read and what nobody has look the same: it is left out. */
export function honour({ lists, resources }: Filter, namespace: Namespace, persona: Persona | undefined): Honoured {
  const offered = offeredKinds(namespace);
  const subscriptions = resources.flatMap((wireUri): Subscription[] => {
    const found = namespace.uris.fromWire(wireUri);
    if (found === undefined) return [];
    const { connection, uri } = found;
    const isTold =
      tellsOfResources(connection) && (connection.catalog.era === 'modern' || connection.catalog.hasSessions);
    const isAllowed = decideUri(persona, connection.name, uri).allowed;
    return isTold && isAllowed && connection.injection.fault === undefined ? [{ connection, uri, wireUri }] : [];
  });
  return { lists: lists.filter((kind) => offered.includes(kind)), subscriptions };
}

/** As the acknowledgement tells it. JSON text. */
export function honouredText({ lists, subscriptions }: Honoured): string {
  return JSON.stringify({
    ...Object.fromEntries(lists.map((kind) => [KEYS[kind], true])),
    ...(subscriptions.length > 0 && { resourceSubscriptions: subscriptions.map(({ wireUri }) => wireUri) }),
  });
}
