/** Envoy's HTTP/2 connections to the relay: few, each with hundreds of streams that live for hours (xds/bootstrap.ts). */
import { createServer, type Http2Server } from 'node:http2';

/** What clients send, all of one connection together. Bytes. */
const CONNECTION_WINDOW = 16 << 20;

export function createRelayListener(): Http2Server {
  const server = createServer({
    // A stream has its own limit of what may wait for its client (stream.ts); nghttp2 need not count it again. MiB.
    maxSessionMemory: 2048,
    settings: {
      maxConcurrentStreams: 500,
      // What Envoy lets a client send, and a ticket. Bytes.
      maxHeaderListSize: 131_072,
      initialWindowSize: 262_144,
    },
  });
  server.on('session', (session) => {
    session.setLocalWindowSize(CONNECTION_WINDOW);
    // Envoy went away; its streams tell their own ends.
    session.on('error', () => {});
  });
  return server;
}
