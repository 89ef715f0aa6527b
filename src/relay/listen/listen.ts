/** One `subscriptions/listen` of a modern client, from its acknowledgement to its result (MCP 2026-07-28, "Subscriptions"). */
import type { Principal } from '../../exchange/exchange.ts';
import { META } from '../../mcp/revision.ts';
import { decide, resourceName } from '../../policy/decide.ts';
import type { Snapshot } from '../../snapshot/snapshot.ts';
import { type Caller, callerNow } from '../caller.ts';
import { EventStream } from '../stream.ts';
import { followLegacy } from '../upstream/legacy-subscription.ts';
import { followModern } from '../upstream/modern-listen.ts';
import { changedKinds, type ListKind, type ViewDigests, viewDigests } from '../view-changes.ts';
import type { Watched } from '../watched.ts';
import type { RelayResponse, RelayWorld } from '../world.ts';
import { type Honoured, honouredText, type Subscription } from './filter.ts';

export class Listen implements Watched {
  readonly sessionId = undefined;
  readonly expiresAt = Number.POSITIVE_INFINITY;
  private readonly world: RelayWorld;
  private readonly principal: Principal;
  private readonly namespaceName: string;
  /** Of the request, exactly as the client wrote it. */
  private readonly id: string;
  private readonly lists: readonly ListKind[];
  private readonly stream: EventStream;
  private readonly over = new AbortController();
  private caller: Caller;
  private digests: ViewDigests;

  constructor(
    response: RelayResponse,
    world: RelayWorld,
    { principal, caller, id, honoured }: { principal: Principal; caller: Caller; id: string; honoured: Honoured },
  ) {
    this.world = world;
    this.principal = principal;
    this.caller = caller;
    this.namespaceName = caller.namespace.name;
    this.id = id;
    this.lists = honoured.lists;
    this.digests = viewDigests(caller.namespace, caller.persona);
    this.stream = new EventStream(response, world.pulse, () => this.letGo());
    if (!this.stream.isOpen) return;
    world.watched.add(this);
    this.tell('notifications/subscriptions/acknowledged', `"notifications":${honouredText(honoured)}`);
    for (const subscriptions of byConnection(honoured.subscriptions)) this.follow(subscriptions);
  }

  look(snapshot: Snapshot): void {
    const caller = callerNow({ principal: this.principal, namespace: this.namespaceName }, snapshot, this.world);
    if (caller === undefined) {
      this.finish('access has ended');
      return;
    }
    this.caller = caller;
    const before = this.digests;
    this.digests = viewDigests(caller.namespace, caller.persona);
    for (const kind of changedKinds(before, this.digests, this.lists)) this.tell(`notifications/${kind}/list_changed`);
  }

  /** Belongs to no session. */
  end(): void {}

  drain(): void {
    this.finish('the gateway is restarting');
  }

  /** All of one connection. */
  private follow(subscriptions: readonly [Subscription, ...Subscription[]]): void {
    const { world } = this;
    const [{ connection: first }] = subscriptions;
    const wireUris = new Map(subscriptions.map(({ uri, wireUri }) => [uri, wireUri]));
    const updated = async (uri: string): Promise<void> => {
      const wireUri = wireUris.get(uri);
      if (wireUri === undefined) return;
      if (!decide(this.caller.persona, resourceName(first.name, uri), first.name).allowed) return;
      this.tell('notifications/resources/updated', `"uri":${JSON.stringify(wireUri)}`);
      await this.stream.drained();
    };
    const options = {
      egress: world.egress,
      log: world.log,
      connection: () => this.caller.namespace.connections.find(({ id }) => id === first.id),
      uris: [...wireUris.keys()],
      signal: this.over.signal,
      onUpdated: updated,
      // What changed meanwhile is not known: each of them may have.
      onReturn: () => wireUris.forEach((_wire, uri) => void updated(uri)),
    };
    const following = first.catalog.era === 'modern' ? followModern(options) : followLegacy(options);
    following.catch((error: unknown) => {
      world.log.error({ err: error, connection: first.name }, 'a subscription failed');
    });
  }

  /** `params`: JSON text of members; everything on the stream says which request it belongs to. */
  private tell(method: string, params = ''): void {
    const members = params === '' ? '' : `,${params}`;
    this.stream.send(
      Buffer.from(
        `{"jsonrpc":"2.0","method":"${method}","params":{"_meta":{"${META.subscriptionId}":${this.id}}${members}}}`,
      ),
    );
  }

  /** Our own end of it: the client hears that it was one. */
  private finish(reason: string): void {
    this.letGo();
    this.tell('notifications/cancelled', `"requestId":${this.id},"reason":${JSON.stringify(reason)}`);
    const result = `{"resultType":"complete","_meta":{"${META.subscriptionId}":${this.id}}}`;
    this.stream.send(Buffer.from(`{"jsonrpc":"2.0","id":${this.id},"result":${result}}`));
    this.stream.end();
  }

  private letGo(): void {
    this.over.abort();
    this.world.watched.remove(this);
  }
}

function byConnection(all: readonly Subscription[]): (readonly [Subscription, ...Subscription[]])[] {
  const groups = new Map<string, [Subscription, ...Subscription[]]>();
  for (const one of all) {
    const group = groups.get(one.connection.id);
    if (group === undefined) groups.set(one.connection.id, [one]);
    else group.push(one);
  }
  return [...groups.values()];
}
