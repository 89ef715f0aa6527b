/** `sallyport audit …`: what was called, by whom, and what was decided. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { Option } from 'commander';
import { wholeNumber } from './arguments.ts';
import { CommandFailed } from './failure.ts';
import type { Session } from './session.ts';
import { sessionOf } from './session.ts';
import { cellText, shorten, table } from './table.ts';

interface AuditItem {
  readonly id: string;
  readonly at: string;
  readonly verdict: string;
  readonly principal: string | null;
  readonly persona: string | null;
  readonly method: string | null;
  readonly tool: string | null;
  readonly namespace: string | null;
  readonly rule: string | null;
  readonly pattern: string | null;
  readonly reason: string | null;
  readonly durationUs: number | null;
}

type Filters = Readonly<Record<string, string | number | undefined>>;

const VERDICTS = ['allowed', 'denied', 'limited', 'blocked', 'failed'];
const POLL_MS = 1000;
const PAGE = 200;

export function auditCommands(program: Command): void {
  const command = program.command('audit').description('what was called, by whom, and what was decided');

  withFilters(command.command('list').description('list events, the newest first'))
    .option('--until <time>', 'only events before this moment')
    .option('--limit <number>', 'at most so many', wholeNumber(1, 500), 50)
    .action(async (options: Filters, self: Command) => {
      const session = sessionOf(self);
      const page = await session.rest.get<{ items: AuditItem[]; nextCursor?: string }>('/audit/events', options);
      session.print(page, () => (page.items.length === 0 ? 'No events.' : table(HEADINGS, page.items.map(cells))));
    });

  withFilters(command.command('tail').description('print events as they happen, until Ctrl-C'))
    .option('--lines <number>', 'begin with so many past events', wholeNumber(0, 200), 10)
    .action((options: Filters, self: Command) => tail(sessionOf(self), options));
}

function withFilters(command: Command): Command {
  return command
    .option('--method <name>', 'only this JSON-RPC method')
    .addOption(new Option('--verdict <verdict>', 'only this verdict').choices(VERDICTS))
    .option('--tool <name>', 'only this tool')
    .option('--principal <name>', 'only this caller')
    .option('--persona <name>', 'only this persona')
    .option('--connection <name>', 'only this connection')
    .option('--namespace <name>', 'only this namespace')
    .option('--since <time>', 'only events since this moment, or so long ago: 15m, 2026-11-21T10:00:00Z');
}

/** Rows of several replicas arrive out of order within a second or two, so each look goes back a little. */
const OVERLAP_MS = 5000;

async function tail(session: Session, { lines, ...filters }: Filters): Promise<void> {
  const seen = new Map<string, number>();
  let newest: number | undefined;
  for (let first = true; ; first = false) {
    const since = newest === undefined ? filters.since : new Date(newest - OVERLAP_MS).toISOString();
    const query = { ...filters, since, limit: PAGE };
    const events = first ? await newestPage(session, query) : await laterEvents(session, query);
    const fresh = events.reverse().filter(({ id }) => !seen.has(id));
    for (const { id, at } of fresh) {
      seen.set(id, Date.parse(at));
      newest = Math.max(newest ?? 0, Date.parse(at));
    }
    const wanted = first ? fresh.slice(Math.max(0, fresh.length - Number(lines))) : fresh;
    for (const event of wanted) process.stdout.write(`${session.options.json ? JSON.stringify(event) : line(event)}\n`);
    for (const [id, at] of seen) if (at < (newest ?? 0) - OVERLAP_MS) seen.delete(id);
    await sleep(POLL_MS);
  }
}

async function newestPage(session: Session, query: Filters): Promise<AuditItem[]> {
  return (await session.rest.get<{ items: AuditItem[] }>('/audit/events', query)).items;
}

/** A control plane that restarts does not end the tail. */
async function laterEvents(session: Session, query: Filters): Promise<AuditItem[]> {
  try {
    return await session.rest.all<AuditItem>('/audit/events', query);
  } catch (error) {
    if (!(error instanceof CommandFailed)) throw error;
    session.note(error.message);
    return [];
  }
}

const HEADINGS = ['TIME', 'VERDICT', 'PRINCIPAL', 'PERSONA', 'METHOD', 'TOOL', 'MS', 'RULE'];

function cells(event: AuditItem): unknown[] {
  const { at, verdict, principal, persona, method, tool, durationUs, rule, pattern, reason } = event;
  const why = pattern === null ? (rule ?? reason) : `${rule ?? ''} ${pattern}`.trim();
  const ms = durationUs === null ? null : (durationUs / 1000).toFixed(1);
  return [at.replace('T', ' ').slice(0, 23), verdict, principal, persona, method, tool, ms, shorten(why ?? '', 80)];
}

/** The widths are fixed: a tail cannot know what is still to come. */
function line(event: AuditItem): string {
  const widths = [23, 7, 16, 12, 25, 32, 8];
  return cells(event)
    .map((cell, column) => cellText(cell).padEnd(widths[column] ?? 0))
    .join('  ')
    .trimEnd();
}
