/** The vocabulary that every step shares. Knows nothing of Envoy, Postgres or HTTP libraries. */
import type { ClientCapabilities } from '../mcp/capabilities.ts';
import type { Envelope } from '../mcp/envelope.ts';
import type { Era } from '../mcp/revision.ts';
import type { Edit } from '../mcp/splice.ts';
import type { Decision } from '../policy/decide.ts';
import type { CatalogItem, Connection, Namespace, Persona, Snapshot, Tenant } from '../snapshot/snapshot.ts';
import type { Problem } from './problem.ts';

/** Who is calling. */
export interface Principal {
  readonly tenant: string;
  /** Unique within the tenant: a key's name, later a token's subject. */
  readonly subject: string;
  readonly roles: readonly string[];
  readonly method: 'api_key' | 'anonymous' | 'internal' | 'operator';
  /** What sessions are bound to: method and identity, never a secret. */
  readonly binding: string;
}

/** A downstream session, as sealed in its id. */
export interface Session {
  readonly id: string;
  readonly tenant: string;
  readonly namespace: string;
  readonly binding: string;
  readonly protocolVersion: string;
  readonly clientName: string;
  /** What the client declared in `initialize`: the JSON text of its `capabilities`, or as much of it as is kept. */
  readonly capabilities: string;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
}

/** The client's side of one request: of its session (legacy), or as the request describes itself (modern). */
export interface ClientHop {
  readonly era: Era;
  readonly protocolVersion: string;
  readonly capabilities: ClientCapabilities;
  /** `name/version`, for the audit. */
  readonly clientName: string;
  /** Modern: the log level asked for; without one no `notifications/message` may reach the client. */
  readonly logLevel: string | undefined;
}

/** What a request is about, once found: whose it is, and what its owner calls it. */
export interface Target {
  readonly connection: Connection;
  /** What policy judges. `session`: the connection itself (an answer to a request of its own, a log level). */
  readonly kind: 'tool' | 'prompt' | 'resource' | 'task' | 'session';
  /** As the client calls it: tool or prompt name, URI, task id. */
  readonly wireName: string;
  /** As the upstream calls it. */
  readonly upstreamName: string;
  readonly item: CatalogItem | undefined;
  /** Replacements in the request's bytes that turn the one into the other. */
  readonly edits: readonly Edit[];
}

/** The request line and headers, names in lower case. */
export interface RequestHead {
  readonly method: string;
  readonly path: string;
  readonly authority: string;
  /** The last value of each name. */
  header(name: string): string | undefined;
  /** Every header name that came, lower case, pseudo-headers left out. */
  readonly names: readonly string[];
  readonly endOfStream: boolean;
}

/** One HTTP request and its response passing through; steps fill it in, in the order of the pipeline. */
export interface Exchange {
  readonly head: RequestHead;
  readonly requestId: string;
  /** Wall clock, milliseconds. */
  readonly at: number;
  /** The world this exchange sees from beginning to end. */
  readonly snapshot: Snapshot;

  tenant?: Tenant;
  namespace?: Namespace;
  principal?: Principal;
  persona?: Persona | undefined;
  session?: Session | undefined;
  /** The request body as it came. */
  body?: Buffer;
  envelope?: Envelope;
  /** The body is a JSON array: a batch. */
  isBatch?: boolean;
  client?: ClientHop;
  target?: Target;
  connection?: Connection;
  /** What the client answers, where a relay asked it: [relay id, question id]. */
  question?: readonly [string, string];
  decision?: Decision;
  upstream?: UpstreamCall;
  problem?: Problem;
}

/** A call as it will be sent to an upstream: everything that repeating it would need. */
export interface UpstreamCall {
  /** Value of the route header: a connection's, or the relay's. */
  readonly route: string;
  /** The relay answers in the client's own era, with ids and tokens restored. */
  readonly via: 'upstream' | 'relay';
  readonly path: string;
  /** Set on the request, replacing what the client sent. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Buffer;
  readonly bodyChanged: boolean;
  readonly session: UpstreamSession | undefined;
  /** Whose session that is. */
  readonly owner: SessionOwner | undefined;
  /** The id the upstream sees, when it is not the client's own. JSON text. */
  readonly mintedId: string | undefined;
  /** The progress token the upstream sees, when it is not the client's own. JSON text. */
  readonly mintedToken: string | undefined;
}

/** A session with an upstream that mints ids. */
export interface UpstreamSession {
  readonly key: string;
  readonly id: string;
  readonly protocolVersion: string;
}

/** For whom a session with an upstream is kept (sessions/owner.ts). */
export interface SessionOwner {
  /** The same for all who share one; without spaces. */
  readonly key: string;
  /** The one downstream session it serves; null: several clients share it, so ids and progress tokens are minted. */
  readonly sessionId: string | null;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
  /** JSON text of the capabilities declared upstream. */
  readonly capabilities: string;
  /** `name/version`. */
  readonly clientName: string;
  /** Set upstream when it is opened. */
  readonly logLevel: string | undefined;
}

/** What a step decides. `undefined` = go on. */
export type StepResult = undefined | Refusal | Answer;

export interface Refusal {
  readonly kind: 'refuse';
  readonly problem: Problem;
}

/** The gateway answers by itself. */
export interface Answer {
  readonly kind: 'answer';
  readonly status: number;
  readonly headers: readonly (readonly [string, string])[];
  /** Written one after the other; big ones leave by the edge service. */
  readonly body: readonly Buffer[];
  /** How another process makes the same answer: set for what may be big. */
  readonly edge?: string;
}

/** One stage of the pipeline. The order is data (data-plane/pipeline.ts) and `needs` is checked by a test. */
export interface Step<World> {
  readonly name: string;
  readonly needs: readonly (keyof Exchange)[];
  readonly gives: readonly (keyof Exchange)[];
  run(exchange: Exchange, world: World): StepResult | Promise<StepResult>;
}

export const refuse = (problem: Problem): Refusal => ({ kind: 'refuse', problem });

/** A JSON answer with status 200. */
export function answerJson(body: readonly Buffer[], headers: readonly (readonly [string, string])[] = []): Answer {
  return { kind: 'answer', status: 200, headers: [['content-type', 'application/json'], ...headers], body };
}
