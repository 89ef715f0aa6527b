import type { Cell, Comparison, Side } from './comparison.ts';
import type { EnrichmentCell } from './enrichment.ts';
import type { Soak } from './soak.ts';

/** Roles in the order in which a call meets them; what is not named here comes after. */
const ROLES = ['envoy', 'processor', 'control-plane', 'postgres', 'supervisor', 'upstream'];

/** The comparison as tables for people. */
export function comparisonTable(comparison: Comparison): string {
  const roles = rolesOf(comparison.cells.map(({ gateway }) => gateway.cpuPerCall));
  const latency = table(
    ['method', 'conns', 'side', 'calls/s', 'p50 ms', 'p95 ms', 'p99 ms', 'errors'],
    comparison.cells.flatMap((cell) => [
      speedRow(cell, 'direct', cell.direct),
      speedRow(cell, 'gateway', cell.gateway),
      [
        '',
        '',
        'ratio',
        cell.ratio.perSecond.toFixed(2),
        `${cell.ratio.p50.toFixed(2)} (+${milliseconds(cell.addedP50)})`,
        '',
        cell.ratio.p99.toFixed(2),
        '',
      ],
    ]),
  );
  const cpu = table(
    ['CPU µs per call', 'conns', 'envoy+processor', ...roles],
    comparison.cells.map(({ method, connections, gateway: { cpuPerCall } }) => [
      method,
      String(connections),
      String(Math.round((cpuPerCall.envoy ?? 0) + (cpuPerCall.processor ?? 0))),
      ...roles.map((role) => (cpuPerCall[role] === undefined ? '-' : String(Math.round(cpuPerCall[role])))),
    ]),
  );
  const { before, after } = comparison.memory;
  const memory = table(
    ['memory MiB', ...rolesOf([before, after])],
    (['before', 'after'] as const).map((when) => [
      when,
      ...rolesOf([before, after]).map((role) => (comparison.memory[when][role] ?? 0).toFixed(1)),
    ]),
  );
  const problems = comparison.cells.flatMap(({ method, connections, direct, gateway }) =>
    [direct, gateway].flatMap(({ errorTexts }) => errorLines(`${method} at ${connections}`, errorTexts)),
  );
  return [latency, cpu, memory, ...problems].join('\n');
}

/** Calls with rules; what is added is compared with the row that does the same without them. */
export function enrichmentTable(cells: readonly EnrichmentCell[]): string {
  const rows = cells.map(({ name, connections, side, added }) => [
    name,
    String(connections),
    Math.round(side.perSecond).toString(),
    ...[side.p50, side.p95, side.p99].map(milliseconds),
    added === undefined ? '' : signed(added.p50 / 1000, 2),
    ...['processor', 'envoy', 'source'].map((role) => Math.round(side.cpuPerCall[role] ?? 0).toString()),
    added === undefined ? '' : signed(added.processor, 0),
    String(side.errors),
  ]);
  const head = ['tools/call', 'conns', 'calls/s', 'p50 ms', 'p95 ms', 'p99 ms', 'p50 added'];
  const cpu = ['CPU µs processor', 'envoy', 'source', 'processor added', 'errors'];
  const compared = [
    ...new Set(cells.flatMap(({ name, added }) => (added ? [`"${name}" with "${added.against}"`] : []))),
  ];
  const problems = cells.flatMap(({ name, side }) => errorLines(name, side.errorTexts));
  return [table([...head, ...cpu], rows), `Added: ${compared.join(', ')}.`, ...problems].join('\n');
}

/** The soak as a table: growth is what a role gained since the sample at a quarter of the way. */
export function soakTable(soak: Soak): string {
  const roles = rolesOf(soak.samples.map(({ memory }) => memory));
  const settled = soak.samples[Math.floor(soak.samples.length / 4)];
  const last = soak.samples.at(-1);
  const rows = soak.samples.map(({ calls, memory, sockets }) => [
    String(calls),
    ...roles.map((role) => (memory[role] ?? 0).toFixed(1)),
    String(sockets),
  ]);
  const growth = [
    'since 25 %',
    ...roles.map((role) => signed((last?.memory[role] ?? 0) - (settled?.memory[role] ?? 0))),
    String((last?.sockets ?? 0) - (settled?.sockets ?? 0)),
  ];
  const lines = table(['calls', ...roles.map((role) => `${role} MiB`), 'sockets'], [...rows, growth]);
  return [lines, `${soak.errors} errors`, ...errorLines('soak', soak.errorTexts)].join('\n');
}

function speedRow(cell: Cell, name: string, side: Side): string[] {
  return [
    cell.method,
    String(cell.connections),
    name,
    Math.round(side.perSecond).toString(),
    ...[side.p50, side.p95, side.p99].map(milliseconds),
    String(side.errors),
  ];
}

function rolesOf(rows: readonly Readonly<Record<string, number>>[]): string[] {
  const found = new Set(rows.flatMap((row) => Object.keys(row)));
  return [...ROLES.filter((role) => found.delete(role)), ...found];
}

function errorLines(where: string, texts: Readonly<Record<string, number>>): string[] {
  return Object.entries(texts).map(([text, count]) => `error ×${count} in ${where}: ${text}`);
}

/** First column to the left, the others to the right. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  ')
      .trimEnd();
  return `${[line(head), widths.map((width) => '-'.repeat(width)).join('  '), ...rows.map(line)].join('\n')}\n`;
}

const milliseconds = (micros: number): string => (micros / 1000).toFixed(2);
const signed = (value: number, digits = 1): string => (value < 0 ? '' : '+') + value.toFixed(digits);
