/** One event stream to a client: what may wait for it is bounded, silence is filled, its end is told once. */
import { constants, type ServerHttp2Stream } from 'node:http2';
import { formatEvent } from '../mcp/events.ts';
import type { Beating, Pulse } from './pulse.ts';
import type { RelayResponse } from './world.ts';

/** What may wait for a client that reads slower than it is written to; above it the stream is cut. */
const MAX_WAITING_BYTES = 1 << 20;
/** A client that took nothing at all for so many keep-alives in a row is gone. */
const MAX_STALLS = 3;
const KEEP_ALIVE = Buffer.from(':\n\n');
const NOTHING = Buffer.alloc(0);

const HEAD = {
  ':status': 200,
  'content-type': 'text/event-stream',
  'cache-control': 'no-cache',
  'x-accel-buffering': 'no',
} as const;

export class EventStream implements Beating {
  /** Of events, keep-alives left out. */
  bytesOut = 0;
  private readonly stream: ServerHttp2Stream;
  private stalls = 0;

  /** Answers with the head at once. `onClose`: the client or we have ended it; called once, never from within a call. */
  constructor(response: RelayResponse, pulse: Pulse, onClose: () => void) {
    this.stream = response.stream;
    this.stream.once('close', () => {
      pulse.remove(this);
      onClose();
    });
    if (this.stream.destroyed) return;
    this.stream.respond(HEAD);
    pulse.add(this);
  }

  get isOpen(): boolean {
    return !this.stream.destroyed && !this.stream.writableEnded;
  }

  /** One JSON-RPC message; false when there is nobody to take it any more. */
  send(message: Buffer, id?: string): boolean {
    return this.write(formatEvent(message, { id }));
  }

  /** An event that only says where to come back to (MCP 2025-11-25 transports, "Sending Messages to the Server"). */
  prime(id: string): void {
    this.write(formatEvent(NOTHING, { id }));
  }

  /** The event's bytes as `formatEvent` made them. */
  write(event: Buffer): boolean {
    if (!this.isOpen) return false;
    if (this.stream.writableLength > MAX_WAITING_BYTES) {
      this.abort();
      return false;
    }
    this.bytesOut += event.length;
    this.stream.write(event);
    return true;
  }

  /** Resolves when the client has room for more, or is gone. */
  async drained(): Promise<void> {
    if (!this.isOpen || !this.stream.writableNeedDrain) return;
    await new Promise<void>((resolve) => {
      this.stream.once('drain', resolve);
      this.stream.once('close', resolve);
    });
  }

  /** Ends it after what is waiting. `retryMs`: when the client may come back. */
  end({ retryMs }: { readonly retryMs?: number } = {}): void {
    if (!this.isOpen) return;
    this.stream.end(retryMs === undefined ? '' : `retry: ${retryMs}\n\n`);
  }

  /** Ends it now, whatever is waiting. */
  abort(): void {
    if (!this.stream.destroyed) this.stream.close(constants.NGHTTP2_CANCEL);
  }

  beat(): void {
    if (this.stream.writableLength === 0) {
      this.stalls = 0;
      if (this.isOpen) this.stream.write(KEEP_ALIVE);
    } else if (++this.stalls >= MAX_STALLS) this.abort();
  }
}
