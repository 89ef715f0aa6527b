/** HTTP to one coordinator over kept connections: never elsewhere, no redirects, answers of bounded size. */
import http, { type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import https from 'node:https';
import { SourceError } from '../source.ts';

/** Trino sends pages of about 1 MB; a single huge row makes a larger one, of which a rule keeps 4 MiB at most. Reading 8 takes half a second. */
const MAX_ANSWER_BYTES = 8 * 1024 * 1024;

export interface CoordinatorOptions {
  readonly url: URL;
  /** Of every request. */
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: { readonly ca?: string; readonly insecure?: boolean } | undefined;
}

export interface Sent {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** From `/v1/` on; the prefix of the coordinator's URL comes before it. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal: AbortSignal;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

export interface Coordinator {
  /** Rejects with SourceError, or with the signal's reason. */
  send(sent: Sent): Promise<Answer>;
  close(): void;
}

export function openCoordinator({ url, headers, tls }: CoordinatorOptions): Coordinator {
  const isSecure = url.protocol === 'https:';
  const kept = { keepAlive: true, scheduling: 'lifo', timeout: 30_000 } as const;
  const agent = isSecure
    ? new https.Agent({
        ...kept,
        ...(tls?.ca !== undefined && { ca: tls.ca }),
        rejectUnauthorized: tls?.insecure !== true,
      })
    : new http.Agent(kept);
  const target = {
    protocol: url.protocol,
    hostname: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? (isSecure ? 443 : 80) : Number(url.port),
    agent,
  };
  const prefix = url.pathname.replace(/\/+$/, '');

  const once = ({ method, path, headers: own, body, signal }: Sent): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) };
      const options = { ...target, method, path: prefix + path, headers: { ...headers, ...own, ...length }, signal };
      const request = (isSecure ? https : http).request(options, resolve);
      // Node says nothing of an answer 101 that nobody listens for, nor of a signal that aborts after it.
      request.once('upgrade', (_, socket) => {
        socket.destroy();
        reject(new SourceError('bad answer', "what answers at Trino's URL changes the protocol (101)"));
      });
      request.on('error', (error) => reject(Object.assign(error, { wasKept: request.reusedSocket })));
      request.end(body);
    });

  return {
    async send(sent) {
      sent.signal.throwIfAborted();
      try {
        const message = await once(sent).catch((error: NodeJS.ErrnoException & { wasKept?: boolean }) => {
          // The coordinator closed the kept connection just then. Whatever is sent only reads: it may be sent twice.
          if (error.wasKept === true && error.code === 'ECONNRESET' && !sent.signal.aborted) return once(sent);
          throw error;
        });
        return { status: message.statusCode ?? 0, headers: message.headers, text: await read(message) };
      } catch (error) {
        sent.signal.throwIfAborted();
        throw error instanceof SourceError ? error : unreachable(error as NodeJS.ErrnoException);
      }
    },
    close: () => agent.destroy(),
  };
}

async function read(message: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  // Leaving the loop ends the connection.
  for await (const chunk of message as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_ANSWER_BYTES)
      throw new SourceError(
        'too large',
        `Trino sent more than ${MAX_ANSWER_BYTES / 1_048_576} MiB at once: select less of each row`,
      );
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

/** Node's messages name hosts and ports, never a header. */
function unreachable(error: NodeJS.ErrnoException): SourceError {
  const { code = '', message } = error;
  return code.startsWith('HPE_')
    ? new SourceError('bad answer', `what answers at Trino's URL does not speak HTTP: ${message}`, { cause: error })
    : new SourceError('unavailable', `Trino cannot be reached: ${message || code}`, { cause: error });
}
