/** One JSON-RPC request to an upstream and its answer, whether that comes as JSON or on an event stream. */
import type { IncomingMessage } from 'node:http';
import { EventSplitter, eventData } from '../mcp/events.ts';
import { parseResponse, type ResponseEnvelope } from '../mcp/response.ts';
import type { Connection } from '../snapshot/snapshot.ts';
import { type Egress, EgressError } from './egress.ts';

export interface PostOptions {
  readonly sessionId?: string | undefined;
  readonly protocolVersion?: string | undefined;
  /** Overrides what is sent beside the protocol's own headers (a repeated call brings the client's). */
  readonly extraHeaders?: readonly (readonly [string, string])[];
  readonly path?: string;
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

export interface PostResult {
  readonly status: number;
  readonly sessionId: string | undefined;
  /** Undefined when the answer is not one JSON-RPC response (202, an error page). */
  readonly response: ResponseEnvelope | undefined;
  readonly localReply: string | undefined;
}

/** Sends one message; other messages on an event stream are skipped. Throws EgressError. */
export async function post(
  egress: Egress,
  connection: Connection,
  body: Buffer,
  options: PostOptions,
): Promise<PostResult> {
  const headers: Record<string, string> = {
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
  };
  if (options.sessionId !== undefined) headers['mcp-session-id'] = options.sessionId;
  if (options.protocolVersion !== undefined) headers['mcp-protocol-version'] = options.protocolVersion;
  for (const [name, value] of connection.injection.headers) headers[name] = value;
  for (const [name, value] of options.extraHeaders ?? []) headers[name] = value;
  const answer = await egress.send(connection, {
    method: 'POST',
    path: options.path ?? connection.path,
    headers,
    body,
    signal: options.signal,
  });
  const sessionId = answer.headers['mcp-session-id'];
  const result = {
    status: answer.status,
    sessionId: typeof sessionId === 'string' ? sessionId : undefined,
    localReply: answer.localReply,
  };
  const type = answer.headers['content-type'] ?? '';
  if (answer.status === 202 || answer.localReply !== undefined) {
    answer.body.resume();
    return { ...result, response: undefined };
  }
  const response = /^text\/event-stream/i.test(type)
    ? await firstResponse(answer.body, options.maxBytes)
    : parseResponse(await readAll(answer.body, options.maxBytes));
  return { ...result, response };
}

/** The whole body; more than `maxBytes` ends it with an EgressError. */
export async function readAll(body: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > maxBytes) throw new EgressError(`the answer is larger than ${maxBytes} bytes`);
      chunks.push(chunk);
    }
  } catch (error) {
    body.destroy();
    throw error instanceof EgressError ? error : new EgressError((error as Error).message, { cause: error });
  }
  return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
}

async function firstResponse(body: IncomingMessage, maxBytes: number): Promise<ResponseEnvelope | undefined> {
  const splitter = new EventSplitter(maxBytes);
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      for (const event of splitter.push(chunk)) {
        const data = eventData(event);
        const message = data === undefined ? undefined : parseResponse(data);
        if (message !== undefined && message.kind !== 'message') return message;
      }
    }
  } catch (error) {
    throw new EgressError((error as Error).message, { cause: error });
  } finally {
    body.destroy();
  }
  return undefined;
}
