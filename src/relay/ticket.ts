/**
 * What a processor has decided about a request that it hands to the relay: sealed into one header, so that the relay
 * need not identify and authorise again, and nobody else can make one.
 */
import type { Vault } from '../credentials/vault.ts';
import type { Principal, Session } from '../exchange/exchange.ts';
import type { Era } from '../mcp/revision.ts';

/** Names the ticket's header. Whatever a client sends under it is stripped before anything looks. */
export const TICKET_HEADER = 'x-sallyport-ticket';

/**
 * `call`: a request to an upstream of the other era whose client may be asked things. `answer`: a client's answer to what
 * a relay asked it. `listen`: `subscriptions/listen`. `batch`: a JSON-RPC batch (2025-03-26 sessions). `upstream`: what is meant for
 * an upstream that speaks only HTTP+SSE, in whose place the relay stands. `passed`: a client's own request, from the relay
 * that got it to the one that holds what it is about.
 */
export type Work = 'call' | 'answer' | 'listen' | 'batch' | 'upstream' | 'passed';

export interface Ticket {
  readonly work: Work;
  readonly requestId: string;
  readonly tenant: string;
  readonly namespace: string;
  readonly principal: Principal;
  readonly session: Session | null;
  readonly client: {
    readonly era: Era;
    readonly protocolVersion: string;
    /** JSON text. */
    readonly capabilities: string;
    readonly clientName: string;
    readonly logLevel: string | null;
  };
  /** `call`: what it is about; the relay finds the same target in its own snapshot. `upstream`: which it is. */
  readonly connection: string | null;
  /** `answer`: whose question it answers: `[relay id, question id]`. */
  readonly question: readonly [string, string] | null;
}

const CONTEXT = 'relay-ticket';
/** Envoy and a socket lie between the two: seconds are plenty. */
const LIFETIME_MS = 60_000;

export function sealTicket(vault: Vault, ticket: Ticket, now: number): string {
  return vault.sealToken(Buffer.from(JSON.stringify([now + LIFETIME_MS, ticket])), CONTEXT);
}

/** The relay alone speaks with such an upstream; whoever asks it has decided already. */
export const sealUpstreamTicket = (vault: Vault, { tenant, name }: { tenant: string; name: string }): string =>
  sealTicket(vault, { ...NOBODYS, work: 'upstream', tenant, connection: name }, Date.now());

/** It only says that a relay has sent it: the caller is identified again. */
export const sealPassTicket = (vault: Vault): string => sealTicket(vault, { ...NOBODYS, work: 'passed' }, Date.now());

const NOBODYS = {
  requestId: '',
  tenant: '',
  namespace: '',
  principal: { tenant: '', subject: 'sallyport', roles: [], method: 'internal', binding: '' },
  session: null,
  client: { era: 'legacy', protocolVersion: '', capabilities: '{}', clientName: '', logLevel: null },
  connection: null,
  question: null,
} as const;

/** undefined: forged, damaged, or older than a minute. */
export function openTicket(vault: Vault, header: string, now: number): Ticket | undefined {
  const plain = vault.openToken(header, CONTEXT);
  if (plain === undefined) return undefined;
  const [expires, ticket] = JSON.parse(plain.toString('utf8')) as [number, Ticket];
  return now < expires ? ticket : undefined;
}
