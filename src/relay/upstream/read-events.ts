/** The events of a stream as they come: their data, and where to go on after a break. */
import type { IncomingMessage } from 'node:http';
import { canReturnTo, EventSplitter, eventData, eventFields } from '../../mcp/events.ts';

/** A message may be this large where nobody says otherwise; a longer one ends the stream. */
const MAX_EVENT_BYTES = 4 << 20;
/** A stream whose reader has what it wanted mostly ends by itself, and its connection can be used again. Milliseconds. */
const END_MS = 1000;

export interface StreamEvent {
  /** undefined: nothing but a place to come back to. */
  readonly data: Buffer | undefined;
  readonly id: string | undefined;
  readonly retryMs: number | undefined;
}

/** Ends when the stream does; throws what the stream throws, and EventTooLarge. */
export async function* readEvents(
  body: IncomingMessage,
  maxEventBytes = MAX_EVENT_BYTES,
): AsyncGenerator<StreamEvent, void> {
  const splitter = new EventSplitter(maxEventBytes);
  try {
    for await (const chunk of body.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      for (const event of splitter.push(chunk)) {
        const { id, retry } = eventFields(event);
        const data = eventData(event);
        yield {
          data: data === undefined || data.length === 0 ? undefined : data,
          id: id !== undefined && canReturnTo(id) ? id : undefined,
          retryMs: retry === undefined ? undefined : Number(retry),
        };
      }
    }
  } finally {
    letGo(body);
  }
}

function letGo(body: IncomingMessage): void {
  if (body.readableEnded || body.destroyed) return;
  const timer = setTimeout(() => body.destroy(), END_MS);
  body.once('error', () => {}).once('close', () => clearTimeout(timer));
  body.resume();
}

export const isEventStream = (headers: IncomingMessage['headers']): boolean =>
  /^text\/event-stream\b/i.test(headers['content-type'] ?? '');
