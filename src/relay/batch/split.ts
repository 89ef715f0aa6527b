/** A JSON-RPC batch (JSON-RPC 2.0 §6, MCP 2025-03-26) as its single messages, by their places in its bytes. */
import { EnvelopeError, idText, parseEnvelope } from '../../mcp/envelope.ts';
import { assertUtf8, JsonError, skipSpace, skipValue } from '../../mcp/json.ts';
import { errorFor } from './answers.ts';

/** More would be work for many, bought with one request. */
export const MAX_MESSAGES = 64;

/** The batch as a whole is refused; `message` tells its sender why. */
export class BatchRefused extends Error {
  readonly code: -32700 | -32600;
  constructor(code: -32700 | -32600, message: string) {
    super(message);
    this.code = code;
  }
}

/** `id`: of a request. An element that is no message is answered at once, with an error of its own. */
export type Element =
  | { readonly kind: 'message'; readonly bytes: Buffer; readonly id: string | undefined }
  | { readonly kind: 'invalid'; readonly answer: Buffer };

export function splitBatch(bytes: Buffer): Element[] {
  try {
    assertUtf8(bytes);
    const elements = [...itemsOf(bytes)].map(elementOf);
    if (elements.length === 0) throw new BatchRefused(-32600, 'A batch holds at least one message.');
    return elements;
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new BatchRefused(-32700, `The batch is not valid JSON: ${error.message} (byte ${error.offset}).`);
  }
}

function* itemsOf(bytes: Buffer): Generator<Buffer> {
  let position = skipSpace(bytes, 0);
  if (bytes[position] !== 0x5b) throw new BatchRefused(-32600, 'A batch is an array of JSON-RPC messages.');
  // All of it is JSON before any of it is acted upon.
  const rest = skipSpace(bytes, skipValue(bytes, position, 0));
  if (rest < bytes.length) throw new JsonError('text after the end of the batch', rest);
  position = skipSpace(bytes, position + 1);
  for (let count = 1; bytes[position] !== 0x5d; count++) {
    if (count > MAX_MESSAGES)
      throw new BatchRefused(-32600, `A batch holds at most ${MAX_MESSAGES} messages; send several.`);
    const end = skipValue(bytes, position, 1);
    yield bytes.subarray(position, end);
    position = skipSpace(bytes, end);
    if (bytes[position] === 0x2c) position = skipSpace(bytes, position + 1);
  }
}

function elementOf(bytes: Buffer): Element {
  try {
    const envelope = parseEnvelope(bytes);
    if (envelope.method === 'initialize')
      throw new BatchRefused(-32600, 'initialize must not be part of a batch; send it alone.');
    return { kind: 'message', bytes, id: envelope.kind === 'request' ? idText(envelope) : undefined };
  } catch (error) {
    if (!(error instanceof EnvelopeError)) throw error;
    const why = error.code === 'batch' ? 'a batch holds no batches' : error.message;
    return {
      kind: 'invalid',
      answer: errorFor(idText({ bytes, id: error.id }), -32600, `Not a valid JSON-RPC 2.0 message: ${why}.`),
    };
  }
}
