/** One HTTP+SSE client: its event stream, its session, and the messages under way between the two. */
import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import type { IncomingHttpHeaders } from 'node:http';
import type { Exchange, Principal, RequestHead, Session } from '../../exchange/exchange.ts';
import type { Snapshot } from '../../snapshot/snapshot.ts';
import { keptHead, record } from '../arrival.ts';
import { Allowance } from '../batch/allowance.ts';
import { Outlet } from '../batch/outlet.ts';
import { callerAgain } from '../caller.ts';
import { headersToFront } from '../passed-headers.ts';
import { EventStream } from '../stream.ts';
import type { Watched } from '../watched.ts';
import type { RelayRequest, RelayResponse, RelayWorld } from '../world.ts';
import type { Arrival } from './arrival.ts';
import { awaitedBy, deliver, type Posted } from './delivery.ts';
import { EndpointSession } from './endpoint-session.ts';

/** Requests of one client whose responses are still to come. */
const MAX_IN_FLIGHT = 64;
/** Bytes of answers that one client may have waiting here, beside one body of the largest size. */
const MAX_HELD_BYTES = 32 << 20;

export class ClientStream implements Watched {
  readonly id = randomUUID();
  readonly allowance: Allowance;
  sessionId: string | undefined;
  expiresAt = Number.POSITIVE_INFINITY;
  private inFlight = 0;
  private readonly exchange: Exchange;
  private readonly principal: Principal;
  private readonly head: RequestHead;
  private readonly path: string;
  private readonly world: RelayWorld;
  private readonly stream: EventStream;
  private readonly outlet: Outlet;
  private readonly session: EndpointSession;
  private readonly over = new AbortController();

  /** Answers the request with the stream. */
  constructor(arrival: Arrival, request: RelayRequest, response: RelayResponse, world: RelayWorld, onEnd: () => void) {
    const { exchange, principal, paths } = arrival;
    this.exchange = exchange;
    this.principal = principal;
    this.head = keptHead(exchange.head);
    this.path = paths.mcp;
    this.allowance = new Allowance(MAX_HELD_BYTES + exchange.snapshot.settings.maxRequestBytes);
    this.world = world;
    this.session = new EndpointSession({
      world,
      path: this.path,
      headers: headersToFront(request.headers),
      write: (message) => this.outlet.write(message),
      onOpened: (session) => this.opened(session),
      onRefused: () => this.end(),
    });
    // One for each message under way.
    setMaxListeners(0, this.over.signal);
    this.stream = new EventStream(response, world.pulse, () => {
      this.end();
      record(exchange, world, { verdict: 'allowed', httpStatus: 200, bytesOut: this.stream.bytesOut });
      onEnd();
    });
    this.outlet = new Outlet(this.stream);
    world.watched.add(this);
  }

  /** The first event: where the client's messages go. */
  tell(endpoint: string): void {
    this.stream.write(Buffer.from(`event: endpoint\ndata: ${endpoint}\n\n`));
  }

  /** Sends one message on and resolves with the answer to its POST; undefined: too many are under way. */
  async deliver(headers: IncomingHttpHeaders, body: Buffer): Promise<Posted | undefined> {
    const awaited = awaitedBy(body);
    // Notifications and answers always pass: they are what ends things.
    const counted = awaited === 'none' ? 0 : 1;
    if (counted === 1 && this.inFlight >= MAX_IN_FLIGHT) return undefined;
    this.inFlight += counted;
    const { signal } = this.over;
    const wasOpen = this.session.current !== undefined;
    const { posted, done } = deliver(
      { path: this.path, headers: this.session.headers(headersToFront(headers)), body, awaited },
      {
        front: this.world.front,
        allowance: this.allowance,
        signal,
        write: (message) => this.outlet.write(message),
        onHead: (got) => this.session.onHead(got, wasOpen),
        resume: this.session.resumeWith(signal),
      },
    );
    void done
      .catch((error: unknown) => this.world.log.error({ err: error }, 'a message of an HTTP+SSE client was lost'))
      .then(() => {
        this.inFlight -= counted;
      });
    return posted;
  }

  look(snapshot: Snapshot): void {
    if (callerAgain(this.head, this.principal.binding, snapshot, this.world) === undefined) this.end();
  }

  drain(): void {
    this.end();
  }

  /** Ends the stream, the session, and whatever is under way. A client that connects again initializes again. */
  end(): void {
    if (this.over.signal.aborted) return;
    this.over.abort();
    this.world.watched.remove(this);
    this.session.end();
    this.stream.end();
  }

  private opened(session: Session): void {
    const { watched } = this.world;
    watched.remove(this);
    this.sessionId = session.id;
    this.expiresAt = session.expiresAt;
    watched.add(this);
    this.exchange.session = session;
  }
}
