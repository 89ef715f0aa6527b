/** What the upstreams of one downstream session say to it: one stream per connection that this session has talked to. */
import { answerUpstream } from '../../egress/tell.ts';
import type { Principal, Session, UpstreamSession } from '../../exchange/exchange.ts';
import { clientCapabilities } from '../../mcp/capabilities.ts';
import { parseResponse } from '../../mcp/response.ts';
import { decide, decideConnection, resourceName } from '../../policy/decide.ts';
import { eraTowards } from '../../snapshot/era.ts';
import type { Connection, Namespace, Persona } from '../../snapshot/snapshot.ts';
import { unrelatedMessage } from '../../translate/unrelated.ts';
import { followGet } from '../upstream/follow-get.ts';
import { followModern, tellsOfResources, updatedUri } from '../upstream/modern-listen.ts';
import type { RelayWorld } from '../world.ts';

export interface UpstreamsOwner {
  readonly world: RelayWorld;
  readonly session: Session;
  readonly principal: Principal;
  /** As they are now. */
  readonly namespace: Namespace | undefined;
  readonly persona: Persona | undefined;
  deliver(message: Buffer): void;
}

/** Lists are watched by the catalog; who is told of a change depends on what they see. */
const TOLD_OTHERWISE = new Set([
  'notifications/tools/list_changed',
  'notifications/prompts/list_changed',
  'notifications/resources/list_changed',
]);
const AGAIN_MS = 5000;

export class Upstreams {
  private readonly owner: UpstreamsOwner;
  /** By connection id: what is followed (an upstream session, a set of URIs), and how to stop. */
  private readonly followed = new Map<string, { readonly what: string; readonly stop: AbortController }>();
  private looking = false;
  private again = false;
  private stopped = false;

  constructor(owner: UpstreamsOwner) {
    this.owner = owner;
  }

  /** Follows what is open now, and nothing else. Never rejects. */
  async refresh(): Promise<void> {
    if (this.looking || this.stopped) {
      this.again = true;
      return;
    }
    this.looking = true;
    do {
      this.again = false;
      try {
        await this.look();
      } catch (error) {
        const { world, session } = this.owner;
        world.log.warn({ error: String(error), session: session.id }, 'the upstreams of a session could not be read');
        setTimeout(() => this.refresh(), AGAIN_MS).unref();
      }
    } while (this.again && !this.stopped);
    this.looking = false;
  }

  stop(): void {
    this.stopped = true;
    for (const { stop } of this.followed.values()) stop.abort();
    this.followed.clear();
  }

  private async look(): Promise<void> {
    const { world, session } = this.owner;
    const sessions = await world.upstreamSessions.open(session.id);
    const modern = this.owner.namespace?.connections.some(subscribable) === true;
    const subscriptions = modern ? await world.store.subscriptions(session.id) : new Map<string, readonly string[]>();
    if (this.stopped) return;
    const wanted = new Map<string, { what: string; begin: (signal: AbortSignal) => Promise<unknown> }>();
    for (const { connectionId, session: upstream } of sessions) {
      wanted.set(connectionId, { what: upstream.id, begin: (signal) => this.follow(connectionId, upstream, signal) });
    }
    for (const [connectionId, uris] of subscriptions) {
      const connection = this.connection(connectionId);
      if (connection === undefined || !subscribable(connection)) continue;
      wanted.set(connectionId, {
        what: JSON.stringify(uris),
        begin: (signal) => this.subscribe(connectionId, uris, signal),
      });
    }
    for (const [connectionId, { what, stop }] of this.followed) {
      if (wanted.get(connectionId)?.what === what) continue;
      this.followed.delete(connectionId);
      stop.abort();
    }
    for (const [connectionId, { what, begin }] of wanted) {
      if (this.followed.has(connectionId)) continue;
      const stop = new AbortController();
      this.followed.set(connectionId, { what, stop });
      begin(stop.signal).catch((error: unknown) => {
        world.log.error({ err: error, session: session.id }, 'an upstream stream failed');
      });
    }
  }

  private async follow(connectionId: string, session: UpstreamSession, signal: AbortSignal): Promise<void> {
    const { world, session: downstream } = this.owner;
    let isTold = false;
    const tell = (): void => {
      if (isTold) return;
      isTold = true;
      world.store.followed(downstream.id, connectionId).catch(() => {});
    };
    await followGet({
      egress: this.owner.world.egress,
      connection: () => this.connection(connectionId),
      session,
      signal,
      onOpen: tell,
      onMessage: (message) => this.heard(connectionId, session, message),
    });
    // It has no such stream: there is nothing to wait for.
    tell();
  }

  private subscribe(connectionId: string, uris: readonly string[], signal: AbortSignal): Promise<void> {
    const updated = (uri: string): void => {
      const connection = this.connection(connectionId);
      const { persona, namespace } = this.owner;
      if (connection === undefined || namespace === undefined) return;
      if (!decide(persona, resourceName(connection.name, uri), connection.name).allowed) return;
      this.owner.deliver(resourceUpdated(namespace.uris.toWire(connection, uri)));
    };
    return followModern({
      egress: this.owner.world.egress,
      connection: () => this.connection(connectionId),
      uris,
      signal,
      onUpdated: updated,
      onReturn: () => uris.forEach(updated),
    });
  }

  /** One message of a legacy upstream's. */
  private heard(connectionId: string, upstream: UpstreamSession, bytes: Buffer): void {
    const { world, session, principal, namespace, persona } = this.owner;
    const connection = this.connection(connectionId);
    if (connection === undefined || namespace === undefined) return;
    if (!decideConnection(persona, connection.name).allowed) return;
    const message = parseResponse(bytes);
    if (message?.method !== undefined && TOLD_OTHERWISE.has(message.method)) return;
    if (message?.method === 'notifications/resources/updated') {
      const uri = updatedUri(bytes, message.params);
      if (uri === undefined || !decide(persona, resourceName(connection.name, uri), connection.name).allowed) return;
    }
    const heard = unrelatedMessage(bytes, {
      sessionId: session.id,
      capabilities: clientCapabilities(session.capabilities),
      names: { handles: world.handles, connection, uris: namespace.uris, owner: principal.binding },
    });
    if (heard.kind === 'pass') this.owner.deliver(heard.bytes);
    else if (heard.kind === 'reply') answerUpstream(world, connection, upstream, heard.message);
    else world.log.debug({ connection: connection.name, reason: heard.reason }, 'a message of an upstream was dropped');
  }

  private connection(id: string): Connection | undefined {
    return this.owner.namespace?.connections.find((connection) => connection.id === id);
  }
}

/** A legacy one was asked when the client asked, and tells on its session's stream. */
const subscribable = (connection: Connection): boolean =>
  eraTowards(connection, 'legacy') === 'modern' && tellsOfResources(connection);

const resourceUpdated = (uri: string): Buffer =>
  Buffer.from(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":${JSON.stringify(uri)}}}`);
