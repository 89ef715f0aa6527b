/** Requests of HTTP+SSE clients as the steps see them: who calls, and which namespace they mean. */
import { runSteps } from '../../data-plane/pipeline.ts';
import type { Exchange, Principal } from '../../exchange/exchange.ts';
import { type Problem, problems } from '../../exchange/problem.ts';
import { identify } from '../../identity/identify.ts';
import { findEndpoint } from '../../routing/endpoint.ts';
import { exchangeOf, record } from '../arrival.ts';
import { sendProblem } from '../refusal.ts';
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

/** Runs the steps that come before any body. Refuses, records that, and gives undefined where one of them does. */
export async function arrive(
  request: RelayRequest,
  response: RelayResponse,
  world: RelayWorld,
): Promise<Arrival | undefined> {
  const snapshot = world.snapshot();
  if (snapshot === undefined) {
    sendProblem(response, problems.starting());
    return undefined;
  }
  const paths = pathsOf(request.url);
  const plain = exchangeOf(request, snapshot);
  // The endpoint is the namespace's; what follows it in the path is this transport's.
  const exchange: Exchange = { ...plain, head: { ...plain.head, path: paths?.mcp ?? plain.head.path } };
  const result = await runSteps([findEndpoint, identify], exchange, world);
  const { principal, tenant, namespace } = exchange;
  if (result?.kind === 'refuse') {
    refuse(exchange, response, world, result.problem);
    return undefined;
  }
  if (paths === undefined || principal === undefined || tenant === undefined || namespace === undefined) {
    refuse(exchange, response, world, problems.notFound(exchange.head.path.slice(0, 100)));
    return undefined;
  }
  return { exchange, principal, tenant: tenant.id, namespace: namespace.name, paths };
}

/** A refusal of the relay's own leaves a row; what the front door refuses has one there. */
export function refuse(exchange: Exchange, response: RelayResponse, world: RelayWorld, problem: Problem): void {
  exchange.problem = problem;
  const bytesOut = sendProblem(response, problem);
  record(exchange, world, { verdict: problem.verdict, reason: problem.reason, httpStatus: problem.status, bytesOut });
}
