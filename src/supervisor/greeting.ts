import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** What `up` tells programs, in `<data-dir>/up.json`. */
export interface UpReport {
  readonly mcpUrl: string;
  readonly adminUrl: string;
  /** The supervisor: its death ends everything. */
  readonly pid: number;
  /** Only when this start made it. */
  readonly firstKey?: string;
}

/** Written by renaming, so that whoever sees the file sees all of it. */
export function writeReport(dataDir: string, report: UpReport): void {
  const file = reportFile(dataDir);
  writeFileSync(`${file}.new`, `${JSON.stringify(report, null, 2)}\n`, { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

/** Removes the report, this process's or a dead one's. */
export function removeReport(dataDir: string): void {
  rmSync(reportFile(dataDir), { force: true });
}

function reportFile(dataDir: string): string {
  return join(dataDir, 'up.json');
}

/** What `up` tells people: addresses, secrets that are shown once, and what to paste into a client. */
export function greeting(
  report: UpReport,
  secrets: { readonly adminToken: string | undefined; readonly dataDir: string },
): string {
  const { mcpUrl, adminUrl, firstKey } = report;
  const authorization = `Bearer ${firstKey ?? 'YOUR_KEY'}`;
  const client = {
    mcpServers: { sallyport: { type: 'http', url: mcpUrl, headers: { Authorization: authorization } } },
  };
  const lines = ['', 'Sallyport is up.', '', `  MCP URL      ${mcpUrl}`, `  Admin URL    ${adminUrl}`];
  if (secrets.adminToken) {
    lines.push(`  Admin token  ${secrets.adminToken}   (kept in ${join(secrets.dataDir, 'admin-token')})`);
  }
  lines.push(
    firstKey
      ? `  API key      ${firstKey}   (shown once; "sallyport key create" makes more)`
      : '  API key      as configured, or made with "sallyport key create NAME --role ROLE"',
    '',
    'In Claude Code:',
    '',
    `  claude mcp add --transport http sallyport ${mcpUrl} --header "Authorization: ${authorization}"`,
    '',
    'In a client that reads mcpServers:',
    '',
    JSON.stringify(client, null, 2),
    '',
    'Ctrl-C stops it.',
    '',
  );
  return lines.join('\n');
}
