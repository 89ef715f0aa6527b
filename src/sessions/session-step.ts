/** Step: the downstream session a message belongs to (MCP 2025-11-25 transports, "Session Management"). */
import type { World } from '../data-plane/world.ts';
import { type Exchange, refuse, type Step, type StepResult } from '../exchange/exchange.ts';
import { problems } from '../exchange/problem.ts';
import { LEGACY_VERSIONS } from '../mcp/revision.ts';

export const findSession: Step<World> = {
  name: 'find session',
  needs: ['namespace', 'principal'],
  gives: ['session'],
  run(exchange, world): StepResult {
    const header = exchange.head.header('mcp-session-id');
    const opening = exchange.envelope?.method === 'initialize';
    if (header === undefined || header === '') {
      // A ping may come before the session exists; everything else belongs to one.
      return opening || exchange.envelope?.method === 'ping' ? undefined : refuse(problems.sessionMissing());
    }
    const session = world.sessionIds.open(header);
    const wrong = session === undefined ? 'forged or foreign id' : reasonAgainst(session, exchange, world);
    // One answer for every reason: who does not own a session learns nothing about it.
    if (session === undefined || wrong !== undefined) return refuse(problems.sessionUnknown(wrong ?? ''));
    exchange.session = session;
    const version = exchange.head.header('mcp-protocol-version');
    if (version !== undefined && !LEGACY_VERSIONS.includes(version) && !opening) {
      return refuse(problems.protocolVersion(version.slice(0, 40), LEGACY_VERSIONS));
    }
    return undefined;
  },
};

function reasonAgainst(
  session: NonNullable<Exchange['session']>,
  exchange: Exchange,
  world: World,
): string | undefined {
  if (session.binding !== exchange.principal?.binding) return 'session of another principal';
  if (session.tenant !== exchange.tenant?.id || session.namespace !== exchange.namespace?.name)
    return 'session of another namespace';
  if (session.expiresAt <= exchange.at) return 'session expired';
  if (world.tombstones.has(session.id)) return 'session was ended';
  return undefined;
}
