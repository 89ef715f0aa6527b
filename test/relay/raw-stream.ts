/** A GET stream read byte by byte: comments and `retry` included, and a socket that can be paused or half closed. */
import { connect, type Socket } from 'node:net';
import { eventually } from '../support/eventually.ts';

export interface RawStream {
  readonly socket: Socket;
  /** Everything that has come, status line and headers first. */
  text(): string;
  readonly isOver: boolean;
  /** Waits until it has come. */
  until(pattern: RegExp, withinMs?: number): Promise<RegExpExecArray>;
}

export async function rawStream(url: string, headers: Readonly<Record<string, string>>): Promise<RawStream> {
  const { hostname, port, pathname, host } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
  let text = '';
  let isOver = false;
  socket.setEncoding('utf8').on('data', (chunk) => {
    text += chunk;
  });
  for (const event of ['end', 'close'] as const) {
    socket.on(event, () => {
      isOver = true;
    });
  }
  let failure: Error | undefined;
  socket.on('error', (error) => {
    failure = error;
  });
  const lines = Object.entries({ host, accept: 'text/event-stream', ...headers }).map(
    ([name, value]) => `${name}: ${value}`,
  );
  socket.write(`GET ${pathname} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
  await eventually(() => {
    if (isOver && !text.includes('\r\n\r\n')) throw new Error(`no answer: ${failure?.message ?? text}`);
    return text.includes('\r\n\r\n');
  });
  return {
    socket,
    text: () => text,
    get isOver() {
      return isOver;
    },
    until: (pattern, withinMs) => eventually(() => pattern.exec(text), withinMs),
  };
}
