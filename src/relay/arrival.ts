/** A client's own request as the steps see it, and its row in the audit. */
import { randomUUID } from 'node:crypto';
import { auditRow } from '../audit/record.ts';
import { runSteps } from '../data-plane/pipeline.ts';
import type { World } from '../data-plane/world.ts';
import type { Exchange, RequestHead, Step } from '../exchange/exchange.ts';
import { type Problem, problems, type Verdict } from '../exchange/problem.ts';
import type { Snapshot } from '../snapshot/snapshot.ts';
import { sendProblem } from './refusal.ts';
import type { RelayRequest, RelayResponse, RelayWorld } from './world.ts';

/** Runs the steps. Refuses, records that, and gives undefined where one of them does. `path`: that of the endpoint. */
export async function arrive(
  request: RelayRequest,
  response: RelayResponse,
  world: RelayWorld,
  steps: readonly Step<World>[],
  path = request.url,
): Promise<Exchange | undefined> {
  const snapshot = world.snapshot();
  if (snapshot === undefined) {
    sendProblem(response, problems.starting());
    return undefined;
  }
  const plain = exchangeOf(request, snapshot);
  const exchange: Exchange = { ...plain, head: { ...plain.head, path } };
  const result = await runSteps(steps, exchange, world);
  if (result?.kind !== 'refuse') return exchange;
  refuse(exchange, response, world, result.problem);
  return undefined;
}

/** A refusal of the relay's own leaves a row; what the front door refuses has one there. */
export function refuse(exchange: Exchange, response: RelayResponse, world: RelayWorld, problem: Problem): void {
  exchange.problem = problem;
  const bytesOut = sendProblem(response, problem);
  record(exchange, world, { verdict: problem.verdict, reason: problem.reason, httpStatus: problem.status, bytesOut });
}

/** What a stream remembers of its request for hours: enough to run the steps again. */
const KEPT = ['authorization', 'origin', 'mcp-session-id', 'mcp-protocol-version', 'traceparent'] as const;

export function exchangeOf(request: RelayRequest, snapshot: Snapshot): Exchange {
  const header = (name: string): string | undefined => {
    const value = request.headers[name];
    return typeof value === 'string' ? value : undefined;
  };
  return {
    head: {
      method: request.method,
      path: request.url,
      authority: request.authority,
      header,
      names: Object.keys(request.headers).filter((name) => !name.startsWith(':')),
      endOfStream: true,
    },
    requestId: header('x-request-id') ?? randomUUID(),
    at: Date.now(),
    snapshot,
  };
}

/** The head without the request behind it. */
export function keptHead(head: RequestHead): RequestHead {
  const kept = new Map<string, string>();
  for (const name of KEPT) {
    const value = head.header(name);
    if (value !== undefined) kept.set(name, value);
  }
  const { method, path, authority } = head;
  return { method, path, authority, header: (name) => kept.get(name), names: [...kept.keys()], endOfStream: true };
}

export interface StreamEnding {
  readonly verdict: Verdict;
  readonly reason?: string | undefined;
  readonly httpStatus: number;
  readonly bytesOut: number;
}

/** One row; what a processor sees has its row there. */
export function record(exchange: Exchange, world: RelayWorld, ending: StreamEnding): void {
  const durationUs = Math.max(0, Date.now() - exchange.at) * 1000;
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
      enrichment: undefined,
    }),
  );
  world.meters.exchange(exchange.head.method, ending.verdict, undefined, durationUs);
}
