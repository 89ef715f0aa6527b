/** For whom a session with an upstream is kept: who shares it, and what the upstream is told about its client. */
import { createHash } from 'node:crypto';
import type { ClientHop, Principal, Session, SessionOwner } from '../exchange/exchange.ts';
import type { Connection } from '../snapshot/snapshot.ts';
import { SESSION_LIFETIME_MS } from './session-id.ts';

/**
 * A legacy client's session has one of its own. Modern clients have no sessions: one per principal, for each set of
 * capabilities and log level, because an upstream may only rely on what this request's client declared.
 */
export function ownerOf(
  connection: Connection,
  client: ClientHop,
  session: Session | undefined,
  principal: Principal,
  now: number,
): SessionOwner {
  if (connection.session === 'pooled') {
    const expiresAt = now + SESSION_LIFETIME_MS;
    return { key: 'pooled', sessionId: null, expiresAt, capabilities: '{}', clientName: '', logLevel: undefined };
  }
  if (session !== undefined) {
    let own = owners.get(session);
    if (own === undefined) {
      own = ownOwner(session, client);
      owners.set(session, own);
    }
    return own;
  }
  const capabilities = askable(client);
  const parts = [principal.tenant, principal.binding, capabilities, client.logLevel ?? ''];
  return {
    key: createHash('sha256').update(JSON.stringify(parts)).digest('base64url'),
    sessionId: null,
    expiresAt: now + SESSION_LIFETIME_MS,
    capabilities,
    clientName: client.clientName,
    logLevel: client.logLevel,
  };
}

/** Sessions are remembered as objects, so each is worked out once. */
const owners = new WeakMap<Session, SessionOwner>();

function ownOwner({ id, expiresAt, clientName }: Session, { capabilities }: ClientHop): SessionOwner {
  const declared = relayed(capabilities.text);
  return { key: id, sessionId: id, expiresAt, capabilities: declared, clientName, logLevel: undefined };
}

/** Everything but tasks on the client's side: those would be asked about on a stream nobody follows. */
function relayed(text: string): string {
  if (!text.includes('"tasks"')) return text;
  const { tasks: _, ...rest } = JSON.parse(text) as Record<string, unknown>;
  return JSON.stringify(rest);
}

/** The few sets that make a difference to an upstream, so that a client cannot make any number of sessions. */
function askable({ capabilities }: ClientHop): string {
  const { answers, elicitsForm, elicitsUrl, samplesWithTools } = capabilities;
  return JSON.stringify({
    ...(answers.has('elicitation/create') && {
      elicitation: { ...(elicitsForm && { form: {} }), ...(elicitsUrl && { url: {} }) },
    }),
    ...(answers.has('sampling/createMessage') && { sampling: samplesWithTools ? { tools: {} } : {} }),
    ...(answers.has('roots/list') && { roots: {} }),
  });
}
