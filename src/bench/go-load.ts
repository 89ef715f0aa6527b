import { execFile } from 'node:child_process';
import type { Load, LoadResult, LoadSpec } from './load.ts';

/** The part of the Go load generator's `-json` output that is used here. */
interface Report {
  readonly requests: number;
  readonly errors: number;
  readonly seconds: number;
  readonly latency_us: { readonly p50: number; readonly p95: number; readonly p99: number };
  readonly procs: readonly { readonly name: string; readonly pid: number; readonly cpu_s: number }[];
  readonly error_text?: Readonly<Record<string, number>>;
}

/** Load from the Go program `binary`. It reads the CPU times itself, over exactly the measured part. */
export function goLoad(binary: string): Load {
  return (spec) =>
    new Promise((resolve, reject) => {
      execFile(binary, argumentsOf(spec), { maxBuffer: 1 << 24 }, (error, stdout, stderr) => {
        // It exits with 2 and a report when not one request succeeded.
        if (error && !stdout) reject(new Error(stderr.trim() || error.message));
        else resolve(resultOf(JSON.parse(stdout)));
      });
    });
}

function argumentsOf(spec: LoadSpec): string[] {
  return [
    '-json',
    ...['-url', spec.url, '-header', `Authorization=${spec.authorization}`, '-method', spec.method],
    ...['-c', String(spec.connections), '-warmup', `${spec.warmupSeconds}s`, '-d', `${spec.seconds}s`],
    ...(spec.calls === undefined ? [] : ['-n', String(spec.calls)]),
    ...(spec.method === 'tools/call' ? ['-tool', spec.tool] : []),
    ...(spec.method === 'tools/list' ? ['-min-tools', String(spec.toolCount)] : []),
    // initialize alone: neither the notification after it nor the DELETE is part of what is measured.
    ...(spec.method === 'initialize' ? ['-delete=false', '-no-initialized'] : []),
    ...['-pids', spec.pids.map((pid) => `p=${pid}`).join(',')],
  ];
}

function resultOf(report: Report): LoadResult {
  return {
    requests: report.requests,
    errors: report.errors,
    errorTexts: report.error_text ?? {},
    seconds: report.seconds,
    latency: report.latency_us,
    // A process that ended on the way shows as a negative difference.
    cpuSeconds: new Map(
      report.procs.filter((one) => one.name === 'p' && one.cpu_s >= 0).map((one) => [one.pid, one.cpu_s]),
    ),
  };
}
