/**
 * Server-Sent Events framing over arbitrary chunks (WHATWG HTML, "Server-sent events"): whole events come out as
 * the bytes they were, so that what is not edited is forwarded untouched.
 */

const LF = 0x0a;
const CR = 0x0d;
const COLON = 0x3a;

/** An event grew past the limit before it ended. */
export class EventTooLarge extends Error {}

/**
 * Cuts a stream into events. Chunks of an unfinished event are kept apart until it ends, so that a byte at a time costs
 * a byte's work; they may hold `maxBytes` together.
 */
export class EventSplitter {
  private readonly maxBytes: number;
  private kept: Buffer[] = [];
  private keptBytes = 0;
  /** The last bytes of what is kept, across which a line end may be split. */
  private tail: Buffer = EMPTY;
  private hasBegun = false;

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  /** The events that the chunk completes, each with its closing blank line. */
  push(chunk: Buffer): Buffer[] {
    const events: Buffer[] = [];
    // The blank line may have begun in what is kept: look at its end and the chunk together.
    const joined = this.tail.length === 0 ? chunk : Buffer.concat([this.tail, chunk]);
    const lead = joined.length - chunk.length;
    let start = lead;
    for (let end = eventEnd(joined, 0); end >= 0; end = eventEnd(joined, end)) {
      // An end inside the lead was waited with: the CR before it could have begun a CRLF.
      const piece = joined.subarray(start, Math.max(end, start));
      events.push(this.unmarked(this.kept.length === 0 ? piece : Buffer.concat([...this.kept, piece])));
      this.kept = [];
      this.keptBytes = 0;
      start = Math.max(end, start);
    }
    this.keep(joined.subarray(start));
    return events;
  }

  /** A byte order mark before the first line is no part of it; with it, the line would say something else here than there. */
  private unmarked(event: Buffer): Buffer {
    const hasMark = !this.hasBegun && event.subarray(0, MARK.length).equals(MARK);
    this.hasBegun = true;
    return hasMark ? event.subarray(MARK.length) : event;
  }

  private keep(rest: Buffer): void {
    if (rest.length > 0) {
      // Chunks are views of a much larger wire buffer: what is kept is copied.
      this.kept.push(Buffer.from(rest));
      this.keptBytes += rest.length;
      if (this.kept.length >= MERGE_AT) this.kept = [Buffer.concat(this.kept)];
    }
    if (this.keptBytes > this.maxBytes) throw new EventTooLarge(`an event of more than ${this.maxBytes} bytes`);
    this.tail = lastBytes(this.kept);
  }

  /** What is left when the stream has ended: an event without its blank line, or nothing. */
  rest(): Buffer {
    const rest = Buffer.concat(this.kept);
    this.kept = [];
    this.keptBytes = 0;
    this.tail = EMPTY;
    return rest;
  }
}

const EMPTY = Buffer.alloc(0);
const MARK = Buffer.from('\ufeff');
/** A blank line is at most four bytes (CRLF CRLF), so three may wait for the fourth. */
const TAIL = 3;
/** Many small pieces are merged now and then: an object for each byte would be dearer than the copy. */
const MERGE_AT = 1024;

function lastBytes(pieces: readonly Buffer[]): Buffer {
  let tail: Buffer = EMPTY;
  for (let i = pieces.length - 1; i >= 0 && tail.length < TAIL; i--) {
    const piece = pieces[i] as Buffer;
    tail = Buffer.concat([piece.subarray(Math.max(0, piece.length - (TAIL - tail.length))), tail]);
  }
  return tail;
}

/** Index after the first blank line at or after `from`, or -1. Line ends are LF, CRLF or CR, in any mixture. */
function eventEnd(bytes: Buffer, from: number): number {
  for (let i = from; i < bytes.length; i++) {
    const byte = bytes[i];
    if (byte !== LF && byte !== CR) continue;
    const isPair = byte === CR && bytes[i + 1] === LF;
    const line = isPair ? i + 2 : i + 1;
    if (bytes[line] === LF) return line + 1;
    if (bytes[line] === CR) {
      if (bytes[line + 1] === LF) return line + 2;
      // After a CRLF the LF of another one is to be expected.
      return isPair && line + 1 === bytes.length ? -1 : line + 1;
    }
    i = line - 1;
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
  if (event.indexOf('data', end, 'latin1') >= 0) return undefined;
  if (event[end - 1] === CR) end--;
  const start = event[first + 5] === 0x20 ? first + 6 : first + 5;
  return event.subarray(start, end).includes(CR) ? undefined : event.subarray(start, end);
}

export interface EventFields {
  readonly id?: string | undefined;
  /** Milliseconds, as written. */
  readonly retry?: string | undefined;
}

/** `id` and `retry` of an event, where it has them. */
export function eventFields(event: Buffer): EventFields {
  // Most events have neither, and data can be long.
  if (!hasField(event, 'id') && !hasField(event, 'retry')) return NO_FIELDS;
  let id: string | undefined;
  let retry: string | undefined;
  for (const line of event.toString('utf8').split(/\r\n|\n|\r/)) {
    const [name = '', value = ''] = /^(id|retry)(?:: ?(.*))?$/s.exec(line)?.slice(1) ?? [];
    if (name === 'id') id = value;
    if (name === 'retry' && /^\d+$/.test(value)) retry = value;
  }
  return { id, retry };
}

const NO_FIELDS: EventFields = {};

const MAX_ID_CHARS = 1024;

/** Whether the id can travel in a `Last-Event-ID` header, wrapped or not: any other is a place nobody can come back to. */
export const canReturnTo = (id: string): boolean => id.length <= MAX_ID_CHARS && /^[\x20-\x7e]*$/.test(id);

/** Whether a line begins with the field's name; JSON data holds no line that does, for it stands behind `data:`. */
function hasField(event: Buffer, name: string): boolean {
  for (let at = event.indexOf(name, 0, 'latin1'); at >= 0; at = event.indexOf(name, at + 1, 'latin1')) {
    if (at === 0 || event[at - 1] === LF || event[at - 1] === CR) return true;
  }
  return false;
}

/** One event: a message, or, with empty data, only a place to come back to. */
export function formatEvent(data: Buffer, { id, retry }: EventFields): Buffer {
  const head = `${id === undefined ? '' : `id: ${id}\n`}${retry === undefined ? '' : `retry: ${retry}\n`}`;
  if (data.length === 0) return Buffer.from(`${head}data: \n\n`);
  const start = Buffer.from(`${head}event: message\ndata: `);
  // Whitespace between values may hold line ends: each line of data has its own field.
  const body =
    data.includes(LF) || data.includes(CR)
      ? Buffer.from(data.toString('utf8').replace(/\r\n|\n|\r/g, '\ndata: '))
      : data;
  return Buffer.concat([start, body, BLANK_LINE]);
}

const BLANK_LINE = Buffer.from('\n\n');
