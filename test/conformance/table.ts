/** A run as text: a line for each leg and set, then what failed. */
import type { Checks, ScenarioResult } from './examine.ts';
import type { Row, Verdict } from './verdict.ts';

const REASON_WIDTH = 160;
const HEAD = ['leg', 'set', 'scored', 'also', 'checks', 'failed', 'warned', ''];

export function toTable(rows: readonly { readonly row: Row; readonly verdict: Verdict }[]): string {
  const lines = [HEAD, ...rows.map(({ row, verdict }) => toCells(row, verdict))];
  const widths = HEAD.map((_, column) => Math.max(...lines.map((cells) => cells[column]?.length ?? 0)));
  const table = lines.map((cells) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  const remarks = rows.flatMap(({ row, verdict }) => toRemarks(row, verdict));
  return `${[...table, ...(remarks.length > 0 ? ['', ...remarks] : [])].join('\n')}\n`;
}

function toCells({ leg, set, outcome }: Row, verdict: Verdict): string[] {
  const mark = verdict.holds ? 'ok' : 'FAILED';
  if (outcome instanceof Error) return [leg, set, '-', '-', '-', '-', '-', mark];
  const scored = outcome.filter(({ kind }) => kind === 'scored');
  const also = outcome.filter(({ kind }) => kind === 'also');
  const sum = (of: keyof Checks) => String(scored.reduce((total, { checks }) => total + checks[of], 0));
  return [
    leg,
    set,
    share(scored),
    also.length > 0 ? share(also) : '-',
    sum('passed'),
    sum('failed'),
    sum('warned'),
    mark,
  ];
}

const share = (scenarios: readonly ScenarioResult[]) =>
  `${scenarios.filter(({ passed }) => passed).length}/${scenarios.length}`;

function toRemarks({ leg, set }: Row, { failures, excused, stale }: Verdict): string[] {
  const remark = (word: string, scenario: string, why: string) =>
    `${word.padEnd(7)}  ${leg}  ${set}  ${scenario}: ${why}`;
  return [
    ...failures.map(({ scenario, reason }) => remark('FAILED', scenario, cut(reason))),
    ...stale.map(({ scenario }) => remark('STALE', scenario, 'it passes; remove its exception')),
    ...excused
      .filter(({ scenarios }) => scenarios.length > 0)
      .map(({ exception, scenarios }) =>
        remark('excused', `${exception.scenario} (${scenarios.length})`, exception.reason),
      ),
  ];
}

function cut(reason: string): string {
  const line = reason.replace(/\s+/g, ' ').trim();
  return line.length > REASON_WIDTH ? `${line.slice(0, REASON_WIDTH)}…` : line;
}
