/**
 * JSON inside a JSON string: a text block whose text is JSON again. It is edited where it stands; the escapes that its
 * writer chose stay.
 */
import { type Span, stringAt } from '../mcp/json.ts';
import type { Edit } from '../mcp/splice.ts';

/**
 * The text of a string literal (quotes included in `literal`). What is no Unicode, half a surrogate pair, stays an escape:
 * within JSON that is the same, and bytes can hold it.
 */
export function innerText(bytes: Buffer, { start, end }: Span): string {
  const text = stringAt(bytes, start, end);
  const source = bytes.subarray(start, end);
  if (!source.includes('\\ud') && !source.includes('\\uD')) return text;
  return text.replace(/\p{Surrogate}/gu, (half) => `\\u${half.charCodeAt(0).toString(16)}`);
}

/** Edits of the bytes of `innerText`, in ascending order, as edits of the bytes in which it is escaped. */
export function escapedEdits(bytes: Buffer, literal: Span, edits: readonly Edit[]): Edit[] {
  const places = new Places(bytes, literal);
  return edits.map((edit) => ({
    start: places.of(edit.start),
    end: places.of(edit.end),
    with: JSON.stringify(edit.with.toString()).slice(1, -1),
  }));
}

/**
 * Goes through text and source side by side, forwards only. Byte by byte: JSON within a string has an escape every few
 * bytes.
 */
class Places {
  private readonly bytes: Buffer;
  private source: number;
  private text = 0;

  constructor(bytes: Buffer, literal: Span) {
    this.bytes = bytes;
    this.source = literal.start + 1;
  }

  /** Where the text's byte at `offset` begins in the source. */
  of(offset: number): number {
    while (this.text < offset) {
      if (this.bytes[this.source] === 0x5c) this.passEscape();
      else {
        this.source++;
        this.text++;
      }
    }
    return this.source;
  }

  private passEscape(): void {
    const { bytes, source } = this;
    if (bytes[source + 1] !== 0x75) {
      this.source += 2;
      this.text++;
      return;
    }
    const code = this.hex(source);
    const isPair =
      isHigh(code) && bytes[source + 6] === 0x5c && bytes[source + 7] === 0x75 && isLow(this.hex(source + 6));
    this.source += isPair ? 12 : 6;
    // Half a pair stays an escape of six bytes.
    this.text += isPair ? 4 : isHigh(code) || isLow(code) ? 6 : code < 0x80 ? 1 : code < 0x800 ? 2 : 3;
  }

  private hex(at: number): number {
    return Number.parseInt(this.bytes.toString('latin1', at + 2, at + 6), 16);
  }
}

const isHigh = (code: number): boolean => code >= 0xd800 && code < 0xdc00;
const isLow = (code: number): boolean => code >= 0xdc00 && code < 0xe000;
