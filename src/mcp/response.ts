/** What the gateway needs to know of an upstream's answer, as places in its bytes. */
import { assertUtf8, JsonError, type Span, skipSpace, stringAt, walkObject } from './json.ts';

export interface ResponseEnvelope {
  readonly bytes: Buffer;
  /** 'message' = a request or a notification of the upstream's (only on a stream). */
  readonly kind: 'result' | 'error' | 'message';
  readonly id: Span | undefined;
  readonly method: string | undefined;
  /** `params` of a message. */
  readonly params: Span | undefined;
  /** The `result` or `error` value. */
  readonly outcome: Span | undefined;
  /** `result.isError` of a tool result. */
  readonly isError: boolean;
}

/** Reads an upstream's message; undefined when it is not one JSON-RPC object (never trust, never crash). */
export function parseResponse(bytes: Buffer): ResponseEnvelope | undefined {
  try {
    assertUtf8(bytes);
    const start = skipSpace(bytes, 0);
    if (bytes[start] !== 0x7b) return undefined;
    let id: Span | undefined;
    let method: string | undefined;
    let outcome: Span | undefined;
    let params: Span | undefined;
    let kind: ResponseEnvelope['kind'] = 'message' as ResponseEnvelope['kind'];
    let isError = false;
    let outcomes = 0;
    const end = walkObject(bytes, start, 0, (key, from, to) => {
      if (key === 'id') id = { start: from, end: to };
      else if (key === 'method') method = bytes[from] === 0x22 ? stringAt(bytes, from, to) : undefined;
      else if (key === 'params') params = { start: from, end: to };
      else if (key === 'result' || key === 'error') {
        kind = key;
        outcomes++;
        outcome = { start: from, end: to };
        if (key === 'result' && bytes[from] === 0x7b) isError = hasTrueMember(bytes, from, to, '"isError"');
      }
    });
    if (skipSpace(bytes, end) < bytes.length) return undefined;
    if (method === undefined && outcome === undefined) return undefined;
    // Two readers would take two different answers from it.
    if (outcomes > 1) return undefined;
    return { bytes, kind, id, method, params, outcome, isError: kind === 'error' || isError };
  } catch (error) {
    if (error instanceof JsonError) return undefined;
    throw error;
  }
}

/** Whether the object has that key with the value true at its top level; text that merely contains the words is told apart. */
function hasTrueMember(bytes: Buffer, start: number, end: number, quotedKey: string): boolean {
  // Most results have no such key at all: one native search settles those.
  const at = bytes.indexOf(quotedKey, start, 'latin1');
  if (at < 0 || at >= end) return false;
  const key = quotedKey.slice(1, -1);
  let value = false;
  walkObject(bytes, start, 1, (name, from) => {
    if (name === key) value = bytes[from] === 0x74;
  });
  return value;
}
