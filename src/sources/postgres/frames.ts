/**
 * Cuts what a server sends into whole messages. pg's parser looks for the end of a string wherever that may be: where a
 * message has none, it looks forever. So these are checked first (protocol 3.0, "Message Formats").
 */
import { SourceError } from '../source.ts';

export const NONSENSE = 'what answers does not speak the Postgres protocol';

/** No message of Postgres is longer (MaxAllocSize), bytes. */
const MAX_MESSAGE = 0x3fffffff;
const EMPTY = Buffer.alloc(0);
const HEADER = 5;

/** Gives the whole messages there are with each chunk; keeps the rest. Throws SourceError where one is malformed. */
export function openFrames(): (chunk: Buffer) => Buffer {
  let held: Buffer[] = [];
  let size = 0;
  let needed = 0;
  return (chunk) => {
    held.push(chunk);
    size += chunk.length;
    if (size < needed) return EMPTY;
    const bytes = held.length === 1 ? chunk : Buffer.concat(held, size);
    let at = 0;
    needed = 0;
    while (bytes.length - at >= HEADER) {
      const length = bytes.readUInt32BE(at + 1);
      const end = at + 1 + length;
      if (length > MAX_MESSAGE) throw new SourceError('bad answer', NONSENSE);
      if (end > bytes.length) {
        needed = end - at;
        break;
      }
      if (end < at + HEADER || !isWhole(bytes[at] as number, bytes, at + HEADER, end)) {
        throw new SourceError('bad answer', NONSENSE);
      }
      at = end;
    }
    size = bytes.length - at;
    held = size === 0 ? [] : [bytes.subarray(at)];
    return bytes.subarray(0, at);
  };
}

/** Whether all strings of a message end in it. What reads numbers only is checked by pg. */
function isWhole(letter: number, bytes: Buffer, start: number, end: number): boolean {
  switch (letter) {
    case 0x43: // CommandComplete
      return afterString(bytes, start, end) > 0;
    case 0x53: // ParameterStatus
      return afterString(bytes, afterString(bytes, start, end), end) > 0;
    case 0x41: // NotificationResponse
      return afterString(bytes, afterString(bytes, start + 4, end), end) > 0;
    case 0x45: // ErrorResponse
    case 0x4e: // NoticeResponse
      return endsWithEmpty(bytes, start, end);
    case 0x52: // AuthenticationSASL is the one with strings
      return end - start < 4 || bytes.readInt32BE(start) !== 10 || endsWithEmpty(bytes, start + 4, end);
    case 0x54: // RowDescription
      return hasColumns(bytes, start, end);
    default:
      return true;
  }
}

/** Behind the string at `at`; 0: it does not end before `end`. */
function afterString(bytes: Buffer, at: number, end: number): number {
  if (at === 0) return 0;
  const nul = bytes.indexOf(0, at);
  return nul < 0 || nul >= end ? 0 : nul + 1;
}

/** Of a list of strings, an empty one is the last. */
function endsWithEmpty(bytes: Buffer, start: number, end: number): boolean {
  return end > start && bytes[end - 1] === 0 && (end - start === 1 || bytes[end - 2] === 0);
}

function hasColumns(bytes: Buffer, start: number, end: number): boolean {
  if (end - start < 2) return false;
  let at = start + 2;
  for (let left = bytes.readUInt16BE(start); left > 0; left--) {
    const next = afterString(bytes, at, end);
    // Table, column, type, its size, its modifier, and the format.
    if (next === 0 || next + 18 > end) return false;
    at = next + 18;
  }
  return at === end;
}
