/** Event streams towards clients: how a message is written, and that nobody who stops reading makes us keep it. */
import { constants } from 'node:http2';
import type { RelayResponse } from '../world.ts';

export const STREAM_HEADERS = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
} as const;

const { NGHTTP2_CANCEL } = constants;

/** Who takes nothing for so long has gone, or might as well have. */
const STALLED_MS = 60_000;

const LF = 0x0a;
const CR = 0x0d;

export const sseMessage = (message: Buffer): Buffer => sseEvent('message', message);

/** One event. The data is JSON, or text without line ends: between JSON's tokens a space says the same as a line end. */
export function sseEvent(name: string, data: Buffer): Buffer {
  const event = Buffer.concat([Buffer.from(`event: ${name}\ndata: `), data, END]);
  for (let i = name.length + 14; i < event.length - 2; i++) {
    if (event[i] === LF || event[i] === CR) event[i] = 0x20;
  }
  return event;
}

const END = Buffer.from('\n\n');

/** Resolves when the client has room for more, or is gone; one that has none for a minute is cut off. */
export function writeWithin(response: RelayResponse, bytes: Buffer): Promise<void> {
  if (response.stream.destroyed || response.writableEnded || response.write(bytes)) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(stalled);
      response.off('drain', done);
      response.off('close', done);
      resolve();
    };
    const stalled = setTimeout(() => response.stream.close(NGHTTP2_CANCEL), STALLED_MS);
    response.on('drain', done);
    response.on('close', done);
  });
}
