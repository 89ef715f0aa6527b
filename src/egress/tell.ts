/** A message to an upstream that nobody waits for. */
import type { UpstreamSession } from '../exchange/exchange.ts';
import type { Connection } from '../snapshot/snapshot.ts';
import type { Logger } from '../telemetry/log.ts';
import { startDeadline } from './deadline.ts';
import type { Egress } from './egress.ts';
import { post } from './post.ts';

const TELL_MS = 5000;
const MAX_BYTES = 1 << 20;

/** One message, on the session if there is one. Resolves whatever comes back; throws EgressError where nothing does. */
export async function tell(
  egress: Egress,
  connection: Connection,
  session: UpstreamSession | undefined,
  message: string,
  signal: AbortSignal,
): Promise<void> {
  await post(egress, connection, Buffer.from(message), {
    sessionId: session?.id,
    protocolVersion: session?.protocolVersion ?? connection.catalog.legacyVersion,
    maxBytes: MAX_BYTES,
    signal,
  });
}

/** The same in the background, for five seconds at most; a failure is for the log. */
export function tellUpstream(
  { egress, log }: { readonly egress: Egress; readonly log: Logger },
  connection: Connection,
  session: UpstreamSession | undefined,
  message: string,
): void {
  const deadline = startDeadline(TELL_MS);
  tell(egress, connection, session, message, deadline.signal)
    .catch((error: unknown) =>
      log.debug({ connection: connection.name, error: String(error) }, 'an upstream was not told'),
    )
    .finally(() => deadline.release());
}
