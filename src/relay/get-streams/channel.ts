/**
 * All GET streams of one downstream session at this relay. A message goes to exactly one of them, the newest that is open
 * (MCP 2025-11-25 transports, "Multiple Connections"); what a broken one missed is kept for its client's return.
 */
import type { Exchange, Principal, RequestHead, Session } from '../../exchange/exchange.ts';
import { formatEvent } from '../../mcp/events.ts';
import type { Namespace, Persona, Snapshot } from '../../snapshot/snapshot.ts';
import { keptHead, record } from '../arrival.ts';
import { callerAgain } from '../caller.ts';
import { EventStream } from '../stream.ts';
import { changedKinds, type ListKind, offeredKinds, type ViewDigests, viewDigests } from '../view-changes.ts';
import type { Watched } from '../watched.ts';
import type { RelayResponse, RelayWorld } from '../world.ts';
import { History } from './history.ts';
import { Upstreams, type UpstreamsOwner } from './upstreams.ts';

/** Of one session; the oldest gives way. */
export const MAX_STREAMS = 16;
/** How long what a broken stream missed is kept, and how long upstreams are listened to for it. Milliseconds. */
const KEPT_MS = 5 * 60_000;
/** So many broken ones at most, the newest. */
const MAX_BROKEN = 8;
const LISTENED_MS = 60_000;
/** Clients of this revision on know events that carry nothing but an id. */
const PRIMED_SINCE = '2025-11-25';

/** One logical stream: the connection may break and come back. */
interface Track {
  readonly id: string;
  readonly history: History;
  seq: number;
  stream: EventStream | undefined;
  brokeAt: number;
}

let counted = 0;

export class Channel implements Watched, UpstreamsOwner {
  readonly world: RelayWorld;
  readonly session: Session;
  readonly sessionId: string;
  readonly expiresAt: number;
  readonly principal: Principal;
  persona: Persona | undefined;
  private readonly head: RequestHead;
  private readonly namespaceName: string;
  private readonly kinds: readonly ListKind[];
  private digests: ViewDigests;
  /** Oldest first. */
  private tracks: Track[] = [];
  private upstreams: Upstreams | undefined;
  private idle: NodeJS.Timeout | undefined;
  private readonly onEnd: () => void;

  /** `exchange`: after the steps that find the session. */
  constructor(exchange: Exchange, world: RelayWorld, onEnd: () => void) {
    const { session, principal, namespace, persona } = exchange;
    if (session === undefined || principal === undefined || namespace === undefined)
      throw new Error('a channel before its session');
    this.world = world;
    this.session = session;
    this.sessionId = session.id;
    this.expiresAt = session.expiresAt;
    this.principal = principal;
    this.persona = persona;
    this.head = keptHead(exchange.head);
    this.namespaceName = namespace.name;
    this.kinds = offeredKinds(namespace);
    this.digests = viewDigests(namespace, persona);
    this.onEnd = onEnd;
    world.watched.add(this);
  }

  get namespace(): Namespace | undefined {
    return this.world.snapshot()?.tenants.get(this.session.tenant)?.namespaces.get(this.namespaceName);
  }

  /** Its client may come back, but is not here. */
  get isBroken(): boolean {
    return this.tracks.every(({ stream }) => stream === undefined);
  }

  /** Answers the request with a stream. `resume`: which one the client had, and what it saw last on it. */
  open(exchange: Exchange, response: RelayResponse, resume?: { readonly stream: string; readonly seq: number }): void {
    clearTimeout(this.idle);
    const track = (resume && this.tracks.find(({ id }) => id === resume.stream)) ?? this.newTrack();
    const { requestId, at } = exchange;
    const head = this.head;
    const stream = new EventStream(response, this.world.pulse, () => {
      this.closed(track, stream);
      this.record({ head, requestId, at }, stream);
    });
    const before = track.stream;
    track.stream = stream;
    // The client says that this one broke, whatever the network thinks.
    before?.end();
    if (resume !== undefined) for (const event of track.history.after(resume.seq)) stream.write(event);
    if (this.session.protocolVersion >= PRIMED_SINCE) stream.prime(this.eventId(track));
    this.tracks = [...this.tracks.filter((one) => one !== track), track];
    const open = this.tracks.filter((one) => one.stream !== undefined);
    if (open.length > MAX_STREAMS) open[0]?.stream?.end();
    this.listen();
  }

  /** To the newest open stream; where all are broken, kept for the newest of them. */
  deliver(message: Buffer): void {
    const track = this.tracks.findLast(({ stream }) => stream?.isOpen === true) ?? this.tracks.at(-1);
    if (track === undefined) return;
    track.seq++;
    const event = formatEvent(message, { id: this.eventId(track) });
    track.history.add(track.seq, event);
    track.stream?.write(event);
  }

  /** Something was opened upstream for this session, or it has (un)subscribed. */
  upstreamChanged(): void {
    void this.upstreams?.refresh();
  }

  look(snapshot: Snapshot): void {
    const now = Date.now();
    this.tracks = this.tracks.filter(({ stream, brokeAt }) => stream !== undefined || now - brokeAt < KEPT_MS);
    const allowed = callerAgain(this.head, this.principal.binding, snapshot, this.world);
    if (allowed === undefined) {
      this.end();
      return;
    }
    this.persona = allowed.persona;
    const digests = viewDigests(allowed.namespace, this.persona);
    const before = this.digests;
    this.digests = digests;
    for (const kind of changedKinds(before, digests, this.kinds)) this.deliver(listChanged(kind));
  }

  end(): void {
    this.letGo();
    for (const { stream } of this.tracks) stream?.end();
    this.tracks = [];
  }

  drain(): void {
    this.letGo();
    // Not all at once at whoever takes over.
    for (const { stream } of this.tracks) stream?.end({ retryMs: 1000 + Math.floor(Math.random() * 4000) });
    this.tracks = [];
  }

  private newTrack(): Track {
    return { id: (++counted).toString(36), history: new History(), seq: 0, stream: undefined, brokeAt: 0 };
  }

  private eventId(track: Track): string {
    return this.world.handles.wrap('event', this.sessionId, ['', this.world.relayId, track.id, String(track.seq)]);
  }

  private closed(track: Track, stream: EventStream): void {
    if (track.stream !== stream) return;
    track.stream = undefined;
    track.brokeAt = Date.now();
    const broken = this.tracks.filter((one) => one.stream === undefined);
    if (broken.length > MAX_BROKEN) this.tracks = this.tracks.filter((one) => one !== broken[0]);
    if (this.tracks.length === 0 || this.tracks.some((one) => one.stream !== undefined)) return;
    this.idle = setTimeout(() => {
      this.stopListening();
      this.idle = setTimeout(() => this.letGo(), KEPT_MS - LISTENED_MS).unref();
    }, LISTENED_MS).unref();
  }

  private letGo(): void {
    clearTimeout(this.idle);
    this.stopListening();
    this.world.watched.remove(this);
    this.onEnd();
  }

  /** To the session's upstreams; whoever opens another one there is told to wait until that is listened to as well. */
  private listen(): void {
    if (this.upstreams !== undefined) return;
    this.upstreams = new Upstreams(this);
    void this.upstreams.refresh();
    const { world, session } = this;
    world.store.streamOpened(session, world.relayId).catch((error: unknown) => this.untold(error));
  }

  private stopListening(): void {
    if (this.upstreams === undefined) return;
    this.upstreams.stop();
    this.upstreams = undefined;
    const { world, sessionId } = this;
    // A relay that stops has forgotten all of them at once.
    if (world.stopping.aborted) return;
    world.store.streamClosed(sessionId, world.relayId).catch((error: unknown) => this.untold(error));
  }

  private untold(error: unknown): void {
    this.world.log.warn({ error: String(error), session: this.sessionId }, 'a stream could not be announced');
  }

  private record(request: Pick<Exchange, 'head' | 'requestId' | 'at'>, stream: EventStream): void {
    const snapshot = this.world.snapshot();
    if (snapshot === undefined) return;
    const tenant = snapshot.tenants.get(this.session.tenant);
    const { namespace, principal, persona, session } = this;
    const exchange: Exchange = { ...request, snapshot, principal, persona, session };
    if (tenant !== undefined) exchange.tenant = tenant;
    if (namespace !== undefined) exchange.namespace = namespace;
    record(exchange, this.world, { verdict: 'allowed', httpStatus: 200, bytesOut: stream.bytesOut });
  }
}

const LIST_CHANGED: Readonly<Record<ListKind, Buffer>> = {
  tools: Buffer.from('{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}'),
  prompts: Buffer.from('{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}'),
  resources: Buffer.from('{"jsonrpc":"2.0","method":"notifications/resources/list_changed"}'),
};

const listChanged = (kind: ListKind): Buffer => LIST_CHANGED[kind];
