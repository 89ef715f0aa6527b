/** The events of an HTTP+SSE upstream's stream with their names, which tell the endpoint from the messages. */
import type { IncomingMessage } from 'node:http';
import { EventSplitter, eventData } from '../mcp/events.ts';

/** A message may be this large, as on the direct path; a longer one ends the stream. */
const MAX_EVENT_BYTES = 16 << 20;

export interface NamedEvent {
  readonly name: string;
  readonly data: Buffer;
}

/** Events with data. Ends when the stream does; throws what the stream throws, and EventTooLarge. */
export async function* namedEvents(body: IncomingMessage): AsyncGenerator<NamedEvent> {
  const splitter = new EventSplitter(MAX_EVENT_BYTES);
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      for (const event of splitter.push(chunk)) {
        const data = eventData(event);
        if (data !== undefined && data.length > 0) yield { name: nameOf(event), data };
      }
    }
  } finally {
    body.destroy();
  }
}

/** JSON data holds no line that begins with a field's name, for it stands behind `data:`. */
function nameOf(event: Buffer): string {
  if (event.indexOf('event', 0, 'latin1') < 0) return DEFAULT;
  const name = /(?:^|[\r\n])event: ?([^\r\n]*)/.exec(event.toString('latin1'))?.[1];
  return name === undefined || name === '' ? DEFAULT : name;
}

/** WHATWG HTML, "Interpreting an event stream". */
const DEFAULT = 'message';
