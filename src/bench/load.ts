import { HttpConnection } from './http-connection.ts';
import type { Method } from './options.ts';
import { cpuSeconds } from './processes.ts';

/** One measured run against one endpoint. */
export interface LoadSpec {
  readonly url: string;
  readonly authorization: string;
  readonly method: Method;
  /** The tool to call, by the name the endpoint lists it under. */
  readonly tool: string;
  /** Text that every answer of tools/call must hold, besides what was sent. */
  readonly expect?: string;
  /** Fewer tools in a tools/list answer are an error. */
  readonly toolCount: number;
  readonly connections: number;
  readonly warmupSeconds: number;
  /** The measured part ends after this time, or after `calls` when given. */
  readonly seconds: number;
  readonly calls?: number;
  /** Processes whose CPU time over the measured part is wanted. */
  readonly pids: readonly number[];
}

export interface LoadResult {
  readonly requests: number;
  readonly errors: number;
  readonly errorTexts: Readonly<Record<string, number>>;
  readonly seconds: number;
  /** Microseconds. */
  readonly latency: { readonly p50: number; readonly p95: number; readonly p99: number };
  /** By pid; a process that ended on the way is missing. */
  readonly cpuSeconds: ReadonlyMap<number, number>;
}

/** Something that puts load on an endpoint and checks every answer. */
export type Load = (spec: LoadSpec) => Promise<LoadResult>;

type Phase = 'warm-up' | 'measured' | 'over';

/** The load generator used where no other is at hand: closed loop, one session and one connection a worker. */
export const nodeLoad: Load = async (spec) => {
  const latencies: number[] = [];
  const errorTexts: Record<string, number> = {};
  let errors = 0;
  let phase: Phase = 'warm-up';
  const workers = Array.from({ length: spec.connections }, () => new LoadWorker(spec));
  try {
    if (spec.method !== 'initialize') await Promise.all(workers.map((worker) => worker.initialize()));
    const running = workers.map(async (worker) => {
      while (phase !== 'over') {
        const started = performance.now();
        const startedIn = phase;
        const problem = await worker.once().then(
          () => undefined,
          (error: Error) => error.message.slice(0, 200),
        );
        if (phase !== 'measured' || startedIn !== 'measured') continue;
        if (problem === undefined) latencies.push((performance.now() - started) * 1000);
        else {
          errors++;
          errorTexts[problem] = (errorTexts[problem] ?? 0) + 1;
        }
        if (spec.calls !== undefined && latencies.length + errors >= spec.calls) phase = 'over';
      }
    });
    await pause(spec.warmupSeconds * 1000);
    const before = readCpu(spec.pids);
    const started = performance.now();
    phase = 'measured';
    if (spec.calls === undefined) {
      await pause(spec.seconds * 1000);
      phase = 'over';
    } else await Promise.all(running);
    const seconds = (performance.now() - started) / 1000;
    const after = readCpu(spec.pids);
    await Promise.all(running);
    latencies.sort((a, b) => a - b);
    return {
      requests: latencies.length,
      errors,
      errorTexts,
      seconds,
      latency: { p50: percentile(latencies, 0.5), p95: percentile(latencies, 0.95), p99: percentile(latencies, 0.99) },
      cpuSeconds: new Map([...after].map(([pid, cpu]) => [pid, cpu - (before.get(pid) ?? cpu)])),
    };
  } finally {
    for (const worker of workers) worker.close();
  }
};

class LoadWorker {
  private readonly spec: LoadSpec;
  private readonly connection: HttpConnection;
  private readonly plainHeaders: string;
  private headers: string;
  private lastId = 0;

  constructor(spec: LoadSpec) {
    this.spec = spec;
    this.connection = new HttpConnection(new URL(spec.url));
    this.plainHeaders =
      `authorization: ${spec.authorization}\r\naccept: application/json, text/event-stream\r\n` +
      'content-type: application/json\r\n';
    this.headers = this.plainHeaders;
  }

  async initialize(): Promise<void> {
    await this.initializeOnly();
    const body = '{"jsonrpc":"2.0","method":"notifications/initialized"}';
    const answer = await this.connection.send('POST', this.headers, body);
    if (answer.status !== 202) throw new Error(`notifications/initialized: HTTP ${answer.status}`);
  }

  async once(): Promise<void> {
    if (this.spec.method === 'initialize') return this.initializeOnly();
    const params =
      this.spec.method === 'tools/list'
        ? '{}'
        : `{"name":${JSON.stringify(this.spec.tool)},"arguments":{"text":"hello MCP"}}`;
    const { body } = await this.request(this.spec.method, params);
    if (this.spec.method === 'tools/call') {
      const { expect = 'hello MCP' } = this.spec;
      if (!body.includes('hello MCP') || !body.includes(expect)) throw new Error(`Wrong result: ${cut(body)}`);
    }
    if (this.spec.method === 'tools/list' && count(body, '"inputSchema"') < this.spec.toolCount) {
      throw new Error(`Fewer than ${this.spec.toolCount} tools were listed.`);
    }
  }

  close(): void {
    this.connection.close();
  }

  private async initializeOnly(): Promise<void> {
    this.headers = this.plainHeaders;
    const { sessionId } = await this.request(
      'initialize',
      '{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"sallyport-bench","version":"1"}}',
    );
    this.headers = `${this.plainHeaders}mcp-protocol-version: 2025-06-18\r\n`;
    if (sessionId) this.headers += `mcp-session-id: ${sessionId}\r\n`;
  }

  private async request(method: string, params: string): Promise<{ body: Buffer; sessionId: string | undefined }> {
    const id = ++this.lastId;
    const message = `{"jsonrpc":"2.0","id":${id},"method":"${method}","params":${params}}`;
    const answer = await this.connection.send('POST', this.headers, message);
    if (answer.status !== 200) throw new Error(`HTTP ${answer.status}: ${cut(answer.body)}`);
    if (!answer.body.includes(`"id":${id}`) || !answer.body.includes('"result"')) {
      throw new Error(`Not the answer to the request: ${cut(answer.body)}`);
    }
    if (answer.body.includes('"isError":true')) throw new Error(`Tool error: ${cut(answer.body)}`);
    return answer;
  }
}

function readCpu(pids: readonly number[]): Map<number, number> {
  const cpu = new Map<number, number>();
  for (const pid of pids) {
    const used = cpuSeconds(pid);
    if (used !== undefined) cpu.set(pid, used);
  }
  return cpu;
}

function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
}

function count(bytes: Buffer, text: string): number {
  let found = 0;
  for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text, at + text.length)) found++;
  return found;
}

const cut = (body: Buffer): string => body.subarray(0, 160).toString('utf8').trim();
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
