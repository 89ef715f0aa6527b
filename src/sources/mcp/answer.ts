/** What a tool's answer says, as a value. */
import { type Json, type JsonObject, jsonText, parseJson } from '../../mcp/exact-json.ts';
import type { ResponseEnvelope } from '../../mcp/response.ts';
import { SourceError } from '../source.ts';

export interface ToolAnswer {
  readonly answer: Json;
  /** Of its JSON text. */
  readonly bytes: number;
}

/** JSON-RPC's code where arguments do not fit. */
const INVALID_PARAMS = -32602;

/** What a tool says of why it failed, as far as a warning has room for it. In characters. */
const MAX_TOLD = 300;

/** `structuredContent`, else the first text that is JSON, else `{ text }`; nothing at all is an empty list. Throws SourceError. */
export function answerOf(tool: string, { bytes, kind, outcome }: ResponseEnvelope): ToolAnswer {
  if (outcome === undefined) throw new SourceError('bad answer', `the tool ${tool} did not answer`);
  const value = read(tool, bytes.toString('utf8', outcome.start, outcome.end));
  if (kind === 'error')
    throw new SourceError(
      value.code === INVALID_PARAMS ? 'bad value' : 'refused',
      `the tool ${tool} was refused: ${told(value.message)}`,
    );
  const texts = textsOf(value);
  // That of a tool is nearly always about its arguments, and whoever calls chose them.
  if (value.isError === true) throw new SourceError('bad value', `the tool ${tool} failed: ${told(texts.join(' '))}`);
  if (value.resultType !== undefined && value.resultType !== 'complete') {
    throw new SourceError('refused', `the tool ${tool} wants something first (${told(value.resultType)})`);
  }
  if (value.structuredContent !== undefined) return measured(value.structuredContent);
  for (const text of texts) {
    const parsed = asJson(text);
    if (parsed !== undefined) return { answer: parsed, bytes: Buffer.byteLength(text) };
  }
  return measured(texts.length === 0 ? [] : { text: texts[0] as string });
}

const measured = (answer: Json): ToolAnswer => ({ answer, bytes: Buffer.byteLength(jsonText(answer)) });

function read(tool: string, text: string): JsonObject {
  const value = asJson(text);
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as JsonObject;
  throw new SourceError('bad answer', `the tool ${tool} answered with something that is no result`);
}

function asJson(text: string): Json | undefined {
  try {
    return parseJson(text);
  } catch {
    return undefined;
  }
}

function textsOf({ content }: JsonObject): string[] {
  if (!Array.isArray(content)) return [];
  return (content as readonly Json[]).flatMap((block) => {
    const { type, text } = (block ?? {}) as { readonly type?: Json; readonly text?: Json };
    return type === 'text' && typeof text === 'string' ? [text] : [];
  });
}

function told(value: Json | undefined): string {
  const text = typeof value === 'string' && value !== '' ? value : 'it did not say why';
  return text.length > MAX_TOLD ? `${text.slice(0, MAX_TOLD)}…` : text;
}
