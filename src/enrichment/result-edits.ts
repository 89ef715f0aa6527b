/**
 * A finished merge as edits of the message that the upstream sent: its own bytes stay, but for values that a rule was told
 * to replace. The structured content carries every addition; texts as each rule says.
 */
import { isEqual, isObject } from '../mcp/exact-json.ts';
import type { Span } from '../mcp/json.ts';
import { type Edit, splice } from '../mcp/splice.ts';
import { lastPlace } from '../mcp/walk.ts';
import { changeEdits } from './change-edits.ts';
import { escapedEdits, innerText } from './escaped-text.ts';
import type { Merge } from './merge.ts';
import { type Note, textBlock } from './readable.ts';
import { type JsonText, jsonLiterals, parsed, type ResultParts, resultParts } from './response.ts';

/**
 * For one splice, in any order. They may be spliced together with edits of other places, but not with the removal of all
 * members that the result has. A result that is not to be understood gets none.
 */
export function resultEdits(bytes: Buffer, result: Span, merge: Merge | undefined, notes: readonly Note[]): Edit[] {
  const parts = merge?.found.parts ?? resultParts(bytes, result);
  if (parts === undefined) return [];
  const edits: Edit[] = [];
  /** New members of the result. */
  const members: string[] = [];
  let isSpliced = false;
  if (merge?.change !== undefined) {
    structuredEdits(bytes, merge, edits, members);
    if (notes.some((note) => note.kind === 'added' && note.text === 'splice'))
      isSpliced = textEdits(bytes, merge, edits);
  }
  contentEdits(bytes, parts, notes.filter((note) => isReadable(note, isSpliced)).map(textBlock), edits, members);
  if (members.length > 0) edits.push(appended(bytes, result, members));
  return edits;
}

/** What a rule wanted in a text that says the same is told in a text of its own where there is no such text. */
const isReadable = (note: Note, isSpliced: boolean): boolean =>
  note.kind === 'warning' || note.text === 'append' || (note.text === 'splice' && !isSpliced);

/** Into the structured content, or structured content made of the text's own JSON. */
function structuredEdits(bytes: Buffer, merge: Merge, edits: Edit[], members: string[]): void {
  const { change, response, found } = merge;
  const { structured } = found.parts;
  if (found.text === undefined) {
    const { start, end } = structured as Span;
    edits.push(...changeEdits(bytes, start, change, response, end));
    return;
  }
  const json = Buffer.from(found.text.text.trim());
  const made = splice(json, changeEdits(json, 0, change, response, json.length)).toString();
  // Structured content is an object in all revisions but the latest.
  const value = isObject(response) ? made : `{"response":${made}}`;
  if (structured === undefined) members.push(`"structuredContent":${value}`);
  else edits.push({ ...structured, with: value });
}

/** Into the text that says the same; false: there is none. */
function textEdits(bytes: Buffer, merge: Merge, edits: Edit[]): boolean {
  const text = merge.found.text ?? equalText(bytes, merge);
  if (text === undefined) return false;
  const { change, response } = merge.forText();
  const json = Buffer.from(text.text);
  const space = text.text.length - text.text.trimStart().length;
  edits.push(...escapedEdits(bytes, text.literal, changeEdits(json, space, change, response)));
  return true;
}

function equalText(bytes: Buffer, { found }: Merge): JsonText | undefined {
  for (const literal of jsonLiterals(bytes, found.parts)) {
    const text = innerText(bytes, literal);
    const value = parsed(text);
    if (value !== undefined && isEqual(value, found.value)) return { literal, text };
  }
  return undefined;
}

/** Blocks behind those that are there. What is no list is left as it is: nobody could read it with them either. */
function contentEdits(
  bytes: Buffer,
  { content }: ResultParts,
  blocks: readonly string[],
  edits: Edit[],
  members: string[],
): void {
  if (blocks.length === 0) return;
  if (content === undefined) members.push(`"content":[${blocks.join(',')}]`);
  else if (bytes[content.start] === 0x5b) edits.push(appended(bytes, content, blocks));
}

function appended(bytes: Buffer, container: Span, texts: readonly string[]): Edit {
  const { at, isEmpty } = lastPlace(bytes, container.end);
  return { start: at, end: at, with: `${isEmpty ? '' : ','}${texts.join(',')}` };
}
