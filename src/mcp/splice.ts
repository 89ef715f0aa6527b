import type { Span } from './json.ts';

/** One replacement of a range of bytes. */
export interface Edit extends Span {
  readonly with: Buffer | string;
}

/** The bytes with every edit applied; edits do not overlap, in any order. All other bytes are the original's. */
export function splice(bytes: Buffer, edits: readonly Edit[]): Buffer {
  if (edits.length === 0) return bytes;
  const ordered = edits.length === 1 ? edits : [...edits].sort((a, b) => a.start - b.start);
  const parts: Buffer[] = [];
  let from = 0;
  for (const edit of ordered) {
    if (edit.start < from || edit.end < edit.start || edit.end > bytes.length)
      throw new RangeError('edits overlap or lie outside');
    parts.push(bytes.subarray(from, edit.start), typeof edit.with === 'string' ? Buffer.from(edit.with) : edit.with);
    from = edit.end;
  }
  parts.push(bytes.subarray(from));
  return Buffer.concat(parts);
}
