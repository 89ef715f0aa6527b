/** What rules say to whoever reads the text of a result. */

import type { RuleConfig } from '../config/document.ts';
import { type Json, jsonText } from '../mcp/exact-json.ts';

/** Something to be told beside the response. */
export type Note =
  | {
      readonly kind: 'added';
      readonly rule: string;
      /** Where the rule puts things, as it is written in the rule. */
      readonly path: string;
      readonly text: RuleConfig['merge']['text'];
      /** All that it added. */
      readonly value: Json;
    }
  | { readonly kind: 'warning'; readonly text: string };

/** Bytes of one text. */
const MAX_TEXT = 64 * 1024;

/** A text block (JSON text) of those members alone that every revision of MCP knows. */
export function textBlock(note: Note): string {
  if (note.kind === 'warning') return block(cut(note.text, '… (cut)'));
  const { rule, path, value } = note;
  const rest = `\n… cut here; all of it is in the structured content, at ${path}`;
  return block(cut(`Added by the gateway's rule "${rule}" as "${path}":\n${jsonText(value)}`, rest));
}

const block = (text: string): string => `{"type":"text","text":${JSON.stringify(text)}}`;

/** The text within the bound, its end replaced where that is needed. */
function cut(text: string, ending: string): string {
  if (text.length * 3 <= MAX_TEXT) return text;
  const bytes = Buffer.from(text);
  if (bytes.length <= MAX_TEXT) return text;
  let end = MAX_TEXT - Buffer.byteLength(ending);
  // Not in the middle of a character.
  while (((bytes[end] as number) & 0xc0) === 0x80) end--;
  return bytes.toString('utf8', 0, end) + ending;
}
