/** Requests of HTTP+SSE clients as the steps see them: who calls, and which namespace they mean. */
import { randomUUID } from 'node:crypto';
import { auditRow } from '../../audit/record.ts';
import { runSteps } from '../../data-plane/pipeline.ts';
import type { Exchange, Principal } from '../../exchange/exchange.ts';
import { type Problem, problems } from '../../exchange/problem.ts';
import { identify } from '../../identity/identify.ts';
import { findEndpoint } from '../../routing/endpoint.ts';
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
  const header = (name: string): string | undefined => {
    const value = request.headers[name];
    return typeof value === 'string' ? value : undefined;
  };
  const exchange: Exchange = {
    head: {
      method: request.method,
      path: paths?.mcp ?? request.url,
      authority: request.authority,
      header,
      names: Object.keys(request.headers).filter((name) => !name.startsWith(':')),
      endOfStream: request.method === 'GET',
    },
    requestId: header('x-request-id') ?? randomUUID(),
    at: Date.now(),
    snapshot,
  };
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

export function record(
  exchange: Exchange,
  world: RelayWorld,
  ending: {
    readonly verdict: Problem['verdict'];
    readonly reason?: string | undefined;
    readonly httpStatus: number;
    readonly bytesOut: number;
  },
): void {
  const durationUs = (Date.now() - exchange.at) * 1000;
  world.audit.push(
    auditRow(exchange, {
      reason: undefined,
      ...ending,
      upstreamStatus: undefined,
      isError: undefined,
      durationUs,
      upstreamUs: undefined,
      processorUs: 0,
      result: undefined,
    }),
  );
  world.meters.exchange(exchange.head.method, ending.verdict, undefined, durationUs);
}
