/** The client's end of the adapter: an event stream that stays open, kept alive through silent hours. */
import { STREAM_HEADERS, sseEvent, writeWithin } from '../batch/sse.ts';
import type { RelayResponse } from '../world.ts';

/** Below the idle limits of what usually lies between. */
const KEEP_ALIVE_MS = 25_000;
const KEEP_ALIVE = Buffer.from(': keep-alive\n\n');

export class EventSink {
  /** Resolves when the client is gone or the stream was ended. */
  readonly closed: Promise<void>;
  bytesOut = 0;
  private readonly response: RelayResponse;
  private readonly timer: NodeJS.Timeout;

  /** Answers with the head at once. */
  constructor(response: RelayResponse) {
    this.response = response;
    this.timer = setInterval(() => {
      // Whoever has not even taken the last bytes needs no more of them.
      if (response.stream.writableLength === 0) void this.send(KEEP_ALIVE);
    }, KEEP_ALIVE_MS);
    this.closed = new Promise((resolve) => {
      response.once('close', () => {
        clearInterval(this.timer);
        resolve();
      });
    });
    response.writeHead(200, STREAM_HEADERS);
  }

  /** Resolves when the client has room for more, or is gone. */
  write(event: 'endpoint' | 'message', data: Buffer): Promise<void> {
    return this.send(sseEvent(event, data));
  }

  end(): void {
    if (!this.response.writableEnded) this.response.end();
  }

  private send(bytes: Buffer): Promise<void> {
    this.bytesOut += bytes.length;
    return writeWithin(this.response, bytes);
  }
}
