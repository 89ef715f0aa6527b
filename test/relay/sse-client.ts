/** A relay for HTTP+SSE clients, and such a client, as a test drives them. */
import type { Test } from 'tap';
import { createSseClients, type SseClientsOptions } from '../../src/relay/sse-clients/sse-clients.ts';
import { eventually } from '../support/eventually.ts';
import { type Ask, type Listener, type SmallRelay, smallRelay, type Told } from './small-relay.ts';

export const INITIALIZE = '{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2024-11-05"}}';
export const INITIALIZED = '{"jsonrpc":"2.0","method":"notifications/initialized"}';
export const call = (id: string, name = 'x'): string =>
  `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"${name}"}}`;

export function relay(t: Test, options: SseClientsOptions = {}, shared?: SmallRelay): Promise<SmallRelay> {
  const sseClient = createSseClients(options);
  return smallRelay(t, { sseClient, work: {} }, shared);
}

export interface Connected {
  readonly stream: Listener;
  readonly endpoint: string;
  post(body: string | Buffer, options?: Ask): Promise<Told>;
  /** The data of the next `message` event. */
  message(): Promise<string>;
}

export async function connect(r: SmallRelay, path = '/sse', options: Ask = {}): Promise<Connected> {
  const stream = await r.listen(path, options);
  const endpoint = (await stream.next())?.data ?? '';
  return {
    stream,
    endpoint,
    post: (body, more = {}) => r.ask('POST', endpoint, { ...options, ...more, body }),
    async message() {
      const event = await stream.next();
      if (event?.event !== 'message') throw new Error(`a ${event?.event} instead of a message`);
      return event.data;
    },
  };
}

export async function initialized(r: SmallRelay, path = '/sse', options: Ask = {}): Promise<Connected> {
  const client = await connect(r, path, options);
  await client.post(INITIALIZE);
  await client.message();
  const gets = (): number => r.door.knocks.filter(({ method }) => method === 'GET').length;
  const before = gets();
  await client.post(INITIALIZED);
  await eventually(() => gets() > before);
  return client;
}

export const rpcError = (id: unknown, code: number, message: string) => ({
  jsonrpc: '2.0',
  id,
  error: { code, message },
});
