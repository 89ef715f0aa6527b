/**
 * Whatever comes back for one message sent to the front door, as single JSON-RPC messages in the bytes they came in,
 * whether it is JSON or an event stream. A request always ends with its response: where none came, one that says so.
 */
import { idText } from '../../mcp/envelope.ts';
import { EventTooLarge } from '../../mcp/events.ts';
import { assertUtf8, JsonError, skipSpace, skipValue } from '../../mcp/json.ts';
import { parseResponse } from '../../mcp/response.ts';
import type { FrontResponse } from '../front.ts';
import { isEventStream, readEvents } from '../upstream/read-events.ts';
import { type Allowance, TooLarge, TooMuch } from './allowance.ts';

/** A request's id as its sender wrote it; `any`: a batch, whose responses are its own business; `none`: no request. */
export type Awaited = { readonly id: string } | 'any' | 'none';

/** Where an event stream has got to: a client may ask for the rest (MCP 2025-11-25, "Resumability and Redelivery"). */
export interface Mark {
  readonly lastEventId: string;
  /** Milliseconds, as the server asked. */
  readonly retryMs: number | undefined;
}

/** Asks for the rest of a stream that ended early; undefined: there is none to be had. */
export type Resume = (mark: Mark) => Promise<FrontResponse | undefined>;

/** `isResponse`: the one that was waited for. */
export interface Answered {
  readonly bytes: Buffer;
  readonly isResponse: boolean;
}

const response = (bytes: Buffer): Answered => ({ bytes, isResponse: true });
const aside = (bytes: Buffer): Answered => ({ bytes, isResponse: false });

/** As large as the direct path lets an event or an edited answer grow. */
export const MAX_MESSAGE_BYTES = 16 << 20;

export async function* answersTo(
  got: FrontResponse,
  awaited: Awaited,
  allowance: Allowance,
  resume?: Resume,
): AsyncGenerator<Answered, void> {
  if (isEventStream(got.headers)) yield* fromEvents(got, awaited, resume);
  else yield* fromJson(got, awaited, allowance);
}

async function* fromJson(
  { status, body }: FrontResponse,
  awaited: Awaited,
  allowance: Allowance,
): AsyncGenerator<Answered, void> {
  if (awaited === 'none') {
    body.resume();
    return;
  }
  let bytes: Buffer;
  try {
    bytes = await allowance.read(body, MAX_MESSAGE_BYTES);
  } catch (error) {
    body.destroy();
    if (awaited !== 'any') yield response(lostAnswer(awaited.id, error));
    return;
  }
  try {
    if (awaited === 'any') {
      if (isJson(bytes)) yield aside(bytes);
    } else yield response(responseFor(awaited.id, bytes, status));
  } finally {
    allowance.give(bytes.length);
  }
}

/** The response itself if it is one; what the front door refused before it knew the id, with the id. */
export function responseFor(id: string, bytes: Buffer, status: number): Buffer {
  const message = parseResponse(bytes);
  if (message !== undefined && message.kind !== 'message' && idText(message) === id) return bytes;
  if (message?.kind === 'error' && message.outcome !== undefined) {
    const { start, end } = message.outcome;
    return Buffer.concat([Buffer.from(`{"jsonrpc":"2.0","id":${id},"error":`), bytes.subarray(start, end), CLOSE]);
  }
  return errorFor(id, -32603, `The gateway answered HTTP ${status} without a response to this request. Try again.`);
}

const CLOSE = Buffer.from('}');

async function* fromEvents(first: FrontResponse, awaited: Awaited, resume?: Resume): AsyncGenerator<Answered, void> {
  let failure: unknown;
  let lastEventId: string | undefined;
  let retryMs: number | undefined;
  for (let got: FrontResponse | undefined = first; got !== undefined; ) {
    failure = undefined;
    try {
      for await (const event of readEvents(got.body, MAX_MESSAGE_BYTES)) {
        lastEventId = event.id ?? lastEventId;
        retryMs = event.retryMs ?? retryMs;
        const message = event.data === undefined ? undefined : parseResponse(event.data);
        if (event.data === undefined || message === undefined) continue;
        // A response that nobody waits for is none of this stream's; a second one comes after the end.
        if (message.kind === 'message' || awaited === 'any') yield aside(event.data);
        else if (awaited !== 'none' && idText(message) === awaited.id) {
          yield response(event.data);
          return;
        }
      }
    } catch (error) {
      failure = error;
      if (error instanceof EventTooLarge) break;
    }
    if (awaited === 'any' || awaited === 'none') return;
    got = lastEventId === undefined ? undefined : await resume?.({ lastEventId, retryMs });
  }
  if (typeof awaited === 'object') yield response(lostAnswer(awaited.id, failure));
}

function isJson(bytes: Buffer): boolean {
  try {
    assertUtf8(bytes);
    return skipSpace(bytes, skipValue(bytes, skipSpace(bytes, 0), 0)) === bytes.length;
  } catch (error) {
    if (error instanceof JsonError) return false;
    throw error;
  }
}

/** The response to a request whose answer never came whole. */
export function lostAnswer(id: string, error?: unknown): Buffer {
  if (error instanceof TooLarge || error instanceof TooMuch || error instanceof EventTooLarge)
    return errorFor(id, -32603, `The answer was not passed on: it is too large (${error.message}). Ask for less.`);
  return errorFor(id, -32603, 'The answer broke off before the response came. The call may have had its effect.');
}

export function errorFor(id: string, code: number, message: string): Buffer {
  return Buffer.from(`{"jsonrpc":"2.0","id":${id},"error":{"code":${code},"message":${JSON.stringify(message)}}}`);
}
