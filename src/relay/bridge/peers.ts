/** Relays among themselves: a request goes to the one that holds what it is about, with its ticket and its bytes. */
import { type ClientHttp2Session, connect, constants, type IncomingHttpHeaders } from 'node:http2';
import { connect as connectSocket, type Socket } from 'node:net';
import { TICKET_HEADER } from '../ticket.ts';
import type { RelayRequest, RelayResponse } from '../world.ts';

/** The other relay is on this network and alive, or it is not there. Milliseconds. */
const CONNECT_MS = 2000;
/** A connection that carried nothing for so long is closed. Milliseconds. */
const IDLE_MS = 30_000;
/** A relay that was started anew has its predecessor's address, but not what that held: it must not look further. */
export const FORWARDED_HEADER = 'x-sallyport-forwarded';
const PASSED = [TICKET_HEADER, 'content-type', 'accept', 'x-request-id', 'traceparent', 'tracestate'];

/** Of one connection (RFC 9110 §7.6.1), or made for each. */
const ONE_HOP = new Set([
  ':method',
  ':path',
  ':scheme',
  ':authority',
  'host',
  'content-length',
  'transfer-encoding',
  'te',
]);

/** `unreached`: nothing was done there. `lost`: it was asked, and has not answered. */
export type Passed = 'passed' | 'unreached' | 'lost';

export class Peers {
  private readonly sessions = new Map<string, ClientHttp2Session>();

  /**
   * Answers with what the relay at `address` (`unix:PATH`, `HOST:PORT`) says. A client that goes away ends the request there
   * too. `all`: every header of the request goes with it, not only those of a ticket's work.
   */
  pass(
    address: string,
    request: RelayRequest,
    body: Buffer,
    response: RelayResponse,
    { all = false }: { readonly all?: boolean } = {},
  ): Promise<Passed> {
    const headers = Object.fromEntries(
      (all ? Object.keys(request.headers).filter((name) => !ONE_HOP.has(name)) : PASSED).flatMap((name) => {
        const value = request.headers[name];
        return value === undefined ? [] : [[name, value]];
      }),
    );
    let wasReached = false;
    return new Promise((resolve) => {
      const onward = this.sessionTo(address).request(
        { ...headers, ':method': request.method, ':path': request.url, [FORWARDED_HEADER]: '1' },
        { endStream: body.length === 0 },
      );
      const late = setTimeout(() => onward.close(constants.NGHTTP2_CANCEL), CONNECT_MS);
      const connected = (): void => {
        wasReached = true;
        clearTimeout(late);
      };
      if (onward.session?.connecting === false) connected();
      else onward.session?.once('connect', connected);
      onward.on('response', (head) => {
        resolve('passed');
        if (response.stream.destroyed) return;
        response.writeHead(head[':status'] ?? 502, withoutPseudo(head));
        onward.pipe(response);
      });
      onward.on('error', () => {});
      onward.on('close', () => {
        clearTimeout(late);
        resolve(wasReached ? 'lost' : 'unreached');
        // Broken off there, it must not look complete here.
        if (onward.rstCode !== 0 && !response.stream.destroyed && response.headersSent) {
          response.stream.close(constants.NGHTTP2_INTERNAL_ERROR);
        }
      });
      response.stream.once('close', () => onward.close(constants.NGHTTP2_CANCEL));
      if (body.length > 0) onward.end(body);
    });
  }

  private sessionTo(address: string): ClientHttp2Session {
    const known = this.sessions.get(address);
    if (known !== undefined && !known.closed && !known.destroyed) return known;
    const session = connect('http://relay', { createConnection: () => dial(address) });
    this.sessions.set(address, session);
    session.setTimeout(IDLE_MS, () => session.close());
    session.on('error', () => {});
    session.once('close', () => {
      if (this.sessions.get(address) === session) this.sessions.delete(address);
    });
    // One that waits for the next request keeps nobody from stopping.
    session.unref();
    return session;
  }
}

function dial(address: string): Socket {
  if (address.startsWith('unix:')) return connectSocket({ path: address.slice('unix:'.length) });
  const colon = address.lastIndexOf(':');
  return connectSocket({
    host: address.slice(0, colon).replace(/^\[|\]$/g, ''),
    port: Number(address.slice(colon + 1)),
  });
}

const withoutPseudo = (headers: IncomingHttpHeaders): IncomingHttpHeaders =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith(':')));
