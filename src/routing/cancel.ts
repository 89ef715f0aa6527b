/** Tells an upstream that its answer is not wanted any more. */
import type { World } from '../data-plane/world.ts';
import { tellUpstream } from '../egress/tell.ts';
import type { Exchange, UpstreamCall } from '../exchange/exchange.ts';
import { idText } from '../mcp/envelope.ts';

/**
 * Legacy upstreams take a notification on the session of the call (MCP cancellation). Modern ones take the end of the
 * stream, which is the caller's to bring about; so do those without sessions, that could not tell whose call is meant.
 */
export function cancelUpstream(exchange: Exchange, call: UpstreamCall, world: World, reason: string | undefined): void {
  const { connection, envelope } = exchange;
  if (connection === undefined || call.session === undefined || envelope?.method === 'initialize') return;
  const requestId = call.mintedId ?? idText(envelope);
  const told = reason === undefined ? '' : `,"reason":${JSON.stringify(reason)}`;
  const message = `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":${requestId}${told}}}`;
  void tellUpstream(world, connection, call.session, message);
}
