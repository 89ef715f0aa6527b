import type { Load, LoadResult, LoadSpec } from './load.ts';
import type { BenchOptions, Method } from './options.ts';
import { memoryMiB, processTree } from './processes.ts';
import type { Stack } from './stack.ts';
import { TOOL_COUNT } from './upstream.ts';

/** One side of one cell: latencies in microseconds. */
export interface Side {
  readonly requests: number;
  readonly errors: number;
  readonly errorTexts: Readonly<Record<string, number>>;
  readonly perSecond: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  /** CPU microseconds per call of each role; `upstream` on both sides. */
  readonly cpuPerCall: Readonly<Record<string, number>>;
}

/** One method at one number of connections. */
export interface Cell {
  readonly method: Method;
  readonly connections: number;
  readonly direct: Side;
  readonly gateway: Side;
  /** Gateway divided by direct. */
  readonly ratio: { readonly perSecond: number; readonly p50: number; readonly p99: number };
  /** Microseconds added at p50. */
  readonly addedP50: number;
}

/** Everything a run found. Memory in MiB by role. */
export interface Comparison {
  readonly cells: readonly Cell[];
  readonly memory: { readonly before: Record<string, number>; readonly after: Record<string, number> };
}

export interface Bed {
  readonly load: Load;
  readonly upstream: { readonly url: string; readonly pid: number };
  readonly upstreamAuthorization: string;
  readonly stack: Stack;
  readonly progress: (line: string) => void;
  /** Ends the run between two loads. */
  readonly signal: AbortSignal;
}

/** Measures each method at each number of connections, direct and through the gateway taking turns. */
export async function compare(bed: Bed, options: BenchOptions): Promise<Comparison> {
  await warmUp(bed, options);
  const before = memoryByRole(bed.stack.pid);
  const cells: Cell[] = [];
  for (const method of options.only) {
    for (const connections of options.connections) {
      const cell = await measure(bed, method, connections, options);
      bed.progress(
        `${method} at ${connections}: direct ${Math.round(cell.direct.perSecond)}/s, ` +
          `gateway ${Math.round(cell.gateway.perSecond)}/s, ${cell.direct.errors + cell.gateway.errors} errors`,
      );
      cells.push(cell);
    }
  }
  return { cells, memory: { before, after: memoryByRole(bed.stack.pid) } };
}

/** Both sides once at load, unmeasured: else the first line of the table would show compilers at work. */
async function warmUp(bed: Bed, options: BenchOptions): Promise<void> {
  const { stack, upstream } = bed;
  const common = { connections: 16, toolCount: TOOL_COUNT, seconds: 2, warmupSeconds: 0, pids: [] };
  for (const method of options.only) {
    bed.signal.throwIfAborted();
    await bed.load({ ...common, method, url: stack.mcpUrl, authorization: stack.authorization, tool: stack.tool });
    await bed.load({ ...common, method, url: upstream.url, authorization: bed.upstreamAuthorization, tool: 'echo' });
  }
}

async function measure(bed: Bed, method: Method, connections: number, options: BenchOptions): Promise<Cell> {
  const { stack, upstream } = bed;
  const common = {
    method,
    connections,
    toolCount: TOOL_COUNT,
    seconds: options.seconds / options.rounds,
  };
  const directSpec = { ...common, url: upstream.url, authorization: bed.upstreamAuthorization, tool: 'echo' };
  const gatewaySpec = { ...common, url: stack.mcpUrl, authorization: stack.authorization, tool: stack.tool };
  const roles = new Map<number, string>([[upstream.pid, 'upstream']]);
  const direct: LoadResult[] = [];
  const gateway: LoadResult[] = [];
  for (let round = 0; round < options.rounds; round++) {
    // New connections and sessions each time.
    const warmupSeconds = 0.3;
    const run = (spec: Omit<LoadSpec, 'pids' | 'warmupSeconds'>): Promise<LoadResult> => {
      bed.signal.throwIfAborted();
      for (const { pid, role } of processTree(stack.pid)) roles.set(pid, role);
      const alive = processTree(stack.pid).map(({ pid }) => pid);
      return bed.load({ ...spec, warmupSeconds, pids: [upstream.pid, ...alive] });
    };
    direct.push(await run(directSpec));
    gateway.push(await run(gatewaySpec));
  }
  const sides = {
    direct: summarise(direct, new Map([[upstream.pid, 'upstream']])),
    gateway: summarise(gateway, roles),
  };
  return {
    method,
    connections,
    ...sides,
    ratio: {
      perSecond: sides.gateway.perSecond / sides.direct.perSecond,
      p50: sides.gateway.p50 / sides.direct.p50,
      p99: sides.gateway.p99 / sides.direct.p99,
    },
    addedP50: sides.gateway.p50 - sides.direct.p50,
  };
}

/** Rounds in one: sums, and percentiles as means weighted by requests. */
export function summarise(results: readonly LoadResult[], roles: ReadonlyMap<number, string>): Side {
  const requests = sum(results.map((one) => one.requests));
  const mean = (pick: (one: LoadResult) => number): number =>
    requests ? sum(results.map((one) => pick(one) * one.requests)) / requests : 0;
  const cpuPerCall: Record<string, number> = {};
  const errorTexts: Record<string, number> = {};
  for (const one of results) {
    for (const [pid, seconds] of one.cpuSeconds) {
      const role = roles.get(pid);
      if (role && requests) cpuPerCall[role] = (cpuPerCall[role] ?? 0) + (seconds * 1e6) / requests;
    }
    for (const [text, count] of Object.entries(one.errorTexts)) errorTexts[text] = (errorTexts[text] ?? 0) + count;
  }
  return {
    requests,
    errors: sum(results.map((one) => one.errors)),
    errorTexts,
    perSecond: requests / sum(results.map((one) => one.seconds)),
    p50: mean((one) => one.latency.p50),
    p95: mean((one) => one.latency.p95),
    p99: mean((one) => one.latency.p99),
    cpuPerCall,
  };
}

/** Resident memory of the stack by role, MiB. */
export function memoryByRole(root: number): Record<string, number> {
  const memory: Record<string, number> = {};
  for (const one of processTree(root)) memory[one.role] = (memory[one.role] ?? 0) + memoryMiB(one);
  return memory;
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
