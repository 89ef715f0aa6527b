/** What servers say of themselves: the GET stream of the client's session, kept open and taken up again where it broke. */
import { setTimeout as after } from 'node:timers/promises';
import { parseResponse } from '../../mcp/response.ts';
import { MAX_MESSAGE_BYTES } from '../batch/answers.ts';
import type { Front } from '../front.ts';
import { isEventStream, readEvents } from '../upstream/read-events.ts';

export interface Listening {
  readonly front: Front;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  write(message: Buffer): Promise<void>;
}

/** Between two attempts. Milliseconds; doubled for each that fails. */
const RETRY_MS = 1000;
const MAX_RETRY_MS = 30_000;

/** Ends when the signal says so (`over`), or when the gateway offers no such stream any more to this client (`refused`). */
export async function followServer(listening: Listening): Promise<'over' | 'refused' | 'none'> {
  const { front, path, headers, signal } = listening;
  let lastEventId: string | undefined;
  for (let waitMs = RETRY_MS; !signal.aborted; waitMs = Math.min(waitMs * 2, MAX_RETRY_MS)) {
    try {
      const resume = lastEventId === undefined ? {} : { 'last-event-id': lastEventId };
      const got = await front.request({ method: 'GET', path, headers: { ...headers, ...resume }, signal });
      if (got.status === 200 && isEventStream(got.headers)) {
        waitMs = RETRY_MS;
        for await (const event of readEvents(got.body, MAX_MESSAGE_BYTES)) {
          lastEventId = event.id ?? lastEventId;
          waitMs = event.retryMs === undefined ? waitMs : Math.min(event.retryMs, MAX_RETRY_MS);
          // Responses belong to the POST that brought their request.
          if (event.data !== undefined && parseResponse(event.data)?.kind === 'message')
            await listening.write(event.data);
        }
      } else {
        got.body.destroy();
        if (got.status === 405) return 'none';
        if (got.status >= 400 && got.status < 500 && got.status !== 409 && got.status !== 429) return 'refused';
      }
    } catch {
      // Broken off, or not to be had now: the next attempt tells.
    }
    await pause(waitMs, signal);
  }
  return 'over';
}

/** Ends early when the signal says stop. */
export const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  after(ms, undefined, { signal, ref: false }).catch(() => {});
