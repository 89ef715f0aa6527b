/**
 * Server-Sent Events framing over arbitrary chunks (WHATWG HTML, "Server-sent events"): whole events come out as
 * the bytes they were, so that what is not edited is forwarded untouched.
 */

const LF = 0x0a;
const CR = 0x0d;
const COLON = 0x3a;

/** An event grew past the limit before it ended. */
export class EventTooLarge extends Error {}

/** Cuts a stream into events. Bytes of an unfinished event are kept, at most `maxBytes`. */
export class EventSplitter {
  private readonly maxBytes: number;
  private pending: Buffer = Buffer.alloc(0);
  /** How far `pending` was searched already. */
  private searched = 0;

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  /** The events that the chunk completes, each with its closing blank line. */
  push(chunk: Buffer): Buffer[] {
    // Chunks are views of a wire buffer that is reused by nobody, but is large: what is kept is copied.
    const bytes = this.pending.length === 0 ? chunk : Buffer.concat([this.pending, chunk]);
    const events: Buffer[] = [];
    let start = 0;
    let from = this.searched;
    for (;;) {
      const end = eventEnd(bytes, Math.max(from, start));
      if (end < 0) break;
      events.push(bytes.subarray(start, end));
      start = end;
      from = end;
    }
    this.pending = start === bytes.length ? Buffer.alloc(0) : Buffer.from(bytes.subarray(start));
    // A line end may be split between chunks: look at the last three bytes again.
    this.searched = Math.max(0, this.pending.length - 3);
    if (this.pending.length > this.maxBytes) throw new EventTooLarge(`an event of more than ${this.maxBytes} bytes`);
    return events;
  }

  /** What is left when the stream has ended: an event without its blank line, or nothing. */
  rest(): Buffer {
    const rest = this.pending;
    this.pending = Buffer.alloc(0);
    this.searched = 0;
    return rest;
  }
}

/** Index after the first blank line at or after `from`, or -1. Line ends are LF, CRLF or CR. */
function eventEnd(bytes: Buffer, from: number): number {
  for (let i = from; i < bytes.length; i++) {
    const byte = bytes[i];
    if (byte === LF) {
      if (bytes[i + 1] === LF) return i + 2;
      if (bytes[i + 1] === CR && bytes[i + 2] === LF) return i + 3;
    } else if (byte === CR) {
      // CR CR; CRLF is seen through its LF. A CR at the very end waits for the next chunk.
      if (bytes[i + 1] === CR) return bytes[i + 2] === LF ? i + 3 : i + 2;
    }
  }
  return -1;
}

/** The event's data (its `data:` lines joined by LF), or undefined when it has none (comments, keep-alives). */
export function eventData(event: Buffer): Buffer | undefined {
  const single = singleData(event);
  if (single !== undefined) return single;
  const lines = event.toString('utf8').split(/\r\n|\n|\r/);
  const data: string[] = [];
  for (const line of lines) {
    if (line === 'data') data.push('');
    else if (line.startsWith('data:')) data.push(line.startsWith('data: ') ? line.slice(6) : line.slice(5));
  }
  return data.length === 0 ? undefined : Buffer.from(data.join('\n'));
}

/** The common shape, without a copy: fields, then one `data:` line, LF or CRLF ended. */
function singleData(event: Buffer): Buffer | undefined {
  const first = event.indexOf('data', 0, 'latin1');
  if (first < 0 || (first > 0 && event[first - 1] !== LF) || event[first + 4] !== COLON) return undefined;
  let end = event.indexOf(LF, first);
  if (end < 0) return undefined;
  const next = event.indexOf('data', end, 'latin1');
  if (next >= 0 && event[next - 1] === LF) return undefined;
  if (event[end - 1] === CR) end--;
  const start = event[first + 5] === 0x20 ? first + 6 : first + 5;
  return event.subarray(start, end).includes(CR) ? undefined : event.subarray(start, end);
}
