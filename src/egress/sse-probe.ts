/**
 * Whether a server that has no streamable HTTP speaks HTTP+SSE: a GET of its URL is answered with a stream that begins with
 * the event `endpoint` (MCP 2025-11-25 transports, "Backwards Compatibility").
 */
import type { Connection } from '../snapshot/snapshot.ts';
import { startDeadline } from './deadline.ts';
import type { Egress } from './egress.ts';
import { namedEvents } from './named-events.ts';

/** For the stream and its first event. Milliseconds. */
const PROBE_TIMEOUT_MS = 5000;

/** Whatever fails says no: the reason is in what was answered to the POST before. */
export async function speaksSse(egress: Egress, connection: Connection, signal: AbortSignal): Promise<boolean> {
  const headers: Record<string, string> = { accept: 'text/event-stream' };
  for (const [name, value] of connection.injection.headers) headers[name] = value;
  const deadline = startDeadline(PROBE_TIMEOUT_MS, signal);
  try {
    const answer = await egress.send(connection, {
      method: 'GET',
      path: connection.path,
      headers,
      signal: deadline.signal,
      stream: true,
      raw: true,
    });
    const isStream = answer.status === 200 && /^text\/event-stream\b/i.test(answer.headers['content-type'] ?? '');
    if (!isStream || answer.localReply !== undefined) {
      answer.body.destroy();
      return false;
    }
    for await (const { name } of namedEvents(answer.body)) return name === 'endpoint';
    return false;
  } catch {
    return false;
  } finally {
    deadline.release();
  }
}
