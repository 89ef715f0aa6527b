/**
 * Envoy's HTTP/2 connections to the relay. A client that goes away makes Envoy reset its stream, and nghttp2 takes more
 * than 1000 resets in a row (33 a second after that) for an attack: it would end the connection with every stream on it
 * (CVE-2023-44487; Node 20 has no option for it). So each connection is retired long before: Envoy opens another for new
 * requests and leaves the ones in progress where they are.
 */
import { createServer, type Http2Server, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';

/** Together with the streams that may be open on one connection (xds/bootstrap.ts: 500) below nghttp2's 1000. */
const MAX_RESETS = 400;
/** Bytes. */
const CONNECTION_WINDOW = 16 << 20;
/** RFC 9113 §6.8: a first GOAWAY with the highest id retires a connection without refusing what is under way. */
const NO_LAST_STREAM = 2 ** 31 - 1;

/** An HTTP/2 server without TLS, fit for thousands of streams that live for hours. */
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
    // What clients send, all of them together.
    session.setLocalWindowSize(CONNECTION_WINDOW);
    retireInTime(session);
  });
  return server;
}

function retireInTime(session: ServerHttp2Session): void {
  let resets = 0;
  const onReset = (): void => {
    if (++resets === MAX_RESETS && !session.closed) session.goaway(0, NO_LAST_STREAM);
  };
  session.on('stream', (stream: ServerHttp2Stream) => void stream.once('aborted', onReset));
  // Envoy went away; its streams tell their own ends.
  session.on('error', () => {});
}
