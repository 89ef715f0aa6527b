/** The GET stream of a session with a legacy upstream, kept open and taken up where it broke (MCP 2025-11-25 transports). */
import type { Egress } from '../../egress/egress.ts';
import { sessionHeaders } from '../../egress/session.ts';
import type { UpstreamSession } from '../../exchange/exchange.ts';
import type { Connection } from '../../snapshot/snapshot.ts';
import { BackOff } from './back-off.ts';
import { isEventStream, readEvents } from './read-events.ts';

export interface FollowOptions {
  readonly egress: Egress;
  /** As it is now: its credential may have changed since the last attempt. undefined: it is gone. */
  connection(): Connection | undefined;
  readonly session: UpstreamSession;
  readonly signal: AbortSignal;
  /** One JSON-RPC message; the next is read when it has been dealt with. */
  onMessage(message: Buffer): void | Promise<void>;
  /** The stream is open, for the first time or again. */
  onOpen?(): void;
}

/** `none`: this upstream has no such stream. `lost`: it does not know the session any more. `over`: the signal said so. */
export type FollowEnd = 'none' | 'lost' | 'over';

export async function followGet(options: FollowOptions): Promise<FollowEnd> {
  const { signal } = options;
  const backOff = new BackOff();
  let lastEventId: string | undefined;
  while (!signal.aborted) {
    const begun = performance.now();
    let retryMs = 0;
    try {
      const connection = options.connection();
      if (connection === undefined) return 'over';
      const answer = await openGet(options.egress, connection, options.session, signal, lastEventId);
      const { status, body } = answer;
      if (status === 200 && answer.localReply === undefined && isEventStream(answer.headers)) {
        options.onOpen?.();
        for await (const event of readEvents(body)) {
          lastEventId = event.id ?? lastEventId;
          retryMs = event.retryMs ?? retryMs;
          if (event.data !== undefined) await options.onMessage(event.data);
        }
      } else {
        body.resume();
        if (answer.localReply === undefined) {
          if (status === 405 || status === 501) return 'none';
          if (status === 404 || status === 400) return 'lost';
        }
      }
    } catch {
      // Broken off, or not to be had now: the next attempt tells.
    }
    if (!signal.aborted) await backOff.wait(performance.now() - begun, signal, retryMs);
  }
  return 'over';
}

/** One GET; `lastEventId`: the upstream's own. Throws EgressError. */
export function openGet(
  egress: Egress,
  connection: Connection,
  session: UpstreamSession,
  signal: AbortSignal,
  lastEventId: string | undefined,
): ReturnType<Egress['send']> {
  const headers: Record<string, string> = { ...sessionHeaders(connection, session), accept: 'text/event-stream' };
  if (lastEventId !== undefined) headers['last-event-id'] = lastEventId;
  return egress.send(connection, { method: 'GET', path: connection.path, headers, signal, stream: true });
}
