/** Requests of HTTP+SSE clients as the steps see them: who calls, and which namespace they mean. */
import type { Exchange, Principal } from '../../exchange/exchange.ts';
import { problems } from '../../exchange/problem.ts';
import { identify } from '../../identity/identify.ts';
import { findEndpoint } from '../../routing/endpoint.ts';
import { arrive, refuse } from '../arrival.ts';
import type { RelayRequest, RelayResponse, RelayWorld } from '../world.ts';

export interface Arrival {
  readonly exchange: Exchange;
  readonly principal: Principal;
  readonly tenant: string;
  readonly namespace: string;
  /** Of the streamable HTTP endpoint and of the two that this client uses, for its namespace. */
  readonly paths: Paths;
}

export interface Paths {
  readonly kind: 'sse' | 'messages';
  readonly mcp: string;
  readonly messages: string;
}

/** `/sse` and `/messages` are the namespace `default`; others are under their namespace's name. */
function pathsOf(url: string): Paths | undefined {
  const found = /^(\/[A-Za-z0-9_.-]+)?\/(sse|messages)$/.exec(url.split('?', 1)[0] as string);
  if (found === null) return undefined;
  const [, base = '', kind] = found;
  return { kind: kind as Paths['kind'], mcp: `${base}/mcp`, messages: `${base}/messages` };
}

/** Runs the steps that come before any body; undefined: refused. */
export async function arriveAt(
  request: RelayRequest,
  response: RelayResponse,
  world: RelayWorld,
): Promise<Arrival | undefined> {
  const paths = pathsOf(request.url);
  // The endpoint is the namespace's; what follows it in the path is this transport's.
  const exchange = await arrive(request, response, world, [findEndpoint, identify], paths?.mcp);
  if (exchange === undefined) return undefined;
  const { principal, tenant, namespace } = exchange;
  if (paths === undefined || principal === undefined || tenant === undefined || namespace === undefined) {
    refuse(exchange, response, world, problems.notFound(exchange.head.path.slice(0, 100)));
    return undefined;
  }
  return { exchange, principal, tenant: tenant.id, namespace: namespace.name, paths };
}
