/** Edits of one object's members in place: what is not edited keeps its bytes. */
import { type Span, skipSpace, walkObject } from './json.ts';
import type { Edit } from './splice.ts';

/** Adds members right after the opening brace. `members`: JSON text such as `"a":1,"b":2`. */
export function insertMembers(bytes: Buffer, object: Span, members: string): Edit {
  const isEmpty = bytes[skipSpace(bytes, object.start + 1)] === 0x7d;
  return { start: object.start + 1, end: object.start + 1, with: isEmpty ? members : `${members},` };
}

/** Takes members away, each with one comma. `depth`: of the object itself. */
export function removeMembers(
  bytes: Buffer,
  object: Span,
  depth: number,
  isUnwanted: (key: string) => boolean,
): Edit[] {
  const edits: Edit[] = [];
  /** Where the previous member that stays ends; from there to a removed one's end is a comma and the member. */
  let previousEnd = -1;
  let from = skipSpace(bytes, object.start + 1);
  walkObject(bytes, object.start, depth, (key, _start, end) => {
    const after = skipSpace(bytes, end);
    const isLast = bytes[after] !== 0x2c;
    if (isUnwanted(key)) {
      // The first members take the comma behind them with them, later ones the comma before.
      if (previousEnd < 0) edits.push({ start: from, end: isLast ? end : skipSpace(bytes, after + 1), with: '' });
      else edits.push({ start: previousEnd, end, with: '' });
    }
    if (!isUnwanted(key) || previousEnd >= 0) previousEnd = end;
    from = isLast ? after : skipSpace(bytes, after + 1);
  });
  return edits;
}

/** Takes members away and adds others in front. */
export function replaceMembers(
  bytes: Buffer,
  object: Span,
  depth: number,
  isUnwanted: (key: string) => boolean,
  members: readonly string[],
): Edit[] {
  let isEmptied = true;
  const edits = removeMembers(bytes, object, depth, (key) => {
    const goes = isUnwanted(key);
    isEmptied &&= goes;
    return goes;
  });
  if (members.length === 0) return edits;
  const text = members.join(',');
  // First, for a removal may begin at the same place.
  return [{ start: object.start + 1, end: object.start + 1, with: isEmptied ? text : `${text},` }, ...edits];
}
