/** Walks through JSON that has been scanned before, where a key that comes twice is no reason to stop. */
import { skipSpace, skipString, skipValue, stringAt } from './json.ts';

/** Goes on behind the value at `start`: returns its end. Lets a visitor that walks deeper say where the value ended. */
type Visit<K> = (key: K, start: number) => number;

/** Members of the object at `at`, in order; of a key that comes twice JSON.parse keeps the last. Returns the object's end. */
export function visitMembers(bytes: Buffer, at: number, visit: Visit<string>): number {
  let position = skipSpace(bytes, at + 1);
  while (bytes[position] !== 0x7d) {
    const keyEnd = skipString(bytes, position);
    const key = stringAt(bytes, position, keyEnd);
    position = nextMember(bytes, visit(key, skipSpace(bytes, skipSpace(bytes, keyEnd) + 1)));
  }
  return position + 1;
}

/** Items of the array at `at`, in order. Returns the array's end. */
export function visitItems(bytes: Buffer, at: number, visit: Visit<number>): number {
  let position = skipSpace(bytes, at + 1);
  for (let i = 0; bytes[position] !== 0x5d; i++) position = nextMember(bytes, visit(i, position));
  return position + 1;
}

function nextMember(bytes: Buffer, valueEnd: number): number {
  const position = skipSpace(bytes, valueEnd);
  return bytes[position] === 0x2c ? skipSpace(bytes, position + 1) : position;
}

/** Where a value that is not looked into ends. */
export const pass = (bytes: Buffer, start: number): number => skipValue(bytes, start, 0);

/** Where something can be put last into the object or array that ends at `end`, and whether that is empty. */
export function lastPlace(bytes: Buffer, end: number): { readonly at: number; readonly isEmpty: boolean } {
  let last = end - 2;
  while (isSpace(bytes[last])) last--;
  return { at: last + 1, isEmpty: bytes[last] === 0x7b || bytes[last] === 0x5b };
}

const isSpace = (byte: number | undefined): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
