/** How a client learns what is here: `initialize` (legacy, opens a session) and `server/discover` (modern, opens none). */
import type { World } from '../data-plane/world.ts';
import { answerJson, type Exchange, refuse, type StepResult } from '../exchange/exchange.ts';
import { problems } from '../exchange/problem.ts';
import { idText } from '../mcp/envelope.ts';
import { MODERN_VERSIONS, negotiate } from '../mcp/revision.ts';
import { clientName } from '../routing/client-name.ts';
import type { Namespace } from '../snapshot/snapshot.ts';
import { keptCapabilities, offeredCapabilities } from './capabilities.ts';
import { gatewayInfo, modernFrame } from './modern-frame.ts';

/** MCP lifecycle: negotiates the version and opens a session, whose id travels in the Mcp-Session-Id header. */
export function initialize(exchange: Exchange, world: World): StepResult {
  const { envelope, principal, namespace, tenant } = exchange;
  if (envelope?.protocolVersion === undefined || envelope.params === undefined)
    return refuse(problems.badParams('initialize needs params.protocolVersion'));
  if (principal === undefined || namespace === undefined || tenant === undefined)
    throw new Error('initialize before identify');
  const protocolVersion = negotiate(envelope.protocolVersion);
  const { bytes, clientInfo } = envelope;
  const { session, header } = world.sessionIds.mint({
    tenant: tenant.id,
    namespace: namespace.name,
    binding: principal.binding,
    protocolVersion,
    clientName: clientInfo === undefined ? '' : clientName(bytes.toString('utf8', clientInfo.start, clientInfo.end)),
    capabilities: keptCapabilities(bytes, envelope.params.start),
  });
  exchange.session = session;
  const result = {
    protocolVersion,
    capabilities: offeredCapabilities(namespace.connections, 'legacy', world.relay),
    serverInfo: gatewayInfo(world.version),
    ...instructionsOf(namespace),
  };
  const body = Buffer.from(`{"jsonrpc":"2.0","id":${idText(envelope)},"result":${JSON.stringify(result)}}`);
  return answerJson([body], [['mcp-session-id', header]]);
}

/**
 * MCP 2026-07-28, "Discovery". Only modern versions are named: a client uses one of them for its next request, and legacy
 * ones begin with initialize.
 */
export function discover({ envelope, namespace }: Exchange, world: World): StepResult {
  if (namespace === undefined) throw new Error('server/discover before its endpoint is known');
  const { before, after } = modernFrame(namespace, world.version);
  const members = JSON.stringify({
    supportedVersions: MODERN_VERSIONS,
    capabilities: offeredCapabilities(namespace.connections, 'modern', world.relay),
    ...instructionsOf(namespace),
  }).slice(1, -1);
  return answerJson([Buffer.from(`{"jsonrpc":"2.0","id":${idText(envelope)},"result":{${before}${members}${after}}}`)]);
}

/** A server's words about itself hold for the namespace only where it is the whole of it. */
function instructionsOf({ connections }: Namespace): { instructions?: string } {
  const instructions = connections.length === 1 ? connections[0]?.catalog.instructions : undefined;
  return instructions === undefined ? {} : { instructions };
}
