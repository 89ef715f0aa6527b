/** Agents: a bare one that shows every byte, and the official SDK's. */
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Test } from 'tap';

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly json: { id?: unknown; result?: Record<string, unknown>; error?: { code: number; message: string } };
}

/** POSTs one message; `body` goes out as it is. */
export async function post(
  url: string,
  key: string | undefined,
  body: string,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      ...headers,
    },
    body,
  });
  const text = await response.text();
  // Of an event stream the last message, which is the response.
  const json = JSON.parse(text.startsWith('{') ? text : ([...text.matchAll(/^data: (\{.*)$/gm)].at(-1)?.[1] ?? '{}'));
  return { status: response.status, headers: response.headers, text, json };
}

export interface Session {
  readonly id: string;
  /** tools/call; `args` as JSON text so that its bytes are the test's. */
  call(name: string, args?: string, id?: string): Promise<Answer>;
  send(body: string, headers?: Record<string, string>): Promise<Answer>;
  tools(): Promise<string[]>;
}

/** Initializes and returns a session to call with. */
export async function openSession(url: string, key: string | undefined): Promise<Session> {
  const opened = await post(
    url,
    key,
    '{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}',
  );
  const id = opened.headers.get('mcp-session-id');
  if (id === null) throw new Error(`initialize answered ${opened.status} ${opened.text}`);
  const send: Session['send'] = (body, headers) =>
    post(url, key, body, { 'mcp-session-id': id, 'mcp-protocol-version': '2025-06-18', ...headers });
  return {
    id,
    send,
    call: (name, args = '{}', rpcId = '1') =>
      send(
        `{"jsonrpc":"2.0","id":${rpcId},"method":"tools/call","params":{"name":${JSON.stringify(name)},"arguments":${args}}}`,
      ),
    async tools() {
      const names: string[] = [];
      let cursor: string | undefined;
      do {
        const params = cursor === undefined ? '{}' : JSON.stringify({ cursor });
        const { json } = await send(`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":${params}}`);
        names.push(...((json.result?.tools ?? []) as { name: string }[]).map((tool) => tool.name));
        cursor = json.result?.nextCursor as string | undefined;
      } while (cursor !== undefined);
      return names;
    },
  };
}

/** The text of a tool result. */
export const textOf = (answer: Answer): string =>
  (answer.json.result?.content as { text?: string }[] | undefined)?.[0]?.text ?? answer.text;

/** The official client, connected. Closed at the end of the test. */
export async function sdkClient(t: Test, url: string, key: string): Promise<Client> {
  const client = new Client({ name: 'sdk', version: '1' });
  const transport = new StreamableHTTPClientTransport(new URL(url), {
    requestInit: { headers: { authorization: `Bearer ${key}` } },
  });
  // The SDK's declaration of sessionId does not fit exactOptionalPropertyTypes.
  await client.connect(transport as unknown as Parameters<Client['connect']>[0]);
  t.teardown(() => client.close());
  return client;
}
