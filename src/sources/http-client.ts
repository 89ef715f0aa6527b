/**
 * HTTP to one origin over kept connections: never elsewhere, no redirects, nothing packed, answers of bounded size. What a
 * status means is the source's business.
 */
import http, { type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import https from 'node:https';
import { SourceError } from './source.ts';

export interface HttpClientOptions {
  /** The origin, and the prefix of every path. */
  readonly url: URL;
  /** What errors call the source: `it`, `Trino`. */
  readonly name: string;
  /** Of every request. */
  readonly headers: Readonly<Record<string, string>>;
  readonly tls?: { readonly ca?: string; readonly insecure?: boolean } | undefined;
  /** Of one answer. */
  readonly maxBytes: number;
  /** Whatever is sent only reads: a request may arrive twice. Otherwise only a GET may. */
  readonly onlyReads?: boolean;
  /** What is wrong with an answer by its head alone; its body is not waited for then. */
  readonly refuse?: (head: AnswerHead) => SourceError | undefined;
}

export interface Sent {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** And query; comes after the prefix. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly body?: string | undefined;
  readonly signal: AbortSignal;
  /** Instead of the client's. */
  readonly maxBytes?: number;
}

export interface AnswerHead {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
}

export interface Answer extends AnswerHead {
  readonly body: Buffer;
}

export interface HttpClient {
  /** Rejects with SourceError, or with the signal's reason. Redirects are answers like others. */
  send(sent: Sent): Promise<Answer>;
  close(): void;
}

/** Idle connections are closed after this, in milliseconds, or when the server's `Keep-Alive` says so. */
const IDLE_MS = 30_000;

export function openHttpClient(options: HttpClientOptions): HttpClient {
  const { url, name, tls, refuse, onlyReads = false } = options;
  const isSecure = url.protocol === 'https:';
  // An agent of our own: no proxy from the environment, and nobody else's connections.
  const kept = { keepAlive: true, scheduling: 'lifo', timeout: IDLE_MS } as const;
  const trust = { ...(tls?.ca !== undefined && { ca: tls.ca }), rejectUnauthorized: tls?.insecure !== true };
  const agent = isSecure ? new https.Agent({ ...kept, ...trust }) : new http.Agent(kept);
  const target = {
    protocol: url.protocol,
    hostname: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? (isSecure ? 443 : 80) : Number(url.port),
    agent,
  };
  const prefix = url.pathname.replace(/\/+$/, '');
  // A small answer may unpack to a large one.
  const common = { ...options.headers, 'accept-encoding': 'identity' };

  const read = async (message: IncomingMessage, maxBytes: number): Promise<Answer> => {
    const head = { status: message.statusCode ?? 0, headers: message.headers };
    const tooLarge = (): SourceError =>
      new SourceError('too large', `what ${name} answered is larger than ${maxBytes} bytes: ask for less at once`);
    const refusal = refuse?.(head) ?? (Number(head.headers['content-length']) > maxBytes ? tooLarge() : undefined);
    if (refusal !== undefined) {
      message.destroy();
      throw refusal;
    }
    const chunks: Buffer[] = [];
    let size = 0;
    // Leaving the loop by an error ends the connection.
    for await (const chunk of message as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > maxBytes) throw tooLarge();
      chunks.push(chunk);
    }
    return { ...head, body: chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks) };
  };

  /** Of a kept connection: the server closed it just when it was used again. A write that failed left it without all of the request. */
  const mayRepeat = (method: Sent['method'], { code, syscall }: NodeJS.ErrnoException): boolean =>
    (code === 'ECONNRESET' || code === 'EPIPE') && (onlyReads || method === 'GET' || syscall === 'write');

  const once = ({ method, path, body, signal, ...sent }: Sent): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const headers = { ...common, ...sent.headers };
      const where = { ...target, method, path: prefix + path || '/', headers, signal };
      const request = (isSecure ? https : http).request(where);
      let answer: IncomingMessage | undefined;
      request.once('response', (message) => {
        answer = message;
        resolve(read(message, sent.maxBytes ?? options.maxBytes));
      });
      // Node says nothing of an answer 101 that nobody listens for, nor of a signal that aborts after it.
      request.once('upgrade', (_, socket) => {
        socket.destroy();
        reject(new SourceError('bad answer', `${name} answered with a change of protocol (101)`));
      });
      request.on('error', (error) => {
        // Of an answer that breaks off Node itself would say no more than "aborted".
        if (answer !== undefined) answer.destroy(error);
        else reject(Object.assign(error, { mayRepeat: request.reusedSocket && mayRepeat(method, error) }));
      });
      request.end(body);
    });

  return {
    async send(sent) {
      sent.signal.throwIfAborted();
      try {
        return await once(sent).catch((error: Error & { mayRepeat?: boolean }) => {
          if (error.mayRepeat === true) return once(sent);
          throw error;
        });
      } catch (error) {
        sent.signal.throwIfAborted();
        throw error instanceof SourceError ? error : transportError(name, error as NodeJS.ErrnoException);
      }
    },
    close: () => agent.destroy(),
  };
}

/** Throws SourceError where the body is packed nevertheless. */
export function assertPlain(name: string, { headers }: AnswerHead): void {
  const { 'content-encoding': encoding = 'identity' } = headers;
  if (encoding === 'identity') return;
  throw new SourceError('bad answer', `${name} answered in the encoding ${encoding}, which it was asked not to use`);
}

/** Node's messages name hosts, ports and headers, never a header's value. */
function transportError(name: string, cause: NodeJS.ErrnoException): SourceError {
  const { code = '', message } = cause;
  return code.startsWith('HPE_')
    ? new SourceError('bad answer', `what answers at its URL does not speak HTTP: ${message || code}`, { cause })
    : new SourceError('unavailable', `${name} cannot be reached: ${message || code}`, { cause });
}
