/** An upstream's answer to one call, message by message, at the reader's pace; the call outlives whoever reads. */
import type { IncomingMessage } from 'node:http';
import { EventTooLarge } from '../../mcp/events.ts';
import { readEvents } from '../upstream/read-events.ts';

/** An event never grows past this. */
export const MAX_MESSAGE_BYTES = 16 << 20;
/** A stream that breaks off may be taken up again so often without a new event on it. */
const MAX_RESUMPTIONS = 5;
/** Messages that came another way and wait for the reader. */
const MAX_INSERTED = 32;
/** Until then, where the upstream does not say (`retry`), and at most. Milliseconds. */
const RETRY_MS = 1000;
const MAX_RETRY_MS = 10_000;

/** The stream broke off, or holds what nobody can take. */
export class BrokenAnswer extends Error {}

export const LATE = Symbol('nothing came in time');

/** The rest of a stream from behind that event; undefined when there is none. */
export type Resume = (lastEventId: string) => Promise<IncomingMessage | undefined>;

export class UpstreamAnswer {
  private readonly messages: AsyncGenerator<Buffer, void>;
  private readonly stop: AbortController;
  /** What is being read: a reader that stops waiting leaves it to the next. */
  private pending: Promise<Buffer | undefined> | undefined;
  private readonly inserted: Buffer[] = [];
  private wake: () => void = () => {};

  /** `stop`: aborts the request at the upstream. */
  constructor(messages: AsyncGenerator<Buffer, void>, stop: AbortController) {
    this.messages = messages;
    this.stop = stop;
  }

  /** The next message; undefined at the end. Rejects with the signal's reason, or with how the stream broke. */
  next(signal: AbortSignal): Promise<Buffer | undefined> {
    const pending = this.pull();
    return new Promise((resolve, reject) => {
      let isOver = false;
      const settle = (): boolean => {
        if (isOver) return false;
        isOver = true;
        this.wake = () => {};
        signal.removeEventListener('abort', give);
        return true;
      };
      const fail = (reason: unknown): void => {
        if (settle()) reject(reason);
      };
      const give = (): void => fail(signal.reason);
      this.wake = () => {
        if (this.inserted.length > 0 && settle()) resolve(this.inserted.shift());
      };
      this.wake();
      if (signal.aborted) give();
      else signal.addEventListener('abort', give, { once: true });
      // Left for the next reader if this one has given up.
      pending.then((message) => {
        if (!settle()) return;
        this.pending = undefined;
        resolve(message);
      }, fail);
    });
  }

  /** The next message if it comes within `ms`. */
  async within(ms: number, signal: AbortSignal): Promise<Buffer | undefined | typeof LATE> {
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(LATE), ms);
    const give = (): void => late.abort(signal.reason);
    if (signal.aborted) give();
    signal.addEventListener('abort', give, { once: true });
    try {
      return await this.next(late.signal);
    } catch (error) {
      if (error === LATE) return LATE;
      throw error;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', give);
    }
  }

  /** A message that came another way is read as if it had come on this one; false: too many wait. */
  insert(message: Buffer): boolean {
    if (this.inserted.length >= MAX_INSERTED) return false;
    this.inserted.push(message);
    this.wake();
    return true;
  }

  /** The answer was complete: what may follow is of no interest, but the connection is. */
  release(): void {
    this.messages.return().catch(() => {});
  }

  /** Ends the request at the upstream; nothing more is read. */
  close(): void {
    this.stop.abort(new Error('nobody reads any more'));
  }

  private pull(): Promise<Buffer | undefined> {
    if (this.pending === undefined) {
      this.pending = this.messages.next().then(({ value }) => value ?? undefined);
      // A call that is parked has nobody who would hear of it.
      this.pending.catch(() => {});
    }
    return this.pending;
  }
}

/**
 * An event stream's messages. Where it breaks off behind an event with an id it is taken up again: the gateway is the
 * client here (MCP 2025-11-25 transports, "Resumability and Redelivery").
 */
export async function* messagesOf(
  first: IncomingMessage,
  resume: Resume | undefined,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void> {
  let lastEventId: string | undefined;
  let retryMs = RETRY_MS;
  let body: IncomingMessage | undefined = first;
  for (let attempt = 0; body !== undefined && attempt <= MAX_RESUMPTIONS; attempt++) {
    try {
      for await (const { id, retryMs: asked, data } of readEvents(body, MAX_MESSAGE_BYTES)) {
        lastEventId = id ?? lastEventId;
        if (asked !== undefined) retryMs = Math.min(asked, MAX_RETRY_MS);
        if (data === undefined) continue;
        attempt = 0;
        yield data;
      }
    } catch (error) {
      const isFinal = error instanceof EventTooLarge || lastEventId === undefined || resume === undefined;
      if (isFinal || signal.aborted) {
        throw new BrokenAnswer(`its answer broke off (${(error as Error).message})`, { cause: error });
      }
    }
    if (lastEventId === undefined || resume === undefined) return;
    await new Promise((resolve) => setTimeout(resolve, retryMs));
    if (signal.aborted) return;
    body = await resume(lastEventId);
  }
}
