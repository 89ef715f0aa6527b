/** Relays among themselves: a message goes to the one that holds its sender's stream. */
import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from 'node:http2';
import { connect as connectSocket } from 'node:net';
import type { Vault } from '../../credentials/vault.ts';
import { sealTicket, TICKET_HEADER } from '../ticket.ts';
import type { RelayRequest, RelayResponse, RelayWorld } from '../world.ts';
import type { Arrival } from './arrival.ts';

export interface Peers {
  /** false: that relay is not there or cannot be reached, and nothing has been answered. */
  pass(relayId: string, message: PassedMessage): Promise<boolean>;
}

export interface PassedMessage {
  readonly request: RelayRequest;
  readonly response: RelayResponse;
  readonly arrival: Arrival;
  readonly world: RelayWorld;
}

const CONNECT_MS = 2000;
const IDLE_MS = 30_000;

export function createPeers(): Peers {
  const sessions = new Map<string, ClientHttp2Session>();

  function sessionTo(address: string): ClientHttp2Session {
    const known = sessions.get(address);
    if (known !== undefined && !known.closed && !known.destroyed) return known;
    const session = connect('http://relay', { createConnection: () => dial(address) });
    sessions.set(address, session);
    session.setTimeout(IDLE_MS, () => session.close());
    session.on('error', () => {});
    session.once('close', () => {
      if (sessions.get(address) === session) sessions.delete(address);
    });
    // A connection that waits for the next message keeps nobody from stopping.
    session.unref();
    return session;
  }

  return {
    async pass(relayId, { request, response, arrival, world }) {
      const address = await world.store.addressOf(relayId);
      if (address === undefined) return false;
      return new Promise((resolve) => {
        const onward = sessionTo(address).request({
          ...request.headers,
          [TICKET_HEADER]: ticketFor(arrival, world.vault),
        });
        const late = setTimeout(() => onward.destroy(), CONNECT_MS);
        onward.session?.once('connect', () => clearTimeout(late));
        if (onward.session?.connecting === false) clearTimeout(late);
        onward.on('response', (headers) => {
          clearTimeout(late);
          resolve(true);
          if (response.stream.destroyed) return onward.destroy();
          response.writeHead(headers[':status'] ?? 502, withoutPseudo(headers));
          onward.pipe(response);
        });
        onward.on('error', () => resolve(false));
        onward.on('close', () => {
          clearTimeout(late);
          resolve(false);
        });
        response.once('close', () => onward.destroy());
        request.pipe(onward);
      });
    },
  };
}

/** What a relay on another machine lets in. The receiver identifies the caller again, as of any other. */
function ticketFor({ exchange, tenant, namespace, principal }: Arrival, vault: Vault): string {
  const ticket = { work: 'message', requestId: exchange.requestId, tenant, namespace, principal } as const;
  const client = { era: 'legacy', protocolVersion: '', capabilities: '{}', clientName: '', logLevel: null } as const;
  const nothing = { persona: null, session: null, connection: null, question: null } as const;
  return sealTicket(vault, { ...ticket, client, ...nothing }, Date.now());
}

function dial(address: string): ReturnType<typeof connectSocket> {
  if (address.startsWith('unix:')) return connectSocket({ path: address.slice('unix:'.length) });
  const colon = address.lastIndexOf(':');
  const host = address.slice(0, colon).replace(/^\[|\]$/g, '');
  return connectSocket({ host, port: Number(address.slice(colon + 1)) });
}

function withoutPseudo(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith(':')));
}
