/** `subscriptions/listen` at a modern upstream for resources, opened again whenever it ends (MCP 2026-07-28, subscriptions). */
import type { Egress } from '../../egress/egress.ts';
import { modernRequest } from '../../egress/modern-request.ts';
import { JsonError, stringAt } from '../../mcp/json.ts';
import { parseResponse } from '../../mcp/response.ts';
import { LATEST_MODERN } from '../../mcp/revision.ts';
import type { Connection } from '../../snapshot/snapshot.ts';
import { member } from '../../translate/member.ts';
import { BackOff } from './back-off.ts';
import { isEventStream, readEvents } from './read-events.ts';

export interface ListenOptions {
  readonly egress: Egress;
  /** As it is now; undefined: it is gone. */
  connection(): Connection | undefined;
  /** The upstream's own. */
  readonly uris: readonly string[];
  readonly signal: AbortSignal;
  onUpdated(uri: string): void | Promise<void>;
  /** It listens again after a break, in which updates may have been missed. */
  onReturn(): void;
  onReady?(): void;
}

/** Resolves when the signal says so, or when the upstream has no such method. */
export async function followModern(options: ListenOptions): Promise<void> {
  const { signal } = options;
  const backOff = new BackOff();
  let wasOpen = false;
  while (!signal.aborted) {
    const begun = performance.now();
    try {
      const connection = options.connection();
      if (connection === undefined) return;
      const answer = await open(options, connection);
      if (answer.status === 200 && answer.localReply === undefined && isEventStream(answer.headers)) {
        for await (const { data } of readEvents(answer.body)) {
          const heard = data === undefined ? undefined : hear(data);
          if (heard === 'acknowledged') {
            options.onReady?.();
            if (wasOpen) options.onReturn();
            wasOpen = true;
          } else if (heard === 'over') break;
          else if (heard !== undefined) await options.onUpdated(heard.uri);
        }
      } else {
        answer.body.resume();
        // It does not have the method after all; the catalog will tell when that changes.
        if (answer.localReply === undefined && (answer.status === 404 || answer.status === 405)) return;
      }
    } catch {
      // Broken off, or not to be had now: the next attempt tells.
    }
    if (!signal.aborted) await backOff.wait(performance.now() - begun, signal);
  }
}

let counted = 0;

function open({ egress, uris, signal }: ListenOptions, connection: Connection): ReturnType<Egress['send']> {
  const filter = `"notifications":${JSON.stringify({ resourceSubscriptions: uris })}`;
  const { body, headers } = modernRequest(
    'subscriptions/listen',
    LATEST_MODERN,
    `sallyport-listen-${++counted}`,
    filter,
  );
  const all: Record<string, string> = {
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    'mcp-protocol-version': headers.protocolVersion ?? LATEST_MODERN,
  };
  for (const [name, value] of connection.injection.headers) all[name] = value;
  for (const [name, value] of headers.extraHeaders ?? []) all[name] = value;
  return egress.send(connection, { method: 'POST', path: connection.path, headers: all, body, signal, stream: true });
}

/** What a message on the stream says; undefined for what says nothing to us. */
function hear(data: Buffer): 'acknowledged' | 'over' | { readonly uri: string } | undefined {
  const message = parseResponse(data);
  if (message === undefined) return undefined;
  if (message.kind !== 'message') return 'over';
  if (message.method === 'notifications/subscriptions/acknowledged') return 'acknowledged';
  if (message.method !== 'notifications/resources/updated') return undefined;
  const uri = updatedUri(message.bytes, message.params);
  return uri === undefined ? undefined : { uri };
}

/** The upstream says that it tells of changes to single resources; both eras have the same word for that. */
export function tellsOfResources({ catalog }: Connection): boolean {
  const { resources } = catalog.capabilities;
  return (
    typeof resources === 'object' && resources !== null && 'subscribe' in resources && resources.subscribe === true
  );
}

/** `params.uri` of a `notifications/resources/updated`. */
export function updatedUri(bytes: Buffer, params: { start: number; end: number } | undefined): string | undefined {
  try {
    const uri = params === undefined ? undefined : member(bytes, params, 'uri');
    return uri !== undefined && bytes[uri.start] === 0x22 ? stringAt(bytes, uri.start, uri.end) : undefined;
  } catch (error) {
    if (error instanceof JsonError) return undefined;
    throw error;
  }
}
