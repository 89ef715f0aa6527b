/** Sends one JSON text to one URL and reads the answer. No redirects: a token goes to nobody else. */
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { SourceError } from '../source.ts';

export interface Post {
  /** Of an answer with status 2xx the text, at most `maxBytes` of it. Rejects with SourceError. */
  send(body: Buffer, maxBytes: number, signal: AbortSignal): Promise<string>;
  close(): void;
}

export function createPost(url: URL, token: string | undefined): Post {
  const isSecure = url.protocol === 'https:';
  const options = { keepAlive: true, maxFreeSockets: 8, scheduling: 'lifo' } as const;
  const agent = isSecure ? new HttpsAgent(options) : new Agent(options);
  const headers = {
    'content-type': 'application/json',
    accept: 'application/json',
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
  };
  return {
    send: (body, maxBytes, signal) =>
      new Promise((resolve, reject) => {
        const fail = (error: Error): void => {
          // Whoever aborts says why.
          const reason: unknown = signal.aborted ? signal.reason : undefined;
          reject(reason ?? (error instanceof SourceError ? error : unreachable(error)));
        };
        const sending = (isSecure ? httpsRequest : httpRequest)(
          url,
          { method: 'POST', agent, headers: { ...headers, 'content-length': body.length }, signal },
          (answer) => read(answer, maxBytes).then(resolve, fail),
        );
        // Node says nothing of an answer 101 that nobody listens for, nor of a signal that aborts after it.
        sending.once('upgrade', (_, socket) => {
          socket.destroy();
          fail(new SourceError('bad answer', 'DataHub answered with a change of protocol (101)'));
        });
        sending.on('error', fail);
        sending.end(body);
      }),
    close: () => agent.destroy(),
  };
}

async function read(answer: IncomingMessage, maxBytes: number): Promise<string> {
  const refusal = refusalOf(answer);
  if (refusal !== undefined) {
    answer.destroy();
    throw refusal;
  }
  const chunks: Buffer[] = [];
  let length = 0;
  // Leaving the loop by an error ends the connection.
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > maxBytes) throw new SourceError('too large', `DataHub's answer is larger than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function refusalOf({ statusCode = 0, headers }: IncomingMessage): SourceError | undefined {
  if (statusCode >= 200 && statusCode < 300) {
    const type = headers['content-type'] ?? '';
    if (!/html/i.test(type)) return undefined;
    return new SourceError('bad answer', 'DataHub answered with a web page: is the URL right?');
  }
  const said = `DataHub answered with HTTP ${statusCode}`;
  if (statusCode === 401 || statusCode === 403)
    return new SourceError('refused', `${said}: its token is missing or not valid`);
  if (statusCode === 404) return new SourceError('bad answer', `${said}: there is no GraphQL at this URL`);
  if (statusCode === 429) return new SourceError('busy', `${said}: too many requests`);
  if (statusCode >= 300 && statusCode < 400) {
    return new SourceError('bad answer', `${said}, a redirect, which is not followed: write the URL it leads to`);
  }
  return statusCode >= 500 ? new SourceError('unavailable', said) : new SourceError('refused', said);
}

function unreachable(cause: Error): SourceError {
  const { code } = cause as NodeJS.ErrnoException;
  return new SourceError('unavailable', `DataHub cannot be reached: ${code ?? cause.message}`, { cause });
}
