import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { EventSplitter, eventData } from '../mcp/events.ts';
import { LATEST_LEGACY } from '../mcp/revision.ts';
import { Refusal } from './refusal.ts';

/** Calls through the front door: everything an agent's call passes, this one passes too. */
export interface FrontDoor {
  /** Base URL of the MCP listener as this process reaches it. */
  readonly url: string;
  readonly bearer: string;
  readonly namespace: string;
}

const TIMEOUT_MS = 60_000;
const VERSION = LATEST_LEGACY;
const INITIALIZE = JSON.stringify({
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: VERSION, capabilities: {}, clientInfo: { name: 'sallyport-admin', version: '1' } },
});

/**
 * One `tools/call` in a session of its own; the JSON-RPC response as it came, byte for byte. `args` is JSON text, sent
 * as it is.
 */
export async function callTool(door: FrontDoor, name: string, args: string): Promise<string> {
  const opened = await send(door, INITIALIZE);
  if (opened.status !== 200) throw unexpected('initialize', opened);
  const session = { ...opened.sessionId, 'mcp-protocol-version': VERSION };
  await send(door, '{"jsonrpc":"2.0","method":"notifications/initialized"}', session);
  try {
    const params = `{"name":${JSON.stringify(name)},"arguments":${args}}`;
    const answer = await send(door, `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":${params}}`, session);
    if (answer.text === '') throw unexpected('tools/call', answer);
    return answer.text;
  } finally {
    await send(door, undefined, session).catch(() => {});
  }
}

interface Answer {
  readonly status: number;
  readonly sessionId: Record<string, string>;
  /** The JSON-RPC message; of an event stream, the one that is a response. */
  readonly text: string;
}

function unexpected(method: string, { status, text }: Answer): Refusal {
  return new Refusal(
    502,
    'The gateway did not answer as it should',
    `${method} was answered with HTTP ${status}: ${text.slice(0, 300)}`,
  );
}

/** POSTs a message; without one, ends the session. */
function send(door: FrontDoor, message: string | undefined, headers: Record<string, string> = {}): Promise<Answer> {
  const url = new URL(door.namespace === 'default' ? '/mcp' : `/${door.namespace}/mcp`, door.url);
  const options = {
    method: message === undefined ? 'DELETE' : 'POST',
    headers: {
      ...headers,
      authorization: `Bearer ${door.bearer}`,
      accept: 'application/json, text/event-stream',
      ...(message && { 'content-type': 'application/json' }),
    },
    signal: AbortSignal.timeout(TIMEOUT_MS),
    // Our own listener on our own machine, reached by address: its certificate names the public host.
    ...(url.protocol === 'https:' && { rejectUnauthorized: false }),
  };
  return new Promise((resolve, reject) => {
    const away = (error: Error) =>
      reject(
        new Refusal(
          502,
          'The gateway does not answer',
          `The MCP listener at ${url.origin} cannot be reached: ${error.message}. See the doctor.`,
        ),
      );
    const outgoing = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, options, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', away);
      response.on('end', () => {
        const bytes = Buffer.concat(chunks);
        const isStream = response.headers['content-type']?.startsWith('text/event-stream') === true;
        const id = response.headers['mcp-session-id'];
        resolve({
          status: response.statusCode ?? 0,
          sessionId: typeof id === 'string' ? { 'mcp-session-id': id } : {},
          text: isStream ? lastResponse(bytes) : bytes.toString(),
        });
      });
    });
    outgoing.on('error', away);
    outgoing.end(message);
  });
}

/** Notifications may come before the response; the response is the last message of its stream. */
function lastResponse(bytes: Buffer): string {
  const messages = new EventSplitter(Number.MAX_SAFE_INTEGER).push(bytes).map(eventData);
  return (
    messages
      .filter((data) => data !== undefined && data.length > 0)
      .at(-1)
      ?.toString() ?? ''
  );
}
