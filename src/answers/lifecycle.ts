/** Step: what the gateway answers by itself, from the view: no upstream is contacted, nothing is serialised twice. */
import type { World } from '../data-plane/world.ts';
import { type Answer, answerJson, type Exchange, refuse, type Step, type StepResult } from '../exchange/exchange.ts';
import { problems } from '../exchange/problem.ts';
import { idText } from '../mcp/envelope.ts';
import { negotiate } from '../mcp/revision.ts';
import { listTools } from './tools-list.ts';

export const answerAtEdge: Step<World> = {
  name: 'answer at the edge',
  needs: ['namespace', 'principal', 'envelope'],
  gives: [],
  run(exchange, world): StepResult {
    const { envelope } = exchange;
    if (envelope === undefined) return undefined;
    // Notifications and responses expect no answer (MCP transports: 202, no body).
    if (envelope.kind !== 'request') return ACCEPTED;
    switch (envelope.method) {
      case 'tools/call':
        return undefined;
      case 'tools/list':
        return listTools(exchange, world);
      case 'initialize':
        return initialize(exchange, world);
      case 'ping':
        return answerJson([Buffer.from(`{"jsonrpc":"2.0","id":${idText(envelope)},"result":{}}`)]);
      default:
        return refuse(problems.unknownMethod(envelope.method.slice(0, 100)));
    }
  },
};

const ACCEPTED: Answer = { kind: 'answer', status: 202, headers: [], body: [] };

/** MCP lifecycle: negotiates the version and opens a session, whose id travels in the Mcp-Session-Id header. */
function initialize(exchange: Exchange, world: World): StepResult {
  const { envelope, principal, namespace, tenant } = exchange;
  if (envelope?.protocolVersion === undefined)
    return refuse(problems.badParams('initialize needs params.protocolVersion'));
  if (principal === undefined || namespace === undefined || tenant === undefined)
    throw new Error('initialize before identify');
  const protocolVersion = negotiate(envelope.protocolVersion);
  const { session, header } = world.sessionIds.mint({
    tenant: tenant.id,
    namespace: namespace.name,
    binding: principal.binding,
    protocolVersion,
    clientName: clientName(exchange),
    capabilities: '{}',
  });
  exchange.session = session;
  const result = {
    protocolVersion,
    capabilities: { tools: {} },
    serverInfo: { name: 'sallyport', title: 'Sallyport', version: world.version },
  };
  const body = Buffer.from(`{"jsonrpc":"2.0","id":${idText(envelope)},"result":${JSON.stringify(result)}}`);
  return answerJson([body], [['mcp-session-id', header]]);
}

/** `name/version` for the audit; the client says it, so it is bounded and nothing is decided by it. */
function clientName({ envelope }: Exchange): string {
  if (envelope?.clientInfo === undefined) return '';
  const { start, end } = envelope.clientInfo;
  const info = JSON.parse(envelope.bytes.toString('utf8', start, end)) as { name?: unknown; version?: unknown } | null;
  const { name, version } = info ?? {};
  const text = [name, version].filter((part): part is string => typeof part === 'string').join('/');
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 64);
}
