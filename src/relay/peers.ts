/** Relays among themselves: a request goes to the one that holds what it is about, with its headers and its bytes. */
import {
  type ClientHttp2Session,
  connect,
  constants,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type IncomingHttpHeaders,
} from 'node:http2';
import { connect as connectSocket, type Socket } from 'node:net';
import type { Vault } from '../credentials/vault.ts';
import { JUDGEMENT_HEADER } from '../snapshot/revision.ts';
import type { RelayStore } from './relay-store.ts';
import { sealPassTicket, TICKET_HEADER } from './ticket.ts';

/** A relay that was started anew has its predecessor's address, but not what that held: it must not look further. */
const FORWARDED_HEADER = 'x-sallyport-forwarded';
/** The other relay is on this network and alive, or it is not there. Milliseconds. */
const CONNECT_MS = 2000;
/** A connection that carries nothing for so long is closed. Milliseconds. */
const IDLE_MS = 30_000;
/**
 * Requests of one connection. nghttp2 ends one on which about 1000 were reset, with all that are on it, and 500 is what
 * the other side takes at a time (connections.ts): more would wait for the end of streams that have none.
 */
const MAX_REQUESTS = 500;
const WINDOW = 65_536;
const MAX_HEADER_BYTES = 131_072;

/** `unreached`: nothing was done there. `lost`: it was asked, and has not answered. */
export type Passed = 'passed' | 'unreached' | 'lost';

interface Line {
  readonly session: ClientHttp2Session;
  begun: number;
  open: number;
}

export class Peers {
  /** By address; of each only the connection that takes new requests. */
  private readonly lines = new Map<string, Line>();
  private readonly store: Pick<RelayStore, 'addressOf'>;
  private readonly vault: Vault;

  constructor(store: Pick<RelayStore, 'addressOf'>, vault: Vault) {
    this.store = store;
    this.vault = vault;
  }

  /**
   * Answers with what that relay says. What has come this way once goes no further, wherever an old id leads. A client that
   * goes away ends the request there too.
   */
  async pass(
    relayId: string,
    request: Http2ServerRequest,
    body: Buffer,
    response: Http2ServerResponse,
  ): Promise<Passed> {
    if (request.headers[FORWARDED_HEADER] !== undefined) return 'unreached';
    const address = await this.store.addressOf(relayId);
    return address === undefined ? 'unreached' : this.passTo(address, request, body, response);
  }

  /** `address`: `unix:PATH`, `HOST:PORT`. */
  private passTo(
    address: string,
    request: Http2ServerRequest,
    body: Buffer,
    response: Http2ServerResponse,
  ): Promise<Passed> {
    // A client's own request needs one to be let in there, and is judged there as here; a processor's has its own.
    const ticket = request.headers[TICKET_HEADER];
    const headers = {
      ...request.headers,
      [TICKET_HEADER]: ticket ?? sealPassTicket(this.vault),
      [FORWARDED_HEADER]: '1',
      ...(request.method === 'POST' ? { 'content-length': body.length } : {}),
    };
    let wasReached = false;
    return new Promise((resolve) => {
      const line = this.lineTo(address);
      const onward = line.session.request(headers, { endStream: body.length === 0 });
      const late = setTimeout(() => onward.close(constants.NGHTTP2_CANCEL), CONNECT_MS);
      const connected = (): void => {
        wasReached = true;
        clearTimeout(late);
      };
      if (line.session.connecting) line.session.once('connect', connected);
      else connected();
      onward.on('response', (head) => {
        resolve('passed');
        if (response.stream.destroyed) return;
        response.writeHead(head[':status'] ?? 502, headersFor(ticket !== undefined, head));
        onward.pipe(response);
      });
      onward.on('error', () => {});
      onward.on('close', () => {
        clearTimeout(late);
        line.session.off('connect', connected);
        this.ended(address, line);
        resolve(wasReached ? 'lost' : 'unreached');
        // Broken off there, it must not look complete here.
        if (onward.rstCode !== 0 && !response.stream.destroyed && response.headersSent) {
          response.stream.close(constants.NGHTTP2_INTERNAL_ERROR);
        }
      });
      const leave = (): void => onward.close(constants.NGHTTP2_CANCEL);
      response.stream.once('close', leave);
      if (response.stream.destroyed) leave();
      if (body.length > 0) onward.end(body);
    });
  }

  private lineTo(address: string): Line {
    let line = this.lines.get(address);
    if (line === undefined || line.session.closed || line.session.destroyed || line.begun >= MAX_REQUESTS) {
      const session = connect('http://relay', {
        createConnection: () => dial(address),
        maxSendHeaderBlockLength: MAX_HEADER_BYTES,
      });
      const made: Line = { session, begun: 0, open: 0 };
      session.on('error', () => {});
      // A client that does not read holds back its own stream, and all of them no other's.
      session.once('connect', () => session.setLocalWindowSize(MAX_REQUESTS * WINDOW));
      session.once('close', () => this.forget(address, made));
      // One that waits for the next request keeps nobody from stopping.
      session.unref();
      this.lines.set(address, made);
      line = made;
    }
    line.begun++;
    line.open++;
    return line;
  }

  private ended(address: string, line: Line): void {
    if (--line.open > 0) return;
    if (this.lines.get(address) !== line || line.begun >= MAX_REQUESTS) {
      this.forget(address, line);
      line.session.close();
      return;
    }
    const { begun } = line;
    setTimeout(() => {
      if (line.begun === begun) line.session.close();
    }, IDLE_MS).unref();
  }

  private forget(address: string, line: Line): void {
    if (this.lines.get(address) === line) this.lines.delete(address);
  }
}

function dial(address: string): Socket {
  if (address.startsWith('unix:')) return connectSocket({ path: address.slice('unix:'.length) });
  return connectSocket(hostAndPort(address));
}

/** Of `HOST:PORT`, where an IPv6 host stands in brackets. */
export function hostAndPort(address: string): { readonly host: string; readonly port: number } {
  const colon = address.lastIndexOf(':');
  return { host: address.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(address.slice(colon + 1)) };
}

/** What a processor would read of it is nothing for a client. */
const headersFor = (isToProcessor: boolean, head: IncomingHttpHeaders): IncomingHttpHeaders =>
  Object.fromEntries(
    Object.entries(head).filter(([name]) => !name.startsWith(':') && (isToProcessor || name !== JUDGEMENT_HEADER)),
  );
