/** A recorded change as edits of the bytes that the value was parsed from. */
import { type Json, type JsonObject, jsonText } from '../mcp/exact-json.ts';
import type { Edit } from '../mcp/splice.ts';
import { lastPlace, pass, visitItems, visitMembers } from '../mcp/walk.ts';
import type { Change, Inside, Wrapped } from './change.ts';

/** In ascending order. `value`: what stands there now. `end`: of the old value, where that is known. */
export function changeEdits(
  bytes: Buffer,
  start: number,
  change: Change | undefined,
  value: Json,
  end?: number,
): Edit[] {
  const edits: Edit[] = [];
  if (change !== undefined) walk(bytes, start, change, value, edits, end);
  return edits;
}

/** One pass over what holds changes; the rest is skipped. Returns the old value's end. */
function walk(bytes: Buffer, start: number, change: Change, value: Json, edits: Edit[], known?: number): number {
  switch (change.kind) {
    case 'fresh': {
      const end = known ?? pass(bytes, start);
      edits.push({ start, end, with: jsonText(value) });
      return end;
    }
    case 'wrapped':
      return wrap(bytes, start, change, value, edits, known);
    case 'inside':
      return amend(bytes, start, change, value as JsonObject | readonly Json[], edits, known);
  }
}

function wrap(
  bytes: Buffer,
  start: number,
  { key, inner }: Wrapped,
  value: Json,
  edits: Edit[],
  known?: number,
): number {
  const isList = key === 0;
  edits.push(insertion(start, isList ? '[' : '{"response":'));
  const old = (value as Record<string | 0, Json>)[key] as Json;
  const end = inner === undefined ? (known ?? pass(bytes, start)) : walk(bytes, start, inner, old, edits, known);
  const more = isList
    ? (value as readonly Json[]).slice(1).map(jsonText)
    : membersText(
        value as JsonObject,
        Object.keys(value as JsonObject).filter((other) => other !== key),
      );
  edits.push(insertion(end, `${more.map((text) => `,${text}`).join('')}${isList ? ']' : '}'}`));
  return end;
}

/** Changes within, then what is new, behind everything that was there. */
function amend(
  bytes: Buffer,
  start: number,
  { added, children, hadItems }: Inside,
  value: JsonObject | readonly Json[],
  edits: Edit[],
  known?: number,
): number {
  const end = children.size === 0 ? (known ?? pass(bytes, start)) : changesWithin(bytes, start, children, value, edits);
  const more = Array.isArray(value)
    ? hadItems === undefined
      ? []
      : (value as readonly Json[]).slice(hadItems).map(jsonText)
    : membersText(value as JsonObject, [...added]);
  if (more.length > 0) {
    const { at, isEmpty } = lastPlace(bytes, end);
    edits.push(insertion(at, `${isEmpty ? '' : ','}${more.join(',')}`));
  }
  return end;
}

function changesWithin(
  bytes: Buffer,
  start: number,
  children: ReadonlyMap<string | number, Change>,
  value: JsonObject | readonly Json[],
  edits: Edit[],
): number {
  if (Array.isArray(value)) {
    return visitItems(bytes, start, (i, at) => {
      const change = children.get(i);
      return change === undefined ? pass(bytes, at) : walk(bytes, at, change, value[i] as Json, edits);
    });
  }
  /** Edits made for each key: of one that comes twice the last is what was parsed, and the others stay as they are. */
  const made = new Map<string, { readonly from: number; readonly to: number }>();
  return visitMembers(bytes, start, (key, at) => {
    const change = children.get(key);
    if (change === undefined) return pass(bytes, at);
    const { from, to } = made.get(key) ?? NONE;
    for (let i = from; i < to; i++) edits[i] = insertion((edits[i] as Edit).start, '');
    const first = edits.length;
    const end = walk(bytes, at, change, (value as JsonObject)[key] as Json, edits);
    made.set(key, { from: first, to: edits.length });
    return end;
  });
}

const NONE = { from: 0, to: 0 };

const membersText = (object: JsonObject, keys: readonly string[]): string[] =>
  keys.map((key) => `${JSON.stringify(key)}:${jsonText(object[key] as Json)}`);

const insertion = (at: number, text: string): Edit => ({ start: at, end: at, with: text });
