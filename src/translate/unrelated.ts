/** What an upstream says on a stream of its own, in answer to nothing: a session's GET stream (legacy). */
import { JsonError } from '../mcp/json.ts';
import { parseResponse } from '../mcp/response.ts';
import { splice } from '../mcp/splice.ts';
import { type Asked, notificationEdits, question } from './ask.ts';

export type Unrelated =
  | { readonly kind: 'pass'; readonly bytes: Buffer; readonly method: string }
  /** The upstream is to be answered at once. */
  | { readonly kind: 'reply'; readonly message: string }
  | { readonly kind: 'drop'; readonly reason: string };

/** `isResumed`: the stream goes on where the answer to a request broke off, so a response may come. */
export function unrelatedMessage(bytes: Buffer, asked: Asked, isResumed = false): Unrelated {
  try {
    const message = parseResponse(bytes);
    if (message === undefined) return { kind: 'drop', reason: 'not a JSON-RPC message' };
    if (message.kind !== 'message') {
      return isResumed
        ? { kind: 'pass', bytes, method: '' }
        : { kind: 'drop', reason: 'a response on a stream that carries none' };
    }
    if (message.id === undefined) {
      const edits = notificationEdits(message, asked.names, asked.sessionId);
      return { kind: 'pass', bytes: splice(bytes, edits), method: message.method ?? '' };
    }
    const put = question(message, asked);
    return 'forClient' in put
      ? { kind: 'pass', bytes: put.forClient, method: message.method ?? '' }
      : { kind: 'reply', message: put.forUpstream };
  } catch (error) {
    if (error instanceof JsonError) return { kind: 'drop', reason: error.message };
    throw error;
  }
}
