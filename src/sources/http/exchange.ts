/** One request and its whole answer, over kept connections, to one origin. */
import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';
import { SourceError } from '../source.ts';
import type { HttpAnswer } from './answer.ts';

export interface Exchange {
  readonly method: 'GET' | 'POST';
  /** Path and query, the base's prefix included. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  readonly signal: AbortSignal;
  readonly maxBytes: number;
}

export interface Origin {
  /** Rejects with SourceError, or with the signal's reason. Redirects are answers like others. */
  exchange(exchange: Exchange): Promise<HttpAnswer & { readonly server: string | undefined }>;
  close(): void;
}

/** Idle connections are closed after this, in milliseconds, or when the server's `Keep-Alive` says so. */
const IDLE_MS = 30_000;

export function openOrigin(url: URL, maxConcurrent: number): Origin {
  const isSecure = url.protocol === 'https:';
  // Agents of our own: no proxy from the environment, and nobody else's connections.
  const options = { keepAlive: true, maxSockets: maxConcurrent, scheduling: 'lifo', timeout: IDLE_MS } as const;
  const agent = isSecure ? new https.Agent(options) : new http.Agent(options);
  const target = {
    protocol: url.protocol,
    hostname: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? (isSecure ? 443 : 80) : Number(url.port),
    agent,
  };

  const send = (exchange: Exchange): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      const { method, path, signal, body } = exchange;
      const request = (isSecure ? https : http).request({ ...target, method, path, headers: exchange.headers, signal });
      request.once('response', resolve);
      // Node says nothing of an answer 101 that nobody listens for, nor of a signal that aborts after it.
      request.once('upgrade', (_, socket) => {
        socket.destroy();
        reject(new SourceError('bad answer', 'it answered with a change of protocol (101)'));
      });
      // Stays for what goes wrong later: that is told by the body.
      request.on('error', (error) => reject(Object.assign(error, { isStale: request.reusedSocket })));
      request.end(body);
    });

  const answer = async (exchange: Exchange): Promise<IncomingMessage> => {
    try {
      return await send(exchange);
    } catch (error) {
      const { code, isStale } = error as { code?: string; isStale?: boolean };
      // The server closed the kept connection while the request was on its way.
      const isUnheard = isStale && (code === 'ECONNRESET' || code === 'EPIPE') && exchange.method === 'GET';
      if (!isUnheard || exchange.signal.aborted) throw error;
      return await send(exchange);
    }
  };

  return {
    async exchange(exchange) {
      exchange.signal.throwIfAborted();
      try {
        const message = await answer(exchange);
        const { 'content-encoding': encoding, server } = message.headers;
        const body = await read(message, exchange.maxBytes);
        return { status: message.statusCode ?? 0, encoding, server: server?.toString(), body };
      } catch (error) {
        exchange.signal.throwIfAborted();
        throw error instanceof SourceError ? error : transportError(error as NodeJS.ErrnoException);
      }
    },
    close: () => agent.destroy(),
  };
}

async function read(message: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const tooLarge = (): SourceError => {
    message.destroy();
    return new SourceError('too large', `it answered with more than ${maxBytes} bytes`);
  };
  if (Number(message.headers['content-length']) > maxBytes) throw tooLarge();
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of message as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) throw tooLarge();
    chunks.push(chunk);
  }
  return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
}

/** Node's messages name hosts, ports and headers, never a header's value. */
function transportError(error: NodeJS.ErrnoException): SourceError {
  const { code = '', message } = error;
  const isNonsense = code.startsWith('HPE_');
  const cause = message || code;
  return isNonsense
    ? new SourceError('bad answer', `what answers does not speak HTTP: ${cause}`)
    : new SourceError('unavailable', `cannot be reached: ${cause}`);
}
