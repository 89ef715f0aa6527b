/** Finds values by their path in JSON bytes, walking only where a path leads. */
import { skipSpace, skipValue, walkObject } from '../mcp/json.ts';

/** Steps from a value to the ones below it; `*` is every item of an array or every member of an object. */
export type Path = readonly string[];

/** Paths that begin alike, as one tree. */
export interface Paths {
  readonly isEnd: boolean;
  readonly next: ReadonlyMap<string, Paths>;
}

export function compilePaths(paths: readonly Path[]): Paths {
  const next = new Map<string, Path[]>();
  for (const [first, ...rest] of paths) if (first !== undefined) next.set(first, [...(next.get(first) ?? []), rest]);
  return {
    isEnd: paths.some((path) => path.length === 0),
    next: new Map([...next].map(([step, rests]) => [step, compilePaths(rests)])),
  };
}

/** Calls `visit` with the range of each value that a path leads to. Throws JsonError for a key that comes twice on the way. */
export function visitPaths(
  bytes: Buffer,
  start: number,
  depth: number,
  paths: Paths,
  visit: (start: number, end: number) => void,
): void {
  const any = paths.next.get('*');
  if (bytes[start] === 0x7b) {
    walkObject(bytes, start, depth, (key, from, to) => {
      for (const below of [paths.next.get(key), any]) {
        if (below === undefined) continue;
        if (below.isEnd) visit(from, to);
        if (below.next.size > 0) visitPaths(bytes, from, depth + 1, below, visit);
      }
    });
  } else if (bytes[start] === 0x5b && any !== undefined) {
    let position = skipSpace(bytes, start + 1);
    while (bytes[position] !== 0x5d) {
      const end = skipValue(bytes, position, depth + 1);
      if (any.isEnd) visit(position, end);
      if (any.next.size > 0) visitPaths(bytes, position, depth + 1, any, visit);
      position = skipSpace(bytes, end);
      if (bytes[position] === 0x2c) position = skipSpace(bytes, position + 1);
    }
  }
}
