import { connect, type Socket } from 'node:net';

/** What the load generator needs of an answer. */
export interface Answer {
  readonly status: number;
  readonly sessionId: string | undefined;
  readonly body: Buffer;
}

/**
 * A minimal HTTP/1.1 client on one keep-alive connection. node:http costs about four times the CPU, and on a small
 * machine the load generator must take as little as possible from what it measures.
 */
export class HttpConnection {
  private readonly url: URL;
  private socket: Socket | undefined;
  private buffered: Buffer[] = [];
  private size = 0;
  private waiting: { resolve: (answer: Answer) => void; reject: (error: Error) => void } | undefined;

  constructor(url: URL) {
    this.url = url;
  }

  /** One request; the next may be sent when this one is answered. */
  send(method: string, headers: string, body: string): Promise<Answer> {
    const head =
      `${method} ${this.url.pathname} HTTP/1.1\r\nhost: ${this.url.host}\r\n${headers}` +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n`;
    return new Promise((resolve, reject) => {
      this.waiting = { resolve, reject };
      this.socket ??= this.open();
      this.socket.write(head + body);
    });
  }

  close(): void {
    this.socket?.destroy();
    this.socket = undefined;
  }

  private open(): Socket {
    const socket = connect(Number(this.url.port || 80), this.url.hostname);
    socket.setNoDelay(true);
    socket.on('data', (bytes: Buffer) => this.receive(bytes));
    socket.on('error', (error) => this.fail(error));
    socket.on('close', () => this.fail(new Error('The connection was closed before the answer was complete.')));
    return socket;
  }

  private receive(bytes: Buffer): void {
    this.buffered.push(bytes);
    this.size += bytes.length;
    const all = this.buffered.length === 1 ? bytes : Buffer.concat(this.buffered, this.size);
    this.buffered = [all];
    const answer = readAnswer(all);
    if (!answer) return;
    this.buffered = [];
    this.size = 0;
    const waiting = this.waiting;
    this.waiting = undefined;
    if (answer.close) this.close();
    waiting?.resolve(answer);
  }

  private fail(error: Error): void {
    this.close();
    this.buffered = [];
    this.size = 0;
    const waiting = this.waiting;
    this.waiting = undefined;
    waiting?.reject(error);
  }
}

/** A whole answer in `bytes`, or undefined while some of it is still to come. */
export function readAnswer(bytes: Buffer): (Answer & { close: boolean }) | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n');
  if (headEnd < 0) return undefined;
  const head = bytes.toString('latin1', 0, headEnd + 2).toLowerCase();
  const status = Number(head.slice(9, 12));
  const body = readBody(bytes.subarray(headEnd + 4), head, status);
  if (!body) return undefined;
  const session = headerOf(bytes.toString('latin1', 0, headEnd + 2), head, 'mcp-session-id');
  return { status, body, sessionId: session, close: headerOf(head, head, 'connection') === 'close' };
}

function readBody(rest: Buffer, head: string, status: number): Buffer | undefined {
  if (status === 204 || status === 304) return Buffer.alloc(0);
  if (headerOf(head, head, 'transfer-encoding') === 'chunked') return readChunks(rest);
  const length = Number(headerOf(head, head, 'content-length') ?? 0);
  return rest.length < length ? undefined : rest.subarray(0, length);
}

function readChunks(rest: Buffer): Buffer | undefined {
  const chunks: Buffer[] = [];
  for (let at = 0; ; ) {
    const lineEnd = rest.indexOf('\r\n', at);
    if (lineEnd < 0) return undefined;
    const size = Number.parseInt(rest.toString('latin1', at, lineEnd), 16);
    const start = lineEnd + 2;
    if (rest.length < start + size + 2) return undefined;
    if (size === 0) return chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks);
    chunks.push(rest.subarray(start, start + size));
    at = start + size + 2;
  }
}

/** The value of a header, its case kept: found in the lower-case text, cut from the original. */
function headerOf(original: string, lower: string, name: string): string | undefined {
  const at = lower.indexOf(`\r\n${name}:`);
  if (at < 0) return undefined;
  const from = at + name.length + 3;
  return original.slice(from, lower.indexOf('\r\n', from)).trim();
}
