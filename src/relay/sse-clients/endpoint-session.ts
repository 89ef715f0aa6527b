/** An HTTP+SSE client's session on the streamable HTTP endpoint: opened by its `initialize`, ended with its stream. */
import type { Session } from '../../exchange/exchange.ts';
import type { Resume } from '../batch/answers.ts';
import type { FrontResponse } from '../front.ts';
import { type FrontSession, messageHeaders, sessionHeaders } from '../passed-headers.ts';
import { isEventStream } from '../upstream/read-events.ts';
import type { RelayWorld } from '../world.ts';
import { followServer, pause } from './server-messages.ts';

export interface Owner {
  readonly world: RelayWorld;
  /** Of the streamable HTTP endpoint. */
  readonly path: string;
  /** Of the request that opened the stream: who it is that listens, and ends. */
  readonly headers: Readonly<Record<string, string>>;
  /** Puts a message on the client's stream. */
  write(message: Buffer): Promise<void>;
  onOpened(session: Session): void;
  /** The gateway does not know this client any more: its key is revoked, its session over. */
  onRefused(): void;
}

const GOODBYE_MS = 3000;
const DEFAULT_RETRY_MS = 1000;
const MIN_RETRY_MS = 100;
const MAX_RETRY_MS = 30_000;
/** A request whose stream is taken up again and again has no answer any more after so long. */
const RESUMED_MS = 10 * 60_000;

export class EndpointSession {
  current: Session | undefined;
  private header = '';
  private readonly owner: Owner;
  private listening: AbortController | undefined;

  constructor(owner: Owner) {
    this.owner = owner;
  }

  /** Headers of a message of this client's, whose own headers are `passed`. */
  headers(passed: Readonly<Record<string, string>>): Record<string, string> {
    return messageHeaders(passed, this.named());
  }

  /** `wasOpen`: the message belonged to the session, and was none that opens one. */
  onHead(got: FrontResponse, wasOpen: boolean): void {
    if (got.status >= 300) return;
    const header = got.headers['mcp-session-id'];
    if (typeof header === 'string' && header !== this.header) {
      const session = this.owner.world.sessionIds.open(header);
      if (session === undefined) return;
      this.end();
      this.current = session;
      this.owner.onOpened(session);
      this.header = header;
    } else if (wasOpen) this.listen();
  }

  /** For a message whose stream was closed before its response. */
  resumeWith(over: AbortSignal): Resume {
    let limited: AbortSignal | undefined;
    return async ({ lastEventId, retryMs }) => {
      limited ??= AbortSignal.any([over, AbortSignal.timeout(RESUMED_MS)]);
      const signal = limited;
      await pause(Math.max(MIN_RETRY_MS, Math.min(retryMs ?? DEFAULT_RETRY_MS, MAX_RETRY_MS)), signal);
      const session = this.named();
      if (signal.aborted || session === undefined) return undefined;
      const headers = { ...this.listenHeaders(session), 'last-event-id': lastEventId };
      const { world, path } = this.owner;
      const got = await world.front.request({ method: 'GET', path, headers, signal }).catch(() => undefined);
      if (got === undefined || (got.status === 200 && isEventStream(got.headers))) return got;
      got.body.destroy();
      return undefined;
    };
  }

  /** Says goodbye to the endpoint. */
  end(): void {
    const session = this.named();
    this.listening?.abort();
    this.listening = undefined;
    this.current = undefined;
    if (session === undefined) return;
    const { world, path } = this.owner;
    const headers = { ...this.owner.headers, ...sessionHeaders(session) };
    world.front.request({ method: 'DELETE', path, headers, signal: AbortSignal.timeout(GOODBYE_MS) }).then(
      ({ body }) => body.resume(),
      (error: Error) => world.log.warn({ error: error.message }, 'the session of an HTTP+SSE client was not ended'),
    );
  }

  /** Once the client has said more than `initialize`: server messages may come from now on. */
  private listen(): void {
    const session = this.named();
    if (this.listening !== undefined || session === undefined) return;
    const listening = new AbortController();
    this.listening = listening;
    const { world, path, write } = this.owner;
    void followServer({
      front: world.front,
      path,
      headers: this.listenHeaders(session),
      signal: listening.signal,
      write,
    }).then((end) => {
      if (end === 'refused') this.owner.onRefused();
    });
  }

  private named(): FrontSession | undefined {
    return this.current === undefined
      ? undefined
      : { header: this.header, protocolVersion: this.current.protocolVersion };
  }

  private listenHeaders(session: FrontSession): Record<string, string> {
    return { ...this.owner.headers, accept: 'text/event-stream', ...sessionHeaders(session) };
  }
}
