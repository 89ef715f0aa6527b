/** The admin API from the command line: one function per verb, and failures as sentences. */
import { CommandFailed } from './failure.ts';

/** Where the admin API is and what opens it. */
export interface ServerAddress {
  readonly url: string;
  readonly token: string | undefined;
  /** What to do when the token is missing, for the error. */
  readonly tokenHint: string;
}

export type Query = Readonly<Record<string, string | number | undefined>>;

export interface Rest {
  get<T>(path: string, query?: Query): Promise<T>;
  /** The answer as text, for what is not JSON or must keep its numbers. */
  getText(path: string, query?: Query): Promise<string>;
  post<T>(path: string, body?: unknown, timeoutMs?: number): Promise<T>;
  /** JSON text both ways, byte for byte: parsing would round integers beyond 2^53. */
  postText(path: string, json: string, timeoutMs?: number): Promise<string>;
  put<T>(path: string, body: unknown): Promise<T>;
  patch<T>(path: string, body: unknown): Promise<T>;
  delete(path: string): Promise<void>;
  /** Every item of a list, page by page. */
  all<T>(path: string, query?: Query): Promise<T[]>;
}

/** What the API says when it refuses (RFC 9457). */
export interface ProblemDetails {
  readonly title?: string;
  readonly status?: number;
  readonly detail?: string;
  readonly errors?: readonly { readonly path: string; readonly message: string }[];
}

/** The API answered, with a refusal. */
export class Refused extends CommandFailed {
  readonly status: number;
  readonly problem: ProblemDetails;

  constructor(status: number, problem: ProblemDetails, message: string) {
    super(message);
    this.status = status;
    this.problem = problem;
  }
}

const TIMEOUT_MS = 30_000;

/** A client of one admin API. */
export function restClient(address: ServerAddress): Rest {
  const text = (method: string, path: string, query?: Query, body?: string, timeoutMs = TIMEOUT_MS) =>
    send(address, { method, path: `/api/v1${path}${queryText(query)}`, body, timeoutMs });
  const json = async <T>(
    method: string,
    path: string,
    query?: Query,
    body?: unknown,
    timeoutMs?: number,
  ): Promise<T> => {
    const answer = await text(method, path, query, body === undefined ? undefined : JSON.stringify(body), timeoutMs);
    try {
      return (answer === '' ? undefined : JSON.parse(answer)) as T;
    } catch {
      throw new CommandFailed(`${address.url} answers, but not as Sallyport's admin API does. Is --server right?`);
    }
  };
  return {
    get: (path, query) => json('GET', path, query),
    getText: (path, query) => text('GET', path, query),
    post: (path, body = {}, timeoutMs) => json('POST', path, undefined, body, timeoutMs),
    postText: (path, body, timeoutMs) => text('POST', path, undefined, body, timeoutMs),
    put: (path, body) => json('PUT', path, undefined, body),
    patch: (path, body) => json('PATCH', path, undefined, body),
    delete: async (path) => {
      await text('DELETE', path);
    },
    async all<T>(path: string, query?: Query) {
      const items: T[] = [];
      let cursor: string | undefined;
      do {
        const page: { items: T[]; nextCursor?: string | null } = await json('GET', path, { ...query, cursor });
        items.push(...page.items);
        cursor = page.nextCursor ?? undefined;
      } while (cursor !== undefined);
      return items;
    },
  };
}

function queryText(query: Query = {}): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) parameters.set(name, String(value));
  return parameters.size === 0 ? '' : `?${parameters}`;
}

interface Request {
  readonly method: string;
  readonly path: string;
  readonly body: string | undefined;
  readonly timeoutMs: number;
}

async function send(address: ServerAddress, { method, path, body, timeoutMs }: Request): Promise<string> {
  const { url, token } = address;
  let response: Response;
  let text: string;
  try {
    response = await fetch(new URL(path, url), {
      method,
      headers: {
        accept: 'application/json, application/yaml, application/problem+json',
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body }),
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutMs),
    });
    text = await response.text();
  } catch (error) {
    throw new CommandFailed(unreachable(url, error, timeoutMs));
  }
  if (response.ok) return text;
  throw refusal(address, response.status, text);
}

function unreachable(url: string, error: unknown, timeoutMs: number): string {
  const { name, message, cause } = error as Error & { cause?: { code?: string; message?: string } };
  if (name === 'TimeoutError') return `${url} did not answer within ${timeoutMs / 1000} s.`;
  const why = cause?.code ?? cause?.message ?? message;
  if (why === 'ECONNREFUSED') {
    return `Cannot reach ${url}: nothing listens there. Is the gateway running? Start it with "npm start" (or "sallyport up"), or say where it is with --server URL.`;
  }
  return `Cannot reach ${url}: ${why}. Say where the gateway's admin API is with --server URL.`;
}

function refusal(address: ServerAddress, status: number, text: string): Refused {
  let problem: ProblemDetails = {};
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === 'object' && parsed !== null) problem = parsed;
  } catch {
    // Not from Sallyport, or cut off: the status has to do.
  }
  if (status === 401) {
    const what = address.token === undefined ? 'needs its admin token' : 'does not accept this admin token';
    return new Refused(status, problem, `${address.url} ${what}. ${address.tokenHint}`);
  }
  return new Refused(status, problem, problemSentences(problem, status));
}

/** A refusal as sentences: each error with its path, or else what the API said about the whole. */
export function problemSentences({ title, detail, errors = [] }: ProblemDetails, status: number): string {
  if (errors.length === 0) return detail ?? title ?? `The gateway answered with HTTP status ${status}.`;
  const lines = errors.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`));
  return [`${title ?? 'Refused'}:`, ...lines.map((line) => `  ${line}`)].join('\n');
}
