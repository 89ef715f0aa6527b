/** What every request on a session with a legacy upstream says, and the session's end. */
import type { Connection } from '../snapshot/snapshot.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Egress } from './egress.ts';

const GOODBYE_MS = 5000;

export interface NamedSession {
  /** undefined where the upstream mints none. */
  readonly id: string | undefined;
  readonly protocolVersion: string;
}

/** Headers of any request on the session, the connection's own included. */
export function sessionHeaders(connection: Connection, { id, protocolVersion }: NamedSession): Record<string, string> {
  const headers: Record<string, string> = { 'mcp-protocol-version': protocolVersion };
  if (id !== undefined) headers['mcp-session-id'] = id;
  for (const [name, value] of connection.injection.headers) headers[name] = value;
  return headers;
}

/** Courtesy, in the background: the upstream forgets an idle session by itself. */
export function endSession(
  { egress, log }: { readonly egress: Egress; readonly log?: Logger },
  connection: Connection,
  session: NamedSession,
): void {
  if (session.id === undefined) return;
  const headers = sessionHeaders(connection, session);
  egress
    .send(connection, { method: 'DELETE', path: connection.path, headers, signal: AbortSignal.timeout(GOODBYE_MS) })
    .then((answer) => answer.body.resume())
    .catch((error: unknown) =>
      log?.debug({ connection: connection.name, error: String(error) }, 'a session with an upstream was not ended'),
    );
}
