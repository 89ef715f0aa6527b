/** A call within a call: what the caller itself would have sent to call the tool that a rule asks. */
import type { Exchange, RequestHead } from '../../exchange/exchange.ts';
import { NO_CAPABILITIES } from '../../mcp/capabilities.ts';
import { parseEnvelope } from '../../mcp/envelope.ts';
import { type JsonObject, jsonText } from '../../mcp/exact-json.ts';
import { LATEST_MODERN, META } from '../../mcp/revision.ts';
import { decide } from '../../policy/decide.ts';
import { clientInfo } from '../../routing/client-name.ts';
import { eraTowards } from '../../snapshot/era.ts';

/**
 * The exchange of such a call, with whatever policy says of it: of the caller, in every respect, but that a modern client
 * says it can do nothing, so that no upstream asks the user something on behalf of a rule. (What a legacy client can do,
 * its session with the upstream has said, and keeps.) Throws EnvelopeError.
 */
export function innerCall(outer: Exchange, wireName: string, args: JsonObject): Exchange {
  const { client, namespace, persona } = outer;
  if (client === undefined) throw new Error('a call within a call without a client');
  const found = namespace?.tools.get(wireName);
  // In the upstream's own era, so that nothing has to be translated.
  const era = found === undefined ? client.era : eraTowards(found.connection, client.era);
  const upstreamName = found?.item.name ?? wireName;
  const params = {
    name: upstreamName,
    arguments: args,
    ...(era === 'modern' && {
      _meta: {
        [META.protocolVersion]: LATEST_MODERN,
        ...(client.clientName !== '' && { [META.clientInfo]: { ...clientInfo(client.clientName) } }),
        [META.clientCapabilities]: {},
      },
    }),
  };
  const body = Buffer.from(`{"jsonrpc":"2.0","id":"sp","method":"tools/call","params":${jsonText(params)}}`);
  const inner: Exchange = {
    head: withoutParams(outer.head),
    requestId: outer.requestId,
    at: Date.now(),
    snapshot: outer.snapshot,
    persona,
    session: outer.session,
    client: {
      ...client,
      era,
      capabilities: outer.session === undefined ? NO_CAPABILITIES : client.capabilities,
      logLevel: undefined,
    },
    body,
    envelope: parseEnvelope(body),
  };
  if (outer.tenant !== undefined) inner.tenant = outer.tenant;
  if (namespace !== undefined) inner.namespace = namespace;
  if (outer.principal !== undefined) inner.principal = outer.principal;
  if (found === undefined) return inner;
  const { connection, item } = found;
  inner.connection = connection;
  inner.target = { connection, kind: 'tool', wireName, upstreamName, item, edits: [] };
  inner.decision = decide(persona, wireName, connection.name);
  return inner;
}

/** The caller's own `Mcp-Param-*` headers are about the arguments of its own call. */
const withoutParams = (head: RequestHead): RequestHead => ({
  ...head,
  header: (name) => head.header(name),
  names: head.names.filter((name) => !name.startsWith('mcp-param-')),
});
