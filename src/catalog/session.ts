/** The catalog's own sessions with legacy upstreams. */
import type { Egress } from '../egress/egress.ts';
import type { Handshake } from '../egress/upstream-client.ts';
import type { Connection } from '../snapshot/snapshot.ts';

/** Headers of any request on the session. */
export function sessionHeaders(
  connection: Connection,
  { protocolVersion, sessionId }: Pick<Handshake, 'protocolVersion' | 'sessionId'>,
): Record<string, string> {
  const headers: Record<string, string> = { 'mcp-protocol-version': protocolVersion };
  if (sessionId !== undefined) headers['mcp-session-id'] = sessionId;
  for (const [name, value] of connection.injection.headers) headers[name] = value;
  return headers;
}

/** Courtesy: the upstream would forget it by itself. */
export function endSession(connection: Connection, egress: Egress, session: Handshake): void {
  if (session.sessionId === undefined) return;
  egress
    .send(connection, {
      method: 'DELETE',
      path: connection.path,
      headers: sessionHeaders(connection, session),
      signal: AbortSignal.timeout(3000),
    })
    .then((answer) => answer.body.resume())
    .catch(() => {});
}
