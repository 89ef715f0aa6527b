/** Watches one connection: asks what it offers, again on a timer, when it says that its list changed, or when told. */
import { setTimeout as delay } from 'node:timers/promises';
import { startDeadline } from '../egress/deadline.ts';
import { type Egress, EgressError } from '../egress/egress.ts';
import { type Handshake, listTools, openSession, UpstreamError } from '../egress/upstream-client.ts';
import { EventSplitter, eventData } from '../mcp/events.ts';
import { parseResponse } from '../mcp/response.ts';
import type { Connection } from '../snapshot/snapshot.ts';
import type { Logger } from '../telemetry/log.ts';
import type { CatalogResult } from './store.ts';

/** One attempt: handshake and every page. */
const ATTEMPT_TIMEOUT_MS = 30_000;
const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 60_000;
/** Several changes in a row are one refresh. */
const DEBOUNCE_MS = 100;
/** Between two refreshes that the upstream asks for. */
const MIN_DISTANCE_MS = 2000;
const MAX_EVENT_BYTES = 1 << 20;

export interface WatchSink {
  found(connection: Connection, result: CatalogResult): Promise<void>;
  failed(connection: Connection, message: string): Promise<void>;
}

export interface Watch {
  /** Asks now; resolves when that attempt is stored. Rejects with the reason if it failed. */
  refresh(): Promise<void>;
  stop(): void;
}

/** Starts at once and never gives up: failures are retried with back-off and jitter. */
export function watchConnection(connection: Connection, egress: Egress, sink: WatchSink, log: Logger): Watch {
  const watcher = new Watcher(connection, egress, sink, log);
  watcher.start();
  return watcher;
}

/** One look at a connection, for `connection test`: nothing is stored. Throws EgressError or UpstreamError. */
export async function examine(connection: Connection, egress: Egress, signal: AbortSignal): Promise<CatalogResult> {
  const session = await openSession(egress, connection, signal);
  try {
    return await readCatalog(connection, egress, session, signal);
  } finally {
    endSession(connection, egress, session);
  }
}

class Watcher implements Watch {
  private readonly connection: Connection;
  private readonly egress: Egress;
  private readonly sink: WatchSink;
  private readonly log: Logger;
  private readonly abort = new AbortController();
  private session: Handshake | undefined;
  private streamOpen = false;
  private attempt: Promise<void> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private retryMs = FIRST_RETRY_MS;
  /** When the last attempt ended, milliseconds since the epoch. */
  private askedAt = 0;
  /** A change was told and is waiting for its look. */
  private isChanged = false;

  constructor(connection: Connection, egress: Egress, sink: WatchSink, log: Logger) {
    this.connection = connection;
    this.egress = egress;
    this.sink = sink;
    this.log = log;
  }

  start(): void {
    this.refresh().catch(() => {});
  }

  refresh(): Promise<void> {
    clearTimeout(this.timer);
    this.attempt ??= this.ask().finally(() => {
      this.attempt = undefined;
    });
    return this.attempt;
  }

  stop(): void {
    this.abort.abort();
    clearTimeout(this.timer);
    if (this.session !== undefined) endSession(this.connection, this.egress, this.session);
    this.session = undefined;
  }

  private async ask(): Promise<void> {
    const { connection, sink } = this;
    const deadline = startDeadline(ATTEMPT_TIMEOUT_MS, this.abort.signal);
    let next = connection.refreshMs;
    try {
      await sink.found(connection, await this.look(deadline.signal));
      this.retryMs = FIRST_RETRY_MS;
      this.openStream();
    } catch (error) {
      if (this.abort.signal.aborted) return;
      const message = (error as Error).message;
      // Jitter, so that a hundred connections of one dead host do not come back in step.
      next = this.retryMs * (0.75 + Math.random() / 2);
      this.retryMs = Math.min(this.retryMs * 2, MAX_RETRY_MS);
      if (!(error instanceof EgressError) && !(error instanceof UpstreamError))
        this.log.error({ err: error, connection: connection.name }, 'catalog refresh failed');
      await sink
        .failed(connection, message)
        .catch((storing: unknown) => this.log.error({ err: storing }, 'catalog state was not stored'));
      throw error;
    } finally {
      deadline.release();
      this.askedAt = Date.now();
      if (!this.abort.signal.aborted) this.timer = setTimeout(() => this.start(), next);
    }
  }

  /** On the session that is open; a new one if there is none or the upstream has forgotten it. */
  private async look(signal: AbortSignal): Promise<CatalogResult> {
    if (this.session !== undefined) {
      try {
        return await readCatalog(this.connection, this.egress, this.session, signal);
      } catch (error) {
        if (!(error instanceof UpstreamError)) throw error;
        this.session = undefined;
      }
    }
    const session = await openSession(this.egress, this.connection, signal);
    // Without a session id there is nothing to keep: the next look begins anew and sees a changed server.
    if (session.sessionId !== undefined) this.session = session;
    return readCatalog(this.connection, this.egress, session, signal);
  }

  /** The upstream's own stream, for `list_changed`; many servers have none (405), and the timer does it alone. */
  private openStream(): void {
    const { session } = this;
    if (this.streamOpen || session?.sessionId === undefined) return;
    this.streamOpen = true;
    this.follow(session)
      .catch((error: unknown) =>
        this.log.debug({ connection: this.connection.name, error: String(error) }, 'event stream ended'),
      )
      .finally(() => {
        this.streamOpen = false;
      });
  }

  private async follow(session: Handshake): Promise<void> {
    const { connection, egress } = this;
    const answer = await egress.send(connection, {
      method: 'GET',
      path: connection.path,
      headers: { ...headersOf(connection, session), accept: 'text/event-stream' },
      signal: this.abort.signal,
    });
    if (answer.status !== 200) {
      answer.body.resume();
      // Not offered: asking again at each refresh would be noise. Anything else may be different next time.
      if (answer.status === 405)
        await new Promise<void>((resolve) => this.abort.signal.addEventListener('abort', () => resolve()));
      return;
    }
    const splitter = new EventSplitter(MAX_EVENT_BYTES);
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      for (const event of splitter.push(chunk)) {
        const data = eventData(event);
        if (data !== undefined && parseResponse(data)?.method === 'notifications/tools/list_changed') this.changed();
      }
    }
  }

  /** However many changes are told, they are one look, and looks keep a distance: each costs both sides the whole list. */
  private changed(): void {
    if (this.isChanged) return;
    this.isChanged = true;
    const wait = Math.max(DEBOUNCE_MS, this.askedAt + MIN_DISTANCE_MS - Date.now());
    delay(wait, undefined, { signal: this.abort.signal })
      .then(() => this.attempt)
      .catch(() => {})
      .then(() => {
        this.isChanged = false;
        if (!this.abort.signal.aborted) this.start();
      });
  }
}

async function readCatalog(
  connection: Connection,
  egress: Egress,
  session: Handshake,
  signal: AbortSignal,
): Promise<CatalogResult> {
  // A server without the capability has no such method (MCP capability negotiation).
  const tools = session.capabilities.tools === undefined ? [] : await listTools(egress, connection, session, signal);
  const { serverName, serverVersion, protocolVersion, capabilities, instructions, sessionId } = session;
  return {
    serverName,
    serverVersion,
    protocolVersion,
    capabilities,
    instructions,
    hasSessions: sessionId !== undefined,
    tools,
  };
}

function headersOf(connection: Connection, session: Handshake): Record<string, string> {
  const headers: Record<string, string> = { 'mcp-protocol-version': session.protocolVersion };
  if (session.sessionId !== undefined) headers['mcp-session-id'] = session.sessionId;
  for (const [name, value] of connection.injection.headers) headers[name] = value;
  return headers;
}

/** Courtesy: the upstream would forget it by itself. */
function endSession(connection: Connection, egress: Egress, session: Handshake): void {
  if (session.sessionId === undefined) return;
  egress
    .send(connection, {
      method: 'DELETE',
      path: connection.path,
      headers: headersOf(connection, session),
      signal: AbortSignal.timeout(3000),
    })
    .then((answer) => answer.body.resume())
    .catch(() => {});
}
