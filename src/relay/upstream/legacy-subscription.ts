/**
 * Subscriptions to resources of a legacy upstream for a client that has no session: a session of their own, subscribed
 * once for each, listened to, and begun anew when it is lost.
 */
import { startDeadline } from '../../egress/deadline.ts';
import { post } from '../../egress/post.ts';
import { endSession } from '../../egress/session.ts';
import { answerUpstream } from '../../egress/tell.ts';
import { openSession } from '../../egress/upstream-client.ts';
import type { UpstreamSession } from '../../exchange/exchange.ts';
import { parseResponse } from '../../mcp/response.ts';
import type { Connection } from '../../snapshot/snapshot.ts';
import type { Logger } from '../../telemetry/log.ts';
import { answerInClientsPlace } from '../../translate/ask.ts';
import { BackOff } from './back-off.ts';
import { followGet } from './follow-get.ts';
import { type ListenOptions, updatedUri } from './modern-listen.ts';

const OPEN_MS = 10_000;
/** All of them together. */
const SUBSCRIBE_MS = 30_000;
const MAX_ANSWER_BYTES = 1 << 20;
/** Subscriptions that wait for their answers at one time. */
const AT_ONCE = 8;

/** Resolves when the signal says so, or when the upstream has no way to tell. */
export async function followLegacy(options: ListenOptions & { readonly log: Logger }): Promise<void> {
  const { signal, egress, log } = options;
  const backOff = new BackOff();
  let opened = 0;
  while (!signal.aborted) {
    const begun = performance.now();
    const connection = options.connection();
    if (connection === undefined) return;
    let session: UpstreamSession | undefined;
    try {
      session = await open(options, connection);
      if (session === undefined) return;
      const mine = session;
      await subscribe(options, connection, mine);
      const end = await followGet({
        egress,
        connection: options.connection,
        session: mine,
        signal,
        onOpen: () => {
          // Whatever changed before the stream was open, or while it was broken, nobody has told.
          if (opened++ > 0) options.onReturn();
        },
        onMessage: (bytes) => heard(options, connection, mine, bytes),
      });
      if (end === 'none') return;
    } catch (error) {
      if (!signal.aborted) log.debug({ connection: connection.name, error: String(error) }, 'a subscription failed');
    } finally {
      if (session !== undefined) endSession(options, connection, session);
    }
    if (!signal.aborted) await backOff.wait(performance.now() - begun, signal);
  }
}

/** Seen through even if the client leaves meanwhile: a session whose id nobody read could not be ended. */
async function open({ egress }: ListenOptions, connection: Connection): Promise<UpstreamSession | undefined> {
  const deadline = startDeadline(OPEN_MS);
  try {
    const { sessionId, protocolVersion } = await openSession(egress, connection, deadline.signal);
    return sessionId === undefined ? undefined : { key: '', id: sessionId, protocolVersion };
  } finally {
    deadline.release();
  }
}

async function subscribe(
  { egress, uris, signal }: ListenOptions,
  connection: Connection,
  { id: sessionId, protocolVersion }: UpstreamSession,
): Promise<void> {
  const deadline = startDeadline(SUBSCRIBE_MS, signal);
  const waiting = [...uris.entries()];
  const one = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [index, uri] = next;
      const body = `{"jsonrpc":"2.0","id":${index},"method":"resources/subscribe","params":{"uri":${JSON.stringify(uri)}}}`;
      // One that the upstream refuses leaves the others alone.
      await post(egress, connection, Buffer.from(body), {
        sessionId,
        protocolVersion,
        maxBytes: MAX_ANSWER_BYTES,
        signal: deadline.signal,
      });
    }
  };
  try {
    await Promise.all(Array.from({ length: AT_ONCE }, one));
  } finally {
    deadline.release();
  }
}

async function heard(
  options: ListenOptions & { readonly log: Logger },
  connection: Connection,
  session: UpstreamSession,
  bytes: Buffer,
): Promise<void> {
  const message = parseResponse(bytes);
  if (message === undefined || message.kind !== 'message') return;
  if (message.id !== undefined) {
    const id = bytes.toString('utf8', message.id.start, message.id.end);
    // There is no client behind this session that could be asked anything.
    answerUpstream(options, connection, session, answerInClientsPlace(message.method, id));
  } else if (message.method === 'notifications/resources/updated') {
    const uri = updatedUri(bytes, message.params);
    if (uri !== undefined) await options.onUpdated(uri);
  }
}
