/** Plays Envoy's part of one ext_proc stream against a real conversation, in this process: no socket, no mock of ours. */
import { randomBytes } from 'node:crypto';
import { AuditQueue } from '../../src/audit/queue.ts';
import type { AuditRow } from '../../src/audit/record.ts';
import type { ConnectionConfig } from '../../src/config/document.ts';
import { DEFAULT_SETTINGS } from '../../src/config/schema.ts';
import { createVault } from '../../src/credentials/vault.ts';
import { Conversation } from '../../src/data-plane/conversation.ts';
import type { World } from '../../src/data-plane/world.ts';
import { createEgress } from '../../src/egress/egress.ts';
import { createTold } from '../../src/enrichment/told.ts';
import { generateKey, hashKey, KeyRing } from '../../src/identity/key-ring.ts';
import { FollowWaits } from '../../src/sessions/follow-waits.ts';
import { createHandles } from '../../src/sessions/handles.ts';
import { InFlight } from '../../src/sessions/in-flight.ts';
import { createLogLevels } from '../../src/sessions/log-levels.ts';
import { createSessionIds } from '../../src/sessions/session-id.ts';
import type { SessionStore } from '../../src/sessions/stored-session.ts';
import { Tombstones } from '../../src/sessions/tombstones.ts';
import { createUpstreamSessions } from '../../src/sessions/upstream-sessions.ts';
import { compileSnapshot, EMPTY_CATALOG } from '../../src/snapshot/compile.ts';
import type { Catalog, ItemKind } from '../../src/snapshot/snapshot.ts';
import { openSource } from '../../src/sources/kinds.ts';
import { createSources } from '../../src/sources/pool.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createMeters } from '../../src/telemetry/meters.ts';
import { NO_TRACING } from '../../src/telemetry/tracing.ts';
import type { HeaderMutation, ProcessingRequest, ProcessingResponse } from '../../src/wire.ts';
import { extProcService } from '../../src/wire.ts';
import { connectionConfig } from './connection.ts';

export interface Played {
  /** As a client would see it; undefined when the request was forwarded. */
  readonly status: number | undefined;
  readonly headers: Record<string, string>;
  readonly text: string;
  /** The body as JSON; {} if it is none. */
  readonly json: Record<string, unknown> & {
    error?: { code: number; message: string };
    result?: Record<string, unknown>;
    id?: unknown;
  };
  readonly forwarded:
    | { readonly set: Record<string, string>; readonly removed: readonly string[]; readonly body: Buffer | undefined }
    | undefined;
}

export interface Stage {
  readonly world: World;
  readonly key: string;
  readonly rows: AuditRow[];
  /** Sends one request; `headers` are merged over the usual ones, undefined removes. */
  send(body: string | Buffer | undefined, headers?: Record<string, string | undefined>): Promise<Played>;
  /** Opens a session and returns its id. */
  initialize(headers?: Record<string, string | undefined>): Promise<string>;
  /** Another key. */
  addKey(name: string, roles: readonly string[], extra?: { expiresAt?: number; revoked?: boolean }): string;
}

export const tools = (names: readonly string[]): Catalog => ({
  ...EMPTY_CATALOG,
  state: 'ready',
  protocolVersion: '2025-11-25',
  legacyVersion: '2025-11-25',
  tools: names.map((name) => ({
    name,
    definition: JSON.stringify({ name, inputSchema: { type: 'object' } }),
    digest: name,
  })),
});

const OWN_KEY: Record<ItemKind, string> = {
  tools: 'name',
  prompts: 'name',
  resources: 'uri',
  templates: 'uriTemplate',
};

/** A catalog with something of every kind; definitions as given, with their names. */
export function catalog(
  kinds: Partial<Record<ItemKind, readonly { readonly name: string; readonly [key: string]: unknown }[]>>,
  more: Partial<Catalog> = {},
): Catalog {
  const items = (kind: ItemKind) =>
    (kinds[kind] ?? []).map((one) => ({
      name: one.name,
      definition: JSON.stringify({ ...one, [OWN_KEY[kind]]: one.name }),
      digest: one.name,
    }));
  return {
    ...EMPTY_CATALOG,
    state: 'ready',
    protocolVersion: '2025-11-25',
    legacyVersion: '2025-11-25',
    capabilities: { tools: {}, prompts: {}, resources: { subscribe: true }, completions: {}, logging: {} },
    tools: items('tools'),
    prompts: items('prompts'),
    resources: items('resources'),
    templates: items('templates'),
    ...more,
  };
}

const upstream = (url: string): ConnectionConfig => connectionConfig(url, { forward: ['x-tenant'] });

export interface StageOptions {
  /** What the two connections offer. */
  readonly files?: Catalog;
  readonly crm?: Catalog;
}

/** Two connections (`files`, `crm`), namespaces `default` and `docs`, personas `admin` (everything) and `reader`. */
export function stage({ files = tools(['read', 'delete']), crm = tools(['get']) }: StageOptions = {}): Stage {
  const snapshot = compileSnapshot({
    revision: 1,
    document: {
      settings: DEFAULT_SETTINGS,
      tenants: [
        {
          id: 'default',
          connections: [
            { id: 'id-files', name: 'files', config: upstream('http://127.0.0.1:1/files/mcp'), credentialId: null },
            { id: 'id-crm', name: 'crm', config: upstream('http://127.0.0.1:1/crm'), credentialId: 'cred-1' },
          ],
          namespaces: [
            { name: 'default', connections: ['*'], prefix: 'always', presentation: 'flat' },
            { name: 'docs', connections: ['files'], prefix: 'never', presentation: 'flat' },
          ],
          personas: [
            {
              name: 'admin',
              roles: ['admin'],
              subjects: [],
              priority: 0,
              tools: { allow: ['*'], deny: [] },
              connections: { allow: ['*'], deny: [] },
            },
            {
              name: 'reader',
              roles: ['reader'],
              subjects: [],
              priority: 0,
              tools: { allow: ['files__*'], deny: ['*__delete'] },
              connections: { allow: ['*'], deny: [] },
            },
          ],
        },
      ],
    },
    catalogs: new Map([
      ['id-files', files],
      ['id-crm', crm],
    ]),
    injections: new Map([
      [
        'id-crm',
        {
          fault: undefined,
          credentialId: 'cred-1',
          headers: [['authorization', 'Bearer upstream-secret']],
          query: undefined,
        },
      ],
    ]),
  });
  const vault = createVault(randomBytes(32).toString('hex'));
  const log = createLogger('test', 'silent');
  const egress = createEgress('direct');
  const keys = new KeyRing();
  const rows: AuditRow[] = [];
  const tombstones = new Tombstones();
  const store: SessionStore = {
    read: async () => undefined,
    write: async ({ sealed }) => ({ sealed, isFollowed: false }),
    remove: async () => {},
    end: async () => [],
    wishes: async () => ({ logLevel: undefined, subscriptions: [] }),
    logLevel: async () => undefined,
    setLogLevel: async () => {},
    subscribe: async () => true,
    unsubscribe: async () => {},
    open: async () => [],
    broadcastCancel: async () => {},
  };
  const world: World = {
    snapshot: () => snapshot,
    vault,
    keys,
    handles: createHandles(vault),
    sessionIds: createSessionIds(vault, Date.now),
    tombstones,
    async endSession(session) {
      tombstones.add(session.id, session.expiresAt);
    },
    upstreamSessions: createUpstreamSessions({
      followWaits: new FollowWaits(),
      vault,
      egress,
      log,
      store,
    }),
    wantLegacy: () => {},
    sessionStore: store,
    enrichment: {
      sources: createSources({ open: openSource, log }),
      budgets: { isOff: () => false, failed: () => {} },
      told: createTold({ broadcast: async () => {}, log }),
    },
    inFlight: new InFlight(),
    logLevels: createLogLevels(store),
    egress,
    audit: new AuditQueue(async (batch) => void rows.push(...batch), log),
    tracing: NO_TRACING,
    meters: createMeters(),
    log,
    version: '0.0.0',
    ownHosts: new Set(['localhost', '127.0.0.1', '[::1]']),
    edgeThresholdBytes: undefined,
    relay: true,
  };
  const addKey: Stage['addKey'] = (name, roles, extra = {}) => {
    const key = generateKey();
    keys.put(hashKey(key), {
      id: name,
      tenant: 'default',
      name,
      roles,
      expiresAt: extra.expiresAt,
      revoked: extra.revoked ?? false,
    });
    return key;
  };
  const key = addKey('first', ['admin']);
  const send: Stage['send'] = async (body, headers = {}) => {
    const merged = {
      ':method': body === undefined ? 'GET' : 'POST',
      ':path': '/mcp',
      ':authority': '127.0.0.1:8080',
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      authorization: `Bearer ${key}`,
      'x-request-id': 'r-1',
      ...headers,
    };
    const played = await play(world, merged, body === undefined ? undefined : Buffer.from(body));
    await world.audit.close(1000);
    return played;
  };
  return {
    world,
    key,
    rows,
    send,
    addKey,
    async initialize(headers) {
      const answer = await send(
        '{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}',
        headers,
      );
      return answer.headers['mcp-session-id'] ?? '';
    },
  };
}

async function play(
  world: World,
  headers: Record<string, string | undefined>,
  body: Buffer | undefined,
): Promise<Played> {
  const replies: ProcessingResponse[] = [];
  let wake: () => void = () => {};
  const conversation = new Conversation(
    world,
    (message) => {
      replies.push(
        Buffer.isBuffer(message)
          ? (extProcService.Process as { responseDeserialize(b: Buffer): ProcessingResponse }).responseDeserialize(
              message,
            )
          : message,
      );
      wake();
    },
    () => {},
    { hold: () => {}, release: () => {} },
  );
  const reply = async (): Promise<ProcessingResponse> => {
    if (replies.length === 0)
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    return replies.shift() as ProcessingResponse;
  };
  const list = Object.entries(headers).flatMap(([key, value]) =>
    value === undefined ? [] : [{ key, raw_value: Buffer.from(value) }],
  );
  const head: ProcessingRequest = {
    request: 'request_headers',
    request_headers: { headers: { headers: list }, end_of_stream: body === undefined },
  };
  conversation.onMessage(head);
  let answer = await reply();
  if (!answer.immediate_response && body !== undefined) {
    conversation.onMessage({ request: 'request_body', request_body: { body, end_of_stream: true } });
    answer = await reply();
  }
  conversation.onEnd();
  return seen(answer);
}

function seen(answer: ProcessingResponse): Played {
  const immediate = answer.immediate_response;
  const text = immediate?.body?.toString() ?? '';
  const common = answer.request_body?.response;
  return {
    status: immediate?.status.code,
    headers: named(immediate?.headers),
    text,
    json: text.startsWith('{') ? JSON.parse(text) : {},
    forwarded:
      common === undefined
        ? undefined
        : {
            set: named(common.header_mutation),
            removed: common.header_mutation?.remove_headers ?? [],
            body: common.body_mutation?.body,
          },
  };
}

function named(mutation: HeaderMutation | undefined | null): Record<string, string> {
  return Object.fromEntries(
    (mutation?.set_headers ?? []).map(({ header }) => [header.key, header.raw_value?.toString() ?? '']),
  );
}
