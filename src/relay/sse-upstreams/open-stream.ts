/** The stream of an HTTP+SSE upstream: a GET, whose first event names where messages go (MCP 2024-11-05, "HTTP with SSE"). */
import { type Egress, EgressError, type EgressResponse } from '../../egress/egress.ts';
import { type NamedEvent, namedEvents } from '../../egress/named-events.ts';
import { type Problem, problems } from '../../exchange/problem.ts';
import type { Connection } from '../../snapshot/snapshot.ts';
import { isEventStream } from '../upstream/read-events.ts';
import { problemOf, unreached } from './upstream-problems.ts';

export interface SseStream {
  /** `:path` of where messages are sent. */
  readonly endpoint: string;
  /** What the upstream says from now on; ends or throws when the stream does. */
  readonly messages: AsyncGenerator<Buffer>;
  close(): void;
}

export interface OpenStreamOptions {
  readonly egress: Egress;
  readonly connection: Connection;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** For the stream and its endpoint. Milliseconds. */
  readonly withinMs: number;
  /** Nobody waits for it any more. */
  readonly signal: AbortSignal;
}

export async function openStream(options: OpenStreamOptions): Promise<SseStream | Problem> {
  const { connection, withinMs, signal } = options;
  const stop = new AbortController();
  const give = (): void => stop.abort();
  let isLate = false;
  const late = setTimeout(() => {
    isLate = true;
    stop.abort();
  }, withinMs);
  signal.addEventListener('abort', give, { once: true });
  if (signal.aborted) give();
  try {
    const answer = await get(options, stop.signal);
    const problem = refusalOf(connection, answer);
    if (problem !== undefined) {
      answer.body.resume();
      return problem;
    }
    const events = namedEvents(answer.body);
    const endpoint = endpointFor(connection, await firstEndpoint(events));
    if (typeof endpoint === 'string') return { endpoint, messages: messagesOf(events), close: () => stop.abort() };
    stop.abort();
    return endpoint;
  } catch (error) {
    stop.abort();
    if (isLate) return silent(connection, withinMs);
    return unreached(connection, error);
  } finally {
    clearTimeout(late);
    signal.removeEventListener('abort', give);
  }
}

function get({ egress, connection, path, headers }: OpenStreamOptions, signal: AbortSignal): Promise<EgressResponse> {
  return egress.send(connection, {
    method: 'GET',
    path,
    headers: { ...headers, accept: 'text/event-stream', 'cache-control': 'no-cache' },
    signal,
    stream: true,
    raw: true,
  });
}

function refusalOf(connection: Connection, answer: EgressResponse): Problem | undefined {
  const problem = problemOf(connection, answer);
  if (problem !== undefined) return problem;
  if ((answer.headers['content-encoding'] ?? 'identity') !== 'identity') {
    return problems.upstreamError(connection.name, 'it compressed its event stream, which nobody asked for');
  }
  return isEventStream(answer.headers)
    ? undefined
    : problems.upstreamError(connection.name, 'it answered the GET for its event stream with something else');
}

async function firstEndpoint(events: AsyncGenerator<NamedEvent>): Promise<string> {
  // Not `for await`: leaving that would end the stream.
  for (let next = await events.next(); next.done !== true; next = await events.next()) {
    if (next.value.name === 'endpoint') return next.value.data.toString('utf8').trim();
  }
  throw new EgressError('its event stream ended before it named an endpoint');
}

async function* messagesOf(events: AsyncGenerator<NamedEvent>): AsyncGenerator<Buffer> {
  for await (const { name, data } of events) if (name === 'message') yield data;
}

/**
 * The upstream says where the caller's messages and the credential go, so it can only name a place of its own: the
 * connection's origin.
 */
function endpointFor(connection: Connection, named: string): string | Problem {
  const refuse = (why: string): Problem => problems.upstreamError(connection.name, why);
  if (!URL.canParse(named, connection.url.href)) return refuse('the endpoint that it names is no URL');
  const url = new URL(named, connection.url);
  if (url.origin !== connection.url.origin) {
    return refuse(`the endpoint that it names is not on ${connection.url.origin}, where this connection leads`);
  }
  const path = `${url.pathname}${url.search}`;
  const { query } = connection.injection;
  // A key that travels in the query is asked for with each request.
  return query === undefined || path.includes(query) ? path : `${path}${url.search === '' ? '?' : '&'}${query}`;
}

const silent = ({ name }: Connection, withinMs: number): Problem =>
  problems.unavailable(name, `did not open its event stream within ${Math.round(withinMs / 100) / 10} s`, AGAIN);

const AGAIN = 'Other tools still work; try this one again in a few seconds.';
