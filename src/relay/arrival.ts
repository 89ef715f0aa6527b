/** A GET as the steps see it, and its row in the audit. */
import { randomUUID } from 'node:crypto';
import { auditRow } from '../audit/record.ts';
import type { Exchange, RequestHead } from '../exchange/exchange.ts';
import type { Verdict } from '../exchange/problem.ts';
import type { Snapshot } from '../snapshot/snapshot.ts';
import type { RelayRequest, RelayWorld } from './world.ts';

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
    }),
  );
  world.meters.exchange(exchange.head.method, ending.verdict, undefined, durationUs);
}
