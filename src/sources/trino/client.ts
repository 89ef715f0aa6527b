/**
 * Trino as a source. Every statement runs in a read-only transaction of its own, in which the engine itself refuses to
 * write, whatever the scanner let through.
 */
import type { TrinoSource } from '../../config/document.ts';
import { isObject, type Json, jsonText, parseJson } from '../../mcp/exact-json.ts';
import { type HttpClient, openHttpClient } from '../http-client.ts';
import { type Asked, type SourceAnswer, type SourceClient, SourceError } from '../source.ts';
import { type ReadRow, rowReader } from './rows.ts';
import { connectionHeaders, credentialFault, sessionHeaders } from './session.ts';
import { type Page, pagesOf } from './statement.ts';
import type { TrinoRequest } from './template.ts';
import { inReadOnlyTransaction } from './transaction.ts';

/** Trino sends pages of about 1 MB; a single huge row makes a larger one, of which a rule keeps 4 MiB at most. Reading 8 takes half a second. */
const MAX_ANSWER_BYTES = 8 * 1024 * 1024;

type Asking = Pick<TrinoRequest, 'statement' | 'hasValues'>;

export function openTrino(config: TrinoSource): SourceClient {
  const url = new URL(config.url);
  const fault = credentialFault(config, url);
  const coordinator = openHttpClient({
    url,
    name: 'Trino',
    headers: connectionHeaders(config),
    tls: config.tls,
    maxBytes: MAX_ANSWER_BYTES,
    onlyReads: true,
  });
  const underWay = new Set<Promise<unknown>>();
  const inBackground = (work: Promise<unknown>): void => {
    // What ends work at Trino may fail: Trino ends by itself what nobody asks for any more.
    const settled = work.catch(() => {}).finally(() => underWay.delete(settled));
    underWay.add(settled);
  };

  const ask = async ({ statement, hasValues }: Asking, asked: Asked): Promise<SourceAnswer> => {
    if (fault !== undefined) throw new SourceError('refused', fault);
    const { signal, timeoutMs } = asked;
    const run = {
      statement,
      hasValues,
      signal,
      headers: sessionHeaders(config, timeoutMs),
      deadline: performance.now() + timeoutMs,
    };
    return inReadOnlyTransaction(coordinator, run, inBackground, (within) =>
      collect(pagesOf(coordinator, within, inBackground), asked),
    );
  };

  return {
    ask: (rendered, asked) => ask(rendered as TrinoRequest, asked),
    async test(signal) {
      try {
        const server = await serverOf(coordinator, signal);
        await ask(
          { statement: 'SELECT 1', hasValues: false },
          { signal, timeoutMs: 10_000, maxRows: 1, maxBytes: 1000 },
        );
        return { ok: true, server };
      } catch (error) {
        return { ok: false, error: (error as Error).message };
      }
    },
    async close() {
      await Promise.all(underWay);
      coordinator.close();
    },
  };
}

/** Reads on until there are more rows or bytes than wanted: only then it is known that something was left out. */
async function collect(pages: AsyncIterable<Page>, { maxRows, maxBytes }: Asked): Promise<SourceAnswer> {
  const rows: Json[] = [];
  let read: ReadRow | undefined;
  let bytes = 0;
  for await (const { columns, data } of pages) {
    if (columns !== undefined) read ??= rowReader(columns);
    for (const values of data) {
      if (read === undefined)
        throw new SourceError('bad answer', "what answers at Trino's URL sent rows without columns");
      if (rows.length === maxRows) return { rows, isTruncated: true };
      const row = read(values);
      bytes += Buffer.byteLength(jsonText(row)) + 1;
      if (bytes > maxBytes) {
        if (rows.length > 0) return { rows, isTruncated: true };
        throw new SourceError('too large', `the first row alone has more than ${maxBytes} bytes: select less`);
      }
      rows.push(row);
    }
  }
  return { rows, isTruncated: false };
}

/** `Trino 476`. */
async function serverOf(coordinator: HttpClient, signal: AbortSignal): Promise<string> {
  const { status, body } = await coordinator.send({ method: 'GET', path: '/v1/info', signal });
  const answer = status === 200 ? attempt(body.toString()) : undefined;
  const version = isObject(answer) && isObject(answer.nodeVersion) ? answer.nodeVersion.version : undefined;
  if (typeof version !== 'string')
    throw new SourceError(
      'bad answer',
      `there is no Trino at this URL: /v1/info answered ${status}, without a version`,
    );
  if (isObject(answer) && answer.starting === true) throw new SourceError('unavailable', 'Trino is still starting');
  return `Trino ${version.slice(0, 50)}`;
}

function attempt(text: string): Json | undefined {
  try {
    return parseJson(text);
  } catch {
    return undefined;
  }
}
