import { parseArgs } from 'node:util';

/** The three things measured; each is one JSON-RPC method. */
export const METHODS = ['tools/call', 'tools/list', 'initialize'] as const;
export type Method = (typeof METHODS)[number];

export interface BenchOptions {
  readonly help: boolean;
  readonly json: boolean;
  /** Measured seconds of each method, number of connections and side (direct, gateway), over all rounds. */
  readonly seconds: number;
  /** Direct and gateway take turns this many times. */
  readonly rounds: number;
  readonly connections: readonly number[];
  readonly only: readonly Method[];
  /** Calls of the soak; 0 = the comparison is run instead. */
  readonly leak: number;
  /** What enrichment rules add is measured instead. */
  readonly enrichment: boolean;
  readonly workers?: number;
  readonly envoyConcurrency?: number;
}

export const USAGE = `Usage: npm run bench -- [options]

Measures an upstream directly and through the gateway, taking turns in one run.

  --duration 6s           measured time of each method, number of connections and side
  --rounds 2              turns that direct and gateway take within that time
  --connections 1,16,64   parallel connections
  --only tools/call,…     of ${METHODS.join(', ')}
  --leak N                instead: N tools/call through the gateway at 16 connections, memory and sockets on the way
  --enrichment            instead: tools/call with and without enrichment rules, through the gateway alone
  --workers N             processor workers
  --envoy-concurrency N   Envoy worker threads
  --json                  one JSON object on stdout; progress stays on stderr
`;

/** Reads the command line of the benchmark; throws an Error whose message is for the person who typed it. */
export function parseBenchOptions(argv: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      help: { type: 'boolean', short: 'h' },
      json: { type: 'boolean' },
      duration: { type: 'string', default: '6s' },
      rounds: { type: 'string', default: '2' },
      connections: { type: 'string', default: '1,16,64' },
      only: { type: 'string', default: METHODS.join(',') },
      leak: { type: 'string', default: '0' },
      enrichment: { type: 'boolean' },
      workers: { type: 'string' },
      'envoy-concurrency': { type: 'string' },
    },
  });
  return {
    help: values.help ?? false,
    json: values.json ?? false,
    seconds: seconds(values.duration),
    rounds: whole('--rounds', values.rounds, 1),
    connections: values.connections.split(',').map((text) => whole('--connections', text, 1)),
    only: values.only.split(',').map(method),
    leak: whole('--leak', values.leak, 0),
    enrichment: values.enrichment ?? false,
    ...(values.workers !== undefined && { workers: whole('--workers', values.workers, 1) }),
    ...(values['envoy-concurrency'] !== undefined && {
      envoyConcurrency: whole('--envoy-concurrency', values['envoy-concurrency'], 1),
    }),
  };
}

function whole(flag: string, text: string, least: number): number {
  const value = Number(text.trim());
  if (!Number.isInteger(value) || value < least) {
    throw new Error(`${flag} takes whole numbers from ${least}, not "${text}".`);
  }
  return value;
}

function seconds(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m)?$/.exec(text);
  const value = match ? Number(match[1]) * { ms: 0.001, s: 1, m: 60 }[(match[2] ?? 's') as 'ms' | 's' | 'm'] : 0;
  if (value <= 0) throw new Error(`--duration takes a time such as 500ms, 6s or 1m, not "${text}".`);
  return value;
}

function method(text: string): Method {
  const found = METHODS.find((known) => known === text.trim());
  if (!found) throw new Error(`--only knows ${METHODS.join(', ')}, not "${text}".`);
  return found;
}
