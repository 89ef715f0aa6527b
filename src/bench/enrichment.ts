import type { Bed, Side } from './comparison.ts';
import { summarise } from './comparison.ts';
import type { Ledger } from './ledger.ts';
import type { LoadResult } from './load.ts';
import type { BenchOptions } from './options.ts';
import { processTree } from './processes.ts';
import { TOOL_COUNT } from './upstream.ts';

/** Rules that do not apply, for the rows that show what those cost. */
const RULE_COUNT = 500;

/** What one row measures: calls of one tool of the upstream under one configuration. */
interface Case {
  readonly name: string;
  readonly tool: string;
  readonly isWithRules: boolean;
  /** Every answer must hold it. */
  readonly expect?: string;
  /** The row that this one is compared with. */
  readonly against?: string;
}

const NO_RULES = 'no rules';
const OTHER_TOOLS = `${RULE_COUNT} rules for other tools`;
const LIST = '1000 elements, no rule for the tool';
/** Follows the order's own keys in the structured content. */
const ADDED = '"account":{"tier"';

const CASES: readonly Case[] = [
  { name: NO_RULES, tool: 'order_plain', isWithRules: false },
  { name: OTHER_TOOLS, tool: 'order_plain', isWithRules: true, against: NO_RULES },
  { name: `${RULE_COUNT} rules, no \`when\` holds`, tool: 'order_when', isWithRules: true, against: OTHER_TOOLS },
  { name: 'one rule, cached', tool: 'order_cached', isWithRules: true, expect: ADDED, against: OTHER_TOOLS },
  { name: 'one rule, asks Postgres', tool: 'order_asked', isWithRules: true, expect: ADDED, against: OTHER_TOOLS },
  { name: LIST, tool: 'orders_plain', isWithRules: true },
  { name: '1000 elements, one query', tool: 'orders_asked', isWithRules: true, expect: ADDED, against: LIST },
];

/** One row at one number of connections. */
export interface EnrichmentCell {
  readonly name: string;
  readonly connections: number;
  readonly side: Side;
  /** Microseconds more at p50 than the row it is compared with, and CPU of the processor for each call. */
  readonly added?: { readonly against: string; readonly p50: number; readonly processor: number };
}

/**
 * Measures calls with and without rules by turns: each round first without any, then with all of them stored. All rows
 * of a round are of the same few seconds.
 */
export async function measureEnrichment(
  bed: Bed,
  ledger: Ledger,
  options: BenchOptions,
): Promise<readonly EnrichmentCell[]> {
  const results = new Map<string, LoadResult[]>();
  const roles = new Map<number, string>([[bed.upstream.pid, 'upstream']]);
  for (let round = -1; round < options.rounds; round++) {
    for (const isWithRules of [false, true]) {
      await configure(bed, ledger, isWithRules);
      for (const one of CASES.filter((one) => one.isWithRules === isWithRules)) {
        for (const connections of options.connections) {
          // The first round is for compilers and caches.
          const seconds = round < 0 ? 1 : options.seconds / options.rounds;
          const result = await load(bed, ledger, roles, one, { connections, seconds });
          if (round >= 0) append(results, key(one.name, connections), result);
        }
      }
    }
    bed.progress(round < 0 ? 'Warm.' : `Round ${round + 1} of ${options.rounds} is done.`);
  }
  const sides = new Map([...results].map(([name, parts]) => [name, summarise(parts, roles)]));
  return options.connections.flatMap((connections) =>
    CASES.flatMap(({ name, against }) => {
      const side = sides.get(key(name, connections));
      const base = against === undefined ? undefined : sides.get(key(against, connections));
      if (side === undefined) return [];
      return [{ name, connections, side, ...(against !== undefined && base && { added: added(against, side, base) }) }];
    }),
  );
}

function added(against: string, side: Side, base: Side): NonNullable<EnrichmentCell['added']> {
  const processor = (side.cpuPerCall.processor ?? 0) - (base.cpuPerCall.processor ?? 0);
  return { against, p50: side.p50 - base.p50, processor };
}

const key = (name: string, connections: number): string => `${connections} ${name}`;

function append<Value>(lists: Map<string, Value[]>, name: string, value: Value): void {
  const list = lists.get(name);
  if (list === undefined) lists.set(name, [value]);
  else list.push(value);
}

function load(
  bed: Bed,
  ledger: Ledger,
  roles: Map<number, string>,
  { tool, expect }: Pick<Case, 'tool' | 'expect'>,
  amount: { readonly connections: number; readonly seconds: number; readonly calls?: number },
): Promise<LoadResult> {
  bed.signal.throwIfAborted();
  for (const { pid, role } of processTree(bed.stack.pid)) roles.set(pid, role);
  for (const { pid } of processTree(ledger.pid)) roles.set(pid, 'source');
  return bed.load({
    url: bed.stack.mcpUrl,
    authorization: bed.stack.authorization,
    method: 'tools/call',
    tool: `bench__${tool}`,
    ...(expect !== undefined && { expect }),
    toolCount: TOOL_COUNT,
    warmupSeconds: amount.calls === undefined ? 0.3 : 0,
    pids: [...roles.keys()],
    ...amount,
  });
}

/** Writes the configuration and waits until a call shows that it is in force. */
async function configure(bed: Bed, ledger: Ledger, isWithRules: boolean): Promise<void> {
  bed.stack.configure(isWithRules ? { ...sources(ledger), enrichment: rules() } : {});
  const probe = { tool: 'order_cached', expect: ADDED };
  const deadline = Date.now() + 60_000;
  for (;;) {
    const { errors } = await load(bed, ledger, new Map(), probe, { connections: 1, seconds: 0, calls: 1 });
    if ((errors === 0) === isWithRules) return;
    if (Date.now() > deadline) throw new Error('The rules did not come into force.');
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

function sources(ledger: Ledger): object {
  return { sources: { ledger: { type: 'postgres', url: ledger.url, maxConcurrent: 8 } } };
}

function rules(): object[] {
  const merge = { path: 'account' };
  const one = {
    connection: 'bench',
    source: {
      use: 'ledger',
      query: 'select tier, owner from accounts where id = :id',
      bind: { id: '$.response.customer_id' },
    },
    merge,
  };
  const other = Array.from({ length: RULE_COUNT }, (_, index) => ({
    ...one,
    name: `other-${index}`,
    tool: `x_${index}_*`,
  }));
  const when = Array.from({ length: RULE_COUNT }, (_, index) => ({
    ...one,
    name: `when-${index}`,
    tool: 'order_when',
    when: { equals: { '$.response.kind': `kind-${index}` } },
  }));
  const elements = {
    ...one,
    name: 'elements',
    tool: 'orders_asked',
    forEach: '$.response.orders[*]',
    source: {
      use: 'ledger',
      query: 'select tier, owner, id from accounts where id in (:id)',
      bind: { id: '$.item.customer_id' },
    },
    maxBytes: '1MiB',
  };
  return [
    ...other,
    ...when,
    { ...one, name: 'cached', tool: 'order_cached', cache: '1h' },
    { ...one, name: 'asked', tool: 'order_asked' },
    elements,
  ];
}
