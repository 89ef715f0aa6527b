/**
 * A transaction in which Trino's engine refuses to write (READ_ONLY_VIOLATION). One for each statement: a statement that fails ends
 * its transaction for all others in it, and one kept open would go on seeing what it saw at first.
 */
import type { HttpClient } from '../http-client.ts';
import { SourceError } from '../source.ts';
import { type InBackground, pagesOf, type Run } from './statement.ts';

const MAX_ROLLBACK_MS = 5000;

/** `use` gets the run within the transaction. Its end is told to Trino without waiting for it. */
export async function inReadOnlyTransaction<T>(
  coordinator: HttpClient,
  run: Run,
  inBackground: InBackground,
  use: (within: Run) => Promise<T>,
): Promise<T> {
  const id = await start(coordinator, run, inBackground);
  const transaction = { 'x-trino-transaction-id': id };
  try {
    return await use({ ...run, headers: { ...run.headers, ...transaction } });
  } finally {
    // Without the session's properties: a bad one among them would keep the transaction from ending.
    inBackground(rollback(coordinator, transaction, inBackground));
  }
}

async function start(coordinator: HttpClient, run: Run, inBackground: InBackground): Promise<string> {
  const statement = 'START TRANSACTION READ ONLY';
  const headers = { 'x-trino-transaction-id': 'NONE' };
  let id: string | string[] | undefined;
  for await (const page of pagesOf(coordinator, { ...run, statement, hasValues: false, headers }, inBackground)) {
    id ??= page.headers['x-trino-started-transaction-id'];
  }
  // Without it the statement would run outside, where it could write.
  if (typeof id !== 'string' || !/^[0-9A-Za-z-]{1,100}$/.test(id))
    throw new SourceError('bad answer', "what answers at Trino's URL starts no read-only transaction");
  return id;
}

async function rollback(coordinator: HttpClient, headers: Run['headers'], inBackground: InBackground): Promise<void> {
  const run = {
    statement: 'ROLLBACK',
    hasValues: false,
    headers,
    signal: AbortSignal.timeout(MAX_ROLLBACK_MS),
    deadline: performance.now() + MAX_ROLLBACK_MS,
  };
  for await (const _ of pagesOf(coordinator, run, inBackground));
}
