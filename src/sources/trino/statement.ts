/**
 * One statement by Trino's client protocol: POST it, then GET the answer's `nextUri` until there is none. Whatever ends
 * it early — the asker, the time, enough rows, nonsense — is told to Trino by DELETE, so that nothing goes on running there.
 * https://trino.io/docs/current/develop/client-protocol.html
 */
import { setTimeout as wait } from 'node:timers/promises';
import { isObject, type Json, type JsonObject, parseJson } from '../../mcp/exact-json.ts';
import { type Answer, assertPlain, type HttpClient, type Sent } from '../http-client.ts';
import { SourceError } from '../source.ts';
import { badAnswer, queryError, statusError } from './errors.ts';

export interface Run {
  readonly statement: string;
  /** Values of a call are written into it. */
  readonly hasValues: boolean;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  /** By `performance.now()`: nothing is tried again after it. */
  readonly deadline: number;
}

/** One answer of the protocol. */
export interface Page {
  readonly headers: Answer['headers'];
  /** Undefined until Trino knows them. */
  readonly columns: Json | undefined;
  readonly data: readonly Json[];
}

/** Work at Trino that nobody waits for. */
export type InBackground = (work: Promise<unknown>) => void;

const MAX_CANCEL_MS = 5000;
/** Trino holds a request back while it has nothing to say; after so many empty answers in a row we do. */
const PATIENT_PAGES = 50;

/** Leaving the loop over the pages cancels what is left. Throws SourceError, or the signal's reason. */
export async function* pagesOf(coordinator: HttpClient, run: Run, inBackground: InBackground): AsyncGenerator<Page> {
  const { headers, signal } = run;
  let next: string | undefined;
  try {
    let answer = await persist(coordinator, run, {
      method: 'POST',
      path: '/v1/statement',
      headers,
      body: run.statement,
      signal,
    });
    for (let empty = 0; ; ) {
      const body = bodyOf(answer);
      next = pathOf(body.nextUri);
      if (body.error !== undefined && body.error !== null) throw queryError(body.error, run.hasValues);
      const data = body.data ?? [];
      if (!Array.isArray(data)) throw badAnswer('rows that are no list');
      yield { headers: answer.headers, columns: body.columns ?? undefined, data };
      if (next === undefined) return;
      empty = data.length > 0 ? 0 : empty + 1;
      if (empty > PATIENT_PAGES) await pause(20, signal);
      answer = await persist(coordinator, run, { method: 'GET', path: next, headers, signal });
    }
  } finally {
    if (next !== undefined) inBackground(cancel(coordinator, next, headers));
  }
}

async function cancel(coordinator: HttpClient, path: string, headers: Run['headers']): Promise<void> {
  await coordinator.send({ method: 'DELETE', path, headers, signal: AbortSignal.timeout(MAX_CANCEL_MS) });
}

/** As the protocol wants it: 502, 503 and 504 again after 50 to 100 ms, 429 when it says. */
async function persist(coordinator: HttpClient, { deadline, signal }: Run, sent: Sent): Promise<Answer> {
  for (let tried = 0; ; tried++) {
    const answer = await coordinator.send(sent);
    const { status } = answer;
    if (status === 200) return answer;
    if (status !== 502 && status !== 503 && status !== 504 && status !== 429)
      throw statusError(status, answer.body.toString());
    const told = status === 429 ? Number(answer.headers['retry-after']) * 1000 : Number.NaN;
    const delay = Number.isFinite(told)
      ? Math.max(50, told)
      : Math.min(2000, (50 + 50 * Math.random()) * 2 ** Math.min(tried, 5));
    if (performance.now() + delay >= deadline) throw statusError(status, answer.body.toString());
    await pause(delay, signal);
  }
}

async function pause(delay: number, signal: AbortSignal): Promise<void> {
  await wait(delay, undefined, { signal }).catch(() => signal.throwIfAborted());
}

function bodyOf(answer: Answer): JsonObject {
  assertPlain('Trino', answer);
  let body: Json;
  try {
    body = parseJson(answer.body.toString());
  } catch (error) {
    throw new SourceError('bad answer', "what answers at Trino's URL sent no JSON: is the URL right?", {
      cause: error,
    });
  }
  if (!isObject(body)) throw badAnswer('JSON that is no answer of Trino');
  return body;
}

/**
 * Of `nextUri` only the path is followed, at the coordinator we know: whatever the answer says, nothing (and no credential) goes
 * elsewhere; and a coordinator behind a proxy that names itself wrongly works.
 */
function pathOf(nextUri: Json | undefined): string | undefined {
  if (nextUri === undefined || nextUri === null) return undefined;
  const url = typeof nextUri === 'string' && URL.canParse(nextUri) ? new URL(nextUri) : undefined;
  const at = url?.pathname.indexOf('/v1/statement/') ?? -1;
  if (url === undefined || at === -1) throw badAnswer('a nextUri that leads nowhere');
  return url.pathname.slice(at) + url.search;
}
