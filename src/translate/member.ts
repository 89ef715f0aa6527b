import { type Span, walkObject } from '../mcp/json.ts';

/** The range of a member's value; undefined when the object has none, or is none. */
export function member(bytes: Buffer, object: Span, name: string): Span | undefined {
  let found: Span | undefined;
  if (bytes[object.start] !== 0x7b) return undefined;
  walkObject(bytes, object.start, 1, (key, start, end) => {
    if (key === name) found = { start, end };
  });
  return found;
}
