/** Bare clients of both eras: every header and every member can be replaced or left out, and streams are read as they come. */
import { type Answer, post } from './mcp.ts';
import { VERSION } from './modern-upstream.ts';

const KEY = 'io.modelcontextprotocol/';

/** undefined leaves out. */
export interface Overrides {
  readonly id?: unknown;
  readonly meta?: Record<string, unknown>;
  readonly headers?: Record<string, string | undefined>;
}

/** A request that describes itself, and the headers that mirror it. */
export function modernRequest(
  method: string,
  params: Record<string, unknown> = {},
  { id = 1, meta = {}, headers = {} }: Overrides = {},
): { body: string; headers: Record<string, string> } {
  const _meta = {
    [`${KEY}protocolVersion`]: VERSION,
    [`${KEY}clientCapabilities`]: {},
    [`${KEY}clientInfo`]: { name: 'raw', version: '1' },
    ...meta,
  };
  const name = method === 'resources/read' ? params.uri : (params.name ?? params.taskId);
  const all: Record<string, string | undefined> = {
    'mcp-protocol-version': VERSION,
    'mcp-method': method,
    'mcp-name': typeof name === 'string' ? name : undefined,
    ...headers,
  };
  return {
    body: JSON.stringify({ jsonrpc: '2.0', id, method, params: { ...params, _meta } }),
    headers: Object.fromEntries(Object.entries(all).filter((one): one is [string, string] => one[1] !== undefined)),
  };
}

export function modernPost(
  url: string,
  key: string | undefined,
  method: string,
  params: Record<string, unknown> = {},
  overrides: Overrides = {},
): Promise<Answer> {
  const { body, headers } = modernRequest(method, params, overrides);
  return post(url, key, body, headers);
}

export interface StreamEvent {
  readonly id: string | undefined;
  /** The data as it came. */
  readonly data: string;
  readonly message: {
    id?: unknown;
    method?: string;
    params?: Record<string, unknown>;
    result?: Record<string, unknown>;
    error?: { code: number; message: string; data?: unknown };
  };
  /** performance.now() when its last byte had come. */
  readonly at: number;
}

export interface EventStream {
  readonly status: number;
  readonly headers: Headers;
  /** The next event with data; undefined when the stream is over. Fails after `withinMs`. */
  next(withinMs?: number): Promise<StreamEvent | undefined>;
  /** All that is still to come. */
  rest(withinMs?: number): Promise<StreamEvent[]>;
  /** Hangs up. */
  close(): void;
}

/** POSTs (or, without a body, GETs) and reads the answer event by event; a JSON answer is one event. */
export async function openEvents(
  url: string,
  key: string,
  body: string | undefined,
  headers: Record<string, string> = {},
): Promise<EventStream> {
  const hangUp = new AbortController();
  const response = await fetch(url, {
    method: body === undefined ? 'GET' : 'POST',
    headers: {
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      accept: body === undefined ? 'text/event-stream' : 'application/json, text/event-stream',
      authorization: `Bearer ${key}`,
      ...headers,
    },
    signal: hangUp.signal,
    ...(body === undefined ? {} : { body }),
  });
  const isStream = response.headers.get('content-type')?.startsWith('text/event-stream') === true;
  const reader = (response.body as ReadableStream<Uint8Array> | null)?.getReader();
  let text = '';
  /** Up to here there is no end of an event: long ones are not searched again and again. */
  let searched = 0;
  let isOver = reader === undefined;
  const ready: StreamEvent[] = [];

  const take = (data: string, id?: string): void => {
    ready.push({ id, data, message: JSON.parse(data) as StreamEvent['message'], at: performance.now() });
  };
  const cut = (): void => {
    for (let end = text.indexOf('\n\n', searched); end >= 0; end = text.indexOf('\n\n')) {
      const lines = text.slice(0, end).split('\n');
      text = text.slice(end + 2);
      const field = (name: string): string[] =>
        lines.filter((line) => line.startsWith(`${name}:`)).map((line) => line.slice(name.length + 1).trimStart());
      const data = field('data').join('\n');
      if (data !== '') take(data, field('id').at(-1));
    }
    searched = Math.max(0, text.length - 1);
  };
  const decoder = new TextDecoder();
  async function read(): Promise<void> {
    const part = await reader?.read();
    if (part === undefined || part.done) {
      isOver = true;
      if (!isStream && text !== '') take(text);
      return;
    }
    text += decoder.decode(part.value, { stream: true });
    if (isStream) cut();
  }

  const stream: EventStream = {
    status: response.status,
    headers: response.headers,
    async next(withinMs = 10_000) {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<never>((_resolve, reject) => {
        timer = setTimeout(() => reject(new Error(`No event within ${withinMs} ms; so far: ${text}`)), withinMs);
      });
      try {
        while (ready.length === 0 && !isOver) await Promise.race([read(), late]);
      } finally {
        clearTimeout(timer);
      }
      return ready.shift();
    },
    async rest(withinMs) {
      const events: StreamEvent[] = [];
      for (let event = await stream.next(withinMs); event !== undefined; event = await stream.next(withinMs)) {
        events.push(event);
      }
      return events;
    },
    close: () => hangUp.abort(),
  };
  return stream;
}

/** The result of a modern request, or a legacy one's; fails for an error. */
export function resultOf({ json, status, text }: Answer): Record<string, unknown> {
  if (json.result === undefined) throw new Error(`HTTP ${status}: ${text}`);
  return json.result;
}

/** A legacy session with the capabilities and version a test wants. */
export async function legacySession(
  url: string,
  key: string,
  options: { capabilities?: unknown; version?: string; name?: string } = {},
): Promise<LegacyClient> {
  const { capabilities = {}, version = '2025-11-25', name = 'raw' } = options;
  const opened = await post(
    url,
    key,
    JSON.stringify({
      jsonrpc: '2.0',
      id: 0,
      method: 'initialize',
      params: { protocolVersion: version, capabilities, clientInfo: { name, version: '1' } },
    }),
  );
  const id = opened.headers.get('mcp-session-id') ?? '';
  if (id === '') throw new Error(`initialize answered ${opened.status} ${opened.text}`);
  const headers = { 'mcp-session-id': id, 'mcp-protocol-version': version };
  const bodyOf = (method: string, params: unknown, rpcId: unknown): string =>
    JSON.stringify({ jsonrpc: '2.0', id: rpcId, method, params });
  return {
    id,
    headers,
    opened,
    request: (method, params = {}, rpcId = 1) => post(url, key, bodyOf(method, params, rpcId), headers),
    stream: (method, params = {}, rpcId = 1) => openEvents(url, key, bodyOf(method, params, rpcId), headers),
    send: (message) => post(url, key, typeof message === 'string' ? message : JSON.stringify(message), headers),
  };
}

export interface LegacyClient {
  readonly id: string;
  readonly headers: Record<string, string>;
  readonly opened: Answer;
  request(method: string, params?: unknown, id?: unknown): Promise<Answer>;
  stream(method: string, params?: unknown, id?: unknown): Promise<EventStream>;
  /** Anything: a notification, an answer, a text that is no JSON. */
  send(message: unknown): Promise<Answer>;
}
