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

/** The same in the background, for five seconds at most; a failure is for the log. Resolves when it is over. */
export function tellUpstream(
  { egress, log }: { readonly egress: Egress; readonly log: Logger },
  connection: Connection,
  session: UpstreamSession | undefined,
  message: string,
): Promise<void> {
  const deadline = startDeadline(TELL_MS);
  return tell(egress, connection, session, message, deadline.signal)
    .catch((error: unknown) =>
      log.debug({ connection: connection.name, error: String(error) }, 'an upstream was not told'),
    )
    .finally(() => deadline.release());
}

/** Answers of ours that may be on their way on one upstream session. A server that asks faster waits for itself alone. */
const MAX_ANSWERS = 16;
const answering = new Map<string, number>();

/** Answers a request of the upstream's in the background. What it asks beyond the limit is left without an answer. */
export function answerUpstream(
  world: { readonly egress: Egress; readonly log: Logger },
  connection: Connection,
  session: UpstreamSession | undefined,
  answer: string,
): void {
  const key = `${connection.id} ${session?.id ?? ''}`;
  const count = answering.get(key) ?? 0;
  if (count >= MAX_ANSWERS) return;
  answering.set(key, count + 1);
  void tellUpstream(world, connection, session, answer).finally(() => {
    const left = (answering.get(key) ?? 1) - 1;
    if (left === 0) answering.delete(key);
    else answering.set(key, left);
  });
}
