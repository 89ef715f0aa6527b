/** Step: who the client of this request is, and what it can do: by its session (legacy) or by its own word (modern). */
import type { World } from '../data-plane/world.ts';
import {
  type ClientHop,
  type Exchange,
  refuse,
  type Session,
  type Step,
  type StepResult,
} from '../exchange/exchange.ts';
import { problems } from '../exchange/problem.ts';
import { clientCapabilities, NO_CAPABILITIES } from '../mcp/capabilities.ts';
import { MODERN_VERSIONS } from '../mcp/revision.ts';
import { findSession } from '../sessions/session-step.ts';
import { meetModern } from './modern-client.ts';

export const meetClient: Step<World> = {
  name: 'meet client',
  needs: ['namespace', 'principal'],
  gives: ['session', 'client'],
  run(exchange, world): StepResult {
    return isModern(exchange) ? meetModern(exchange) : meetLegacy(exchange, world);
  },
};

/**
 * A claim in `_meta` makes a message modern, however malformed; so does the header, because a client that names a modern
 * version there and forgets the rest wants to hear of it (MCP 2026-07-28, "Versioning").
 */
function isModern({ envelope, head }: Exchange): boolean {
  if (envelope?.meta?.claimsModern === true) return true;
  return MODERN_VERSIONS.includes(head.header('mcp-protocol-version') ?? '');
}

function meetLegacy(exchange: Exchange, world: World): StepResult {
  if (exchange.isBatch === true && exchange.head.header('mcp-session-id') === undefined) {
    return refuse(problems.batch(ONE_MESSAGE));
  }
  const refused = findSession.run(exchange, world) as StepResult;
  if (refused !== undefined) return refused;
  const { session } = exchange;
  // JSON-RPC batches came with 2025-03-26 and went with 2025-06-18.
  if (exchange.isBatch === true && (session?.protocolVersion !== '2025-03-26' || !world.relay)) {
    return refuse(problems.batch(ONE_MESSAGE));
  }
  exchange.client = session === undefined ? STRANGER : clientOf(session);
  return undefined;
}

/** Sessions are remembered as objects, so each is worked out once. */
const clients = new WeakMap<Session, ClientHop>();

function clientOf(session: Session): ClientHop {
  let client = clients.get(session);
  if (client === undefined) {
    const { protocolVersion, clientName } = session;
    const capabilities = clientCapabilities(session.capabilities);
    client = { era: 'legacy', protocolVersion, capabilities, clientName, logLevel: undefined };
    clients.set(session, client);
  }
  return client;
}

/** Before there is a session. */
const STRANGER: ClientHop = {
  era: 'legacy',
  protocolVersion: '',
  capabilities: NO_CAPABILITIES,
  clientName: '',
  logLevel: undefined,
};

const ONE_MESSAGE = 'JSON-RPC batches are not accepted; send one message per request';
