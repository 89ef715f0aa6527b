import { existsSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../package-root.ts';
import { type Bed, compare } from './comparison.ts';
import { measureEnrichment } from './enrichment.ts';
import { startLedger } from './ledger.ts';
import { type BenchOptions, parseBenchOptions, USAGE } from './options.ts';
import { startPrograms } from './programs.ts';
import { comparisonTable, enrichmentTable, soakTable } from './report.ts';
import { soak } from './soak.ts';
import { type Stack, startStack } from './stack.ts';
import { TOOL_COUNT } from './upstream.ts';

const UPSTREAM_TOKEN = 'upstream-token-of-the-benchmark';

/**
 * `npm run bench`: what the gateway costs. A stack of its own is started in a temporary directory; the same load goes
 * to the upstream directly and through the gateway by turns, because on a shared machine only figures of the same
 * minute can be compared. Returns the exit code: 1 when a single call failed, 2 for a wrong command line.
 */
export async function runBench(argv: readonly string[], environment: NodeJS.ProcessEnv = process.env): Promise<number> {
  let options: BenchOptions;
  try {
    options = parseBenchOptions(argv);
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${USAGE}`);
    return 2;
  }
  if (options.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const started = performance.now();
  const progress = (line: string): void => {
    process.stderr.write(`[${((performance.now() - started) / 1000).toFixed(0).padStart(4)} s] ${line}\n`);
  };
  const upstreamAuthorization = `Bearer ${UPSTREAM_TOKEN}`;
  const programs = await startPrograms({
    // Orders are what only the upstream of our own answers.
    toolsDirectory: options.enrichment ? undefined : findTools(environment),
    cacheDirectory: join(packageRoot, '.cache'),
    authorization: upstreamAuthorization,
    progress,
  });
  let stack: Stack | undefined;
  const interruption = new AbortController();
  const interrupt = (): void => interruption.abort(new Error('it was interrupted.'));
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  try {
    progress('Starting the gateway…');
    stack = await startStack({
      command: [process.execPath, join(packageRoot, 'bin', 'sallyport.mjs')],
      environment: stackEnvironment(environment),
      upstreamUrl: programs.upstream.url,
      upstreamToken: UPSTREAM_TOKEN,
      toolCount: TOOL_COUNT,
      signal: interruption.signal,
      flags: [
        ...(options.workers === undefined ? [] : ['--workers', String(options.workers)]),
        ...(options.envoyConcurrency === undefined ? [] : ['--envoy-concurrency', String(options.envoyConcurrency)]),
      ],
    });
    const bed: Bed = {
      load: programs.load,
      upstream: programs.upstream,
      upstreamAuthorization,
      stack,
      progress,
      signal: interruption.signal,
    };
    const about = `${programs.kind} load generator and upstream, ${cpus().length} CPUs, Node ${process.versions.node}`;
    progress(about);
    if (options.enrichment) return await runEnrichment(bed, options, about);
    return options.leak > 0 ? await runSoak(bed, options, about) : await runComparison(bed, options, about);
  } catch (error) {
    process.stderr.write(`The benchmark stopped: ${(error as Error).message}\n`);
    return 1;
  } finally {
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
    await stack?.stop();
    programs.upstream.close();
  }
}

async function runComparison(bed: Bed, options: BenchOptions, about: string): Promise<number> {
  const comparison = await compare(bed, options);
  process.stdout.write(
    options.json ? `${JSON.stringify({ about, ...comparison })}\n` : `\n${about}\n\n${comparisonTable(comparison)}\n`,
  );
  return comparison.cells.some(({ direct, gateway }) => direct.errors + gateway.errors > 0) ? 1 : 0;
}

async function runEnrichment(bed: Bed, options: BenchOptions, about: string): Promise<number> {
  const ledger = await startLedger(bed.progress);
  try {
    const cells = await measureEnrichment(bed, ledger, options);
    process.stdout.write(
      options.json ? `${JSON.stringify({ about, cells })}\n` : `\n${about}\n\n${enrichmentTable(cells)}\n`,
    );
    return cells.some(({ side }) => side.errors > 0) ? 1 : 0;
  } finally {
    await ledger.stop();
  }
}

async function runSoak(bed: Bed, options: BenchOptions, about: string): Promise<number> {
  const result = await soak(bed, options.leak);
  process.stdout.write(
    options.json ? `${JSON.stringify({ about, ...result })}\n` : `\n${about}\n\n${soakTable(result)}\n`,
  );
  return result.errors > 0 ? 1 : 0;
}

/** Sources of faster programs: as told, else a folder beside the clone. */
function findTools(environment: NodeJS.ProcessEnv): string | undefined {
  const told = environment.SALLYPORT_BENCH_TOOLS;
  const beside = join(packageRoot, '..', 'shared', 'tools');
  return told ?? (existsSync(beside) ? beside : undefined);
}

/** The stack is the benchmark's own: never the database, the secrets or the settings of this shell. */
function stackEnvironment(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const kept = Object.entries(environment).filter(
    ([name]) => name !== 'DATABASE_URL' && !name.startsWith('SALLYPORT_'),
  );
  return { ...Object.fromEntries(kept), LOG_LEVEL: environment.LOG_LEVEL ?? 'warn' };
}
