/** The events of an upstream's stream as they come: their data, and where to go on after a break. */
import type { IncomingMessage } from 'node:http';
import { canReturnTo, EventSplitter, eventData, eventFields } from '../../mcp/events.ts';

/** A message may be this large; a longer one ends the stream. */
const MAX_EVENT_BYTES = 4 << 20;

export interface UpstreamEvent {
  /** undefined: nothing but a place to come back to. */
  readonly data: Buffer | undefined;
  readonly id: string | undefined;
  readonly retryMs: number | undefined;
}

/** Ends when the stream does; throws what the stream throws, and EventTooLarge. */
export async function* readEvents(body: IncomingMessage): AsyncGenerator<UpstreamEvent> {
  const splitter = new EventSplitter(MAX_EVENT_BYTES);
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
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
    body.destroy();
  }
}

export const isEventStream = (headers: IncomingMessage['headers']): boolean =>
  /^text\/event-stream\b/i.test(headers['content-type'] ?? '');
