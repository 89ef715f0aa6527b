/** What rules see as `response`: the part of a tool result that is JSON, and where it stands in the message. */
import { isObject, type Json, parseJson } from '../mcp/exact-json.ts';
import { JsonError, type Span, skipSpace, stringAt, walkObject } from '../mcp/json.ts';
import { pass, visitItems, visitMembers } from '../mcp/walk.ts';
import { innerText } from './escaped-text.ts';

/** Larger responses are not enriched. */
const MAX_BYTES = 4 << 20;
/** Deepest response: with what is around it and what is added, the message stays within 256 levels. */
export const MAX_LEVELS = 240;

/** Members of a tool result that matter here. */
export interface ResultParts {
  readonly structured: Span | undefined;
  readonly content: Span | undefined;
}

export interface FoundResponse {
  readonly value: Json;
  readonly parts: ResultParts;
  /** Undefined: it is the structured content. Else the text block that it is the text of. */
  readonly text: JsonText | undefined;
}

/** A text block's text that is JSON. */
export interface JsonText {
  /** The string literal in the message, quotes included. */
  readonly literal: Span;
  /** What the literal says. */
  readonly text: string;
}

/**
 * `structuredContent`, whatever JSON it is, else the first text block whose text is a JSON object or array. A string says
 * why there is none, for people. Never throws.
 */
export function findResponse(bytes: Buffer, result: Span): FoundResponse | string {
  const parts = resultParts(bytes, result);
  if (parts === undefined) return 'the result is no object that can be read';
  const { structured } = parts;
  // Some servers write null where they have nothing to say.
  if (structured !== undefined && bytes[structured.start] !== NULL) {
    if (structured.end - structured.start > MAX_BYTES)
      return `the structured content is larger than ${MAX_BYTES} bytes`;
    const value = parsed(bytes.toString('utf8', structured.start, structured.end));
    if (value === undefined) return `the structured content is nested deeper than ${MAX_LEVELS} levels`;
    return { value, parts, text: undefined };
  }
  for (const literal of jsonLiterals(bytes, parts)) {
    const text = innerText(bytes, literal);
    const value = parsed(text);
    // Scalars in a text are prose.
    if (value !== undefined && isContainer(value)) return { value, parts, text: { literal, text } };
  }
  return 'the result holds no structured content and no text that is JSON';
}

/** First byte of `null`. */
const NULL = 0x6e;

/** Undefined: no object, or one in which a key comes twice, so that nobody can say which one counts. */
export function resultParts(bytes: Buffer, result: Span): ResultParts | undefined {
  if (bytes[result.start] !== 0x7b) return undefined;
  let structured: Span | undefined;
  let content: Span | undefined;
  try {
    walkObject(bytes, result.start, 1, (key, start, end) => {
      if (key === 'structuredContent') structured = { start, end };
      else if (key === 'content') content = { start, end };
    });
  } catch (error) {
    if (error instanceof JsonError) return undefined;
    throw error;
  }
  return { structured, content };
}

/** Literals of `content` whose text begins as JSON objects and arrays do. */
export function jsonLiterals(bytes: Buffer, { content }: ResultParts): Span[] {
  const literals: Span[] = [];
  if (content === undefined || bytes[content.start] !== 0x5b) return literals;
  visitItems(bytes, content.start, (_, start) => {
    if (bytes[start] !== 0x7b) return pass(bytes, start);
    let literal: Span | undefined;
    let isText = false;
    const end = visitMembers(bytes, start, (key, from) => {
      const to = pass(bytes, from);
      if (key === 'type') isText = bytes[from] === 0x22 && stringAt(bytes, from, to) === 'text';
      // Of two texts nobody can say which one is read.
      else if (key === 'text') literal = literal === undefined ? { start: from, end: to } : NO_LITERAL;
      return to;
    });
    if (isText && literal !== undefined && mayBeJson(bytes, literal)) literals.push(literal);
    return end;
  });
  return literals;
}

const NO_LITERAL: Span = { start: 0, end: 0 };

/** Tells prose from JSON without decoding it. */
function mayBeJson(bytes: Buffer, { start, end }: Span): boolean {
  if (bytes[start] !== 0x22 || end - start > MAX_BYTES) return false;
  const first = bytes[skipSpace(bytes, start + 1)];
  // A backslash may stand for a line break before the JSON.
  return first === 0x7b || first === 0x5b || first === 0x5c;
}

/** Undefined: not JSON, or too deep. */
export function parsed(text: string): Json | undefined {
  try {
    return parseJson(text, MAX_LEVELS);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

const isContainer = (value: Json): boolean => Array.isArray(value) || isObject(value);
