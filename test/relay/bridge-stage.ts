/** A relay that bridges, in this process, between an upstream of the test's own and clients whose tickets it seals. */
import { type ClientHttp2Stream, connect, type IncomingHttpHeaders } from 'node:http2';
import type { Test } from 'tap';
import { DEFAULT_SETTINGS } from '../../src/config/schema.ts';
import type { Principal, Session } from '../../src/exchange/exchange.ts';
import type { Era } from '../../src/mcp/revision.ts';
import { type Bridge, createBridge } from '../../src/relay/bridge/bridge.ts';
import type { ParkedCallsOptions } from '../../src/relay/bridge/parked-calls.ts';
import { sealTicket, TICKET_HEADER, type Ticket } from '../../src/relay/ticket.ts';
import { compileSnapshot, EMPTY_CATALOG } from '../../src/snapshot/compile.ts';
import type { CatalogItem } from '../../src/snapshot/snapshot.ts';
import { connectionConfig } from '../support/connection.ts';
import { type Stage, stage } from '../support/conversation.ts';
import { frontDoor, type SmallRelay, smallRelay } from './small-relay.ts';

export interface BridgedMessage {
  readonly id?: unknown;
  readonly method?: string;
  readonly params?: Record<string, unknown>;
  readonly result?: Record<string, unknown> & {
    inputRequests?: Record<string, { method: string; params?: Record<string, unknown> }>;
    requestState?: string;
    content?: { text: string }[];
  };
  readonly error?: { code: number; message: string };
}

/** What the relay answers, message by message; a JSON answer is one. */
export interface Answering {
  /** `application/json` or `text/event-stream`. */
  type(): Promise<string>;
  status(): Promise<number>;
  /** undefined at the end. */
  next(): Promise<{ text: string; message: BridgedMessage } | undefined>;
  close(): void;
}

export interface BridgedClient {
  /** A request, as the processor would send it here. `params`: JSON text, so that its bytes are the test's. */
  call(method: string, params: string, id?: string): Answering;
  /** An answer to what the relay asked. `outcome`: JSON text of a result, or of an error. */
  answer(handle: unknown, outcome: { result: string } | { error: string }): Promise<{ status: number; text: string }>;
  readonly session: Session | undefined;
}

export interface BridgeStage {
  readonly relay: SmallRelay;
  readonly bridge: Bridge;
  /** `capabilities`: JSON text. A client of the era that the upstream is not of. */
  client(options?: { capabilities?: string; subject?: string; logLevel?: string }): BridgedClient;
  /** Another relay of the same deployment. */
  another(options?: ParkedCallsOptions): Promise<BridgeStage>;
}

const CAPABILITIES = '{"elicitation":{"form":{},"url":{}},"sampling":{},"roots":{}}';

export interface UpstreamOptions {
  readonly url: string;
  readonly era: Era;
  readonly timeoutMs?: number;
  readonly hasSessions?: boolean;
  readonly session?: 'auto' | 'pooled';
}

export async function bridgeStage(
  t: Test,
  upstream: UpstreamOptions,
  options: ParkedCallsOptions = {},
): Promise<BridgeStage> {
  const plain = stage();
  const snapshot = snapshotOf(upstream);
  const theStage = { ...plain, world: { ...plain.world, snapshot: () => snapshot } };
  const door = await frontDoor(t, theStage);
  return relayOn(t, upstream.era, { stage: theStage, door }, options);
}

async function relayOn(
  t: Test,
  upstreamEra: Era,
  shared: { stage: Stage; door: Awaited<ReturnType<typeof frontDoor>> },
  options: ParkedCallsOptions,
): Promise<BridgeStage> {
  const bridge = createBridge(options);
  const relay = await smallRelay(t, { work: { call: bridge.call, answer: bridge.answer } }, shared);
  t.teardown(() => bridge.close());
  const http2 = connect(`http://${relay.address}`);
  http2.on('error', () => {});
  t.teardown(() => http2.destroy());
  const post = (ticket: Ticket, body: string): ClientHttp2Stream => {
    const header = sealTicket(relay.world.vault, ticket, Date.now());
    const stream = http2.request({
      ':method': 'POST',
      ':path': '/relay',
      [TICKET_HEADER]: header,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
    });
    stream.on('error', () => {});
    stream.end(body);
    return stream;
  };
  let clients = 0;
  return {
    relay,
    bridge,
    another: (other = {}) => relayOn(t, upstreamEra, shared, other),
    client({ capabilities = CAPABILITIES, subject = 'ann', logLevel } = {}) {
      const era: Era = upstreamEra === 'modern' ? 'legacy' : 'modern';
      const principal: Principal = {
        tenant: 'default',
        subject,
        roles: ['admin'],
        // No ring has the keys of a test's own principals.
        method: 'internal',
        binding: `api_key:${subject}`,
      };
      const protocolVersion = era === 'modern' ? '2026-07-28' : '2025-11-25';
      const session: Session | undefined =
        era === 'modern'
          ? undefined
          : {
              id: `00000000-0000-4000-8000-00000000000${++clients}`,
              tenant: 'default',
              namespace: 'default',
              binding: principal.binding,
              protocolVersion,
              clientName: 'test/1',
              capabilities,
              expiresAt: Date.now() + 3_600_000,
            };
      const ticket: Ticket = {
        work: 'call',
        requestId: 'r-1',
        tenant: 'default',
        namespace: 'default',
        principal,
        session: session ?? null,
        client: { era, protocolVersion, capabilities, clientName: 'test/1', logLevel: logLevel ?? null },
        connection: 'up',
        question: null,
      };
      return {
        session,
        call: (method, params, id = '1') =>
          answering(post(ticket, `{"jsonrpc":"2.0","id":${id},"method":"${method}","params":${params}}`)),
        async answer(handle, outcome) {
          const [, relayId = '', questionId = ''] =
            relay.world.handles.unwrap('request', session?.id ?? '', String(handle)) ?? [];
          const [[kind, text] = ['result', '{}']] = Object.entries(outcome);
          const body = `{"jsonrpc":"2.0","id":${JSON.stringify(handle)},"${kind}":${text}}`;
          const stream = post({ ...ticket, work: 'answer', connection: null, question: [relayId, questionId] }, body);
          const { headers, text: said } = await wholeOf(stream);
          return { status: headers[':status'] ?? 0, text: said };
        },
      };
    },
  };
}

async function wholeOf(
  stream: ClientHttp2Stream,
): Promise<{ headers: IncomingHttpHeaders & { ':status'?: number }; text: string }> {
  const headers = await new Promise<IncomingHttpHeaders>((resolve) => stream.once('response', resolve));
  let text = '';
  for await (const chunk of stream.setEncoding('utf8')) text += chunk;
  return { headers, text };
}

function answering(stream: ClientHttp2Stream): Answering {
  let text = '';
  let isOver = false;
  let wake = (): void => {};
  const head = new Promise<IncomingHttpHeaders & { ':status'?: number }>((resolve, reject) => {
    stream.once('response', resolve);
    stream.once('close', () => reject(new Error('no answer')));
  });
  head.catch(() => {});
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
    wake();
  });
  stream.on('close', () => {
    isOver = true;
    wake();
  });
  const take = (data: string) => ({ text: data, message: JSON.parse(data) as BridgedMessage });
  return {
    type: async () => (await head)['content-type'] ?? '',
    status: async () => (await head)[':status'] ?? 0,
    close: () => stream.close(8),
    async next() {
      const isStream = (await head)['content-type'] === 'text/event-stream';
      for (;;) {
        const end = isStream ? text.indexOf('\n\n') : -1;
        if (end >= 0) {
          const lines = text.slice(0, end).split('\n');
          text = text.slice(end + 2);
          const data = lines.flatMap((line) => (line.startsWith('data: ') ? [line.slice(6)] : [])).join('\n');
          if (data !== '') return take(data);
          continue;
        }
        if (isOver) {
          const whole = isStream ? '' : text;
          text = '';
          return whole === '' ? undefined : take(whole);
        }
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}

const item = (name: string): CatalogItem => ({ name, definition: JSON.stringify({ name }), digest: name });

/** One connection, `up`, whose names its clients know as they are. */
function snapshotOf({ url, era, timeoutMs = 5000, hasSessions = era === 'legacy', session = 'auto' }: UpstreamOptions) {
  const config = connectionConfig(url, { session, timeoutMs });
  return compileSnapshot({
    revision: 1,
    document: {
      settings: DEFAULT_SETTINGS,
      tenants: [
        {
          id: 'default',
          connections: [{ id: 'id-up', name: 'up', config, credentialId: null }],
          namespaces: [{ name: 'default', connections: ['*'], prefix: 'never', presentation: 'flat' }],
          personas: [
            {
              name: 'admin',
              roles: ['admin'],
              subjects: [],
              priority: 0,
              tools: { allow: ['*'], deny: ['forbidden'] },
              connections: { allow: ['*'], deny: [] },
            },
          ],
        },
      ],
    },
    catalogs: new Map([
      [
        'id-up',
        {
          ...EMPTY_CATALOG,
          state: 'ready' as const,
          era,
          hasSessions,
          legacyVersion: era === 'legacy' ? '2025-11-25' : undefined,
          protocolVersion: era === 'modern' ? '2026-07-28' : '2025-11-25',
          tools: ['echo', 'held', 'forbidden'].map(item),
          prompts: ['held-prompt'].map(item),
          resources: ['file:///held'].map(item),
        },
      ],
    ]),
    injections: new Map(),
  });
}
