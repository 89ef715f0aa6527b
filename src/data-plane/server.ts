/** The ext_proc gRPC service: each stream that Envoy opens becomes one conversation. */
import * as grpc from '@grpc/grpc-js';
import { extProcService, type ProcessingRequest, type ProcessingResponse } from '../wire.ts';
import { Conversation, type Flow } from './conversation.ts';
import type { Write } from './ending.ts';
import type { World } from './world.ts';

type Stream = grpc.ServerDuplexStream<ProcessingRequest, ProcessingResponse | Buffer>;

export interface ProcessorServer {
  /** Streams that are open now. */
  readonly open: number;
  /** Takes no new streams, waits for the open ones, at most `deadlineMs`; the rest end with an error, never cleanly. */
  close(deadlineMs: number): Promise<void>;
}

/** `address`: `unix:PATH` or `HOST:PORT`. `maxBodyBytes`: the largest body a message may carry. */
export async function startProcessorServer(
  address: string,
  maxBodyBytes: number,
  world: World,
): Promise<ProcessorServer> {
  const server = new grpc.Server({
    'grpc.max_receive_message_length': maxBodyBytes + 65_536,
    'grpc.max_send_message_length': -1,
    // Statistics per stream that nobody reads.
    'grpc.enable_channelz': 0,
    // Envoy holds one connection per worker thread; a stream is one HTTP exchange.
    'grpc.max_concurrent_streams': 100_000,
  });
  const streams = new Set<Stream>();
  server.addService(extProcService, { Process: (stream: Stream) => serve(stream, world, streams) });
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(address, grpc.ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
  return {
    get open() {
      return streams.size;
    },
    async close(deadlineMs) {
      let timer: NodeJS.Timeout | undefined;
      const drained = new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, deadlineMs);
      });
      await Promise.race([drained, late]);
      clearTimeout(timer);
      // A clean end would let the request through unprocessed (Envoy's ext_proc protocol): end with an error.
      for (const stream of streams)
        stream.emit('error', { code: grpc.status.UNAVAILABLE, details: 'the processor is stopping' });
      server.forceShutdown();
    },
  };
}

function serve(stream: Stream, world: World, streams: Set<Stream>): void {
  streams.add(stream);
  let ended = false;
  const end = (): void => {
    if (!ended) stream.end();
    ended = true;
  };
  const abort = (): void => {
    if (!ended) stream.emit('error', { code: grpc.status.CANCELLED, details: 'the client took its request back' });
    ended = true;
  };
  const flow = flowOf(stream);
  const write: Write = (message, isLast) => {
    if (ended || stream.destroyed || stream.cancelled) return;
    // Envoy reads slower than we write (its client does): take no more until it has caught up.
    if (!stream.write(message) && !flow.isDraining) {
      flow.isDraining = true;
      flow.hold();
      stream.once('drain', () => {
        flow.isDraining = false;
        flow.release();
      });
    }
    // Nothing more is owed, so nothing can slip by: the trailers leave together with the last reply.
    if (isLast) end();
  };
  const conversation = new Conversation(world, write, abort, flow);
  let over = false;
  const finish = (): void => {
    if (over) return;
    over = true;
    streams.delete(stream);
    conversation.onEnd();
  };
  stream.on('data', (message) => conversation.onMessage(message));
  // Envoy has half-closed and waits for our trailers (ext_proc_graceful_grpc_close).
  stream.on('end', () => {
    finish();
    end();
  });
  stream.on('cancelled', finish);
  stream.on('error', finish);
  stream.on('close', finish);
}

/** Read again when nobody holds it any more. */
function flowOf(stream: Stream): Flow & { isDraining: boolean } {
  let holds = 0;
  return {
    isDraining: false,
    hold() {
      if (holds++ === 0) stream.pause();
    },
    release() {
      if (--holds === 0) stream.resume();
    },
  };
}
