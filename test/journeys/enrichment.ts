/** What journeys of enrichment share: a ledger in Postgres, a server of records, and a gateway between them. */
import pg from 'pg';
import type { Test } from 'tap';
import { eventually } from '../support/eventually.ts';
import { type Gateway, startGateway } from '../support/gateway.ts';
import { type Answer, openSession, type Session } from '../support/mcp.ts';
import { startPostgres } from '../support/postgres.ts';
import { type Behaviour, type ProgrammableUpstream, startUpstream } from '../support/upstream.ts';

/** A database of customers: `big` is a number that no double holds. */
export async function startLedger(t: Test): Promise<{ url: string; run(sql: string): Promise<pg.QueryResult> }> {
  const server = await startPostgres();
  const url = await server.createDatabase({ migrated: false });
  const pool = new pg.Pool({ connectionString: url, max: 2 });
  t.teardown(async () => {
    await pool.end();
    await server.stop();
  });
  await pool.query(`
    create table accounts (id int primary key, tier text not null, owner text not null, big int8 not null);
    insert into accounts select n, 'tier ' || n % 3, 'owner-' || n, 9007199254740993 + n from generate_series(1, 2000) n;
    create table owners (name text primary key, mail text not null);
    insert into owners select 'owner-' || n, 'owner-' || n || '@example.com' from generate_series(1, 2000) n;
  `);
  return { url, run: (sql) => pool.query(sql) };
}

/** The result of a tool, as JSON text, so that a test can look for its bytes. */
export type Results = Record<string, string>;

const OPEN = { type: 'object' };

/** A server whose tools answer exactly what the test says. */
export async function startRecords(
  t: Test,
  results: Results,
  options: Partial<Behaviour> & { readonly schemas?: Readonly<Record<string, unknown>> } = {},
): Promise<ProgrammableUpstream> {
  const { schemas = {}, ...behaviour } = options;
  return startUpstream(t, {
    tools: Object.keys(results).map((name) => ({
      name,
      description: `Answers ${name}.`,
      inputSchema: OPEN,
      ...(name in schemas && { outputSchema: schemas[name] }),
    })),
    onCall({ message }, response) {
      const result = results[message.params?.name ?? ''];
      if (result === undefined) return false;
      const body = `{"jsonrpc":"2.0","id":${JSON.stringify(message.id)},"result":${result}}`;
      if (behaviour.sse === true) {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        const progress =
          '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"working"}}';
        response.end(`data: ${progress}\n\ndata: ${body}\n\n`);
      } else response.writeHead(200, { 'content-type': 'application/json' }).end(body);
      return true;
    },
    ...behaviour,
  });
}

export interface Stage {
  readonly gateway: Gateway;
  readonly session: Session;
  /** Waits until the rules that there should be are in force: stores them by the admin API. */
  rule(body: Record<string, unknown>): Promise<void>;
  /** The newest audit row of a tool, once it is there. */
  auditOf(tool: string, where?: (row: AuditRow) => boolean): Promise<AuditRow>;
}

export interface AuditRow {
  readonly id: string;
  readonly tool: string;
  readonly verdict: string;
  readonly reason: string | null;
  readonly result: unknown;
  readonly enrichment:
    | { rule: string; outcome: string; rows?: number; reason?: string; ms: number; [key: string]: unknown }[]
    | null;
}

/** A gateway with these connections and sources, and a session that may do everything. */
export async function startStage(
  t: Test,
  connections: Readonly<Record<string, { readonly url: string }>>,
  sources: Readonly<Record<string, Record<string, unknown>>>,
  settings: Record<string, unknown> = {},
): Promise<Stage> {
  const gateway = await startGateway(t, { config: JSON.stringify(settings) });
  for (const [name, { url }] of Object.entries(connections)) {
    const { status, json } = await gateway.admin('POST', 'connections', { name, url });
    t.equal(status, 201, JSON.stringify(json));
  }
  for (const [name, source] of Object.entries(sources)) {
    const { status, json } = await gateway.admin('POST', 'sources', { name, ...source });
    t.equal(status, 201, JSON.stringify(json));
  }
  for (const name of Object.keys(connections)) await gateway.ready(name);
  const session = await openSession(gateway.mcpUrl, gateway.key);
  await eventually(async () => {
    const names = await session.tools();
    return Object.keys(connections).every((name) => names.some((tool) => tool.startsWith(`${name}__`)));
  });
  return {
    gateway,
    session,
    async rule(body) {
      const { status, json } = await gateway.admin<{ detail?: string }>('PUT', `rules/${body.name}`, body);
      t.ok(status === 200 || status === 201, JSON.stringify(json));
      await eventually(() => isServed(gateway));
    },
    auditOf: (tool, where = () => true) =>
      eventually(async () => {
        const { json } = await gateway.admin<{ items: AuditRow[] }>('GET', `audit/events?tool=${tool}&limit=20`);
        return json.items.find(where);
      }),
  };
}

/** Whether every processor serves the newest revision. */
async function isServed(gateway: Gateway): Promise<boolean> {
  const { json } = await gateway.admin<{
    revision: { newest: number };
    processors: { role: string; revision: number }[];
  }>('GET', 'xds?resources=false');
  return json.processors.every(({ role, revision }) => role !== 'processor' || revision >= json.revision.newest);
}

export const structured = ({ json }: Answer): Record<string, unknown> =>
  (json.result?.structuredContent ?? {}) as Record<string, unknown>;

export const texts = ({ json }: Answer): string[] =>
  ((json.result?.content ?? []) as { text?: string }[]).map(({ text = '' }) => text);
