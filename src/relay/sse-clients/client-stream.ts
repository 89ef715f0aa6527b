/** One HTTP+SSE client: its event stream, its session, and the messages under way between the two. */
import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import type { IncomingHttpHeaders } from 'node:http';
import { Allowance } from '../batch/allowance.ts';
import { passedHeaders } from '../batch/passed-headers.ts';
import type { RelayWorld } from '../world.ts';
import type { Arrival } from './arrival.ts';
import { awaitedBy, deliver, type Posted } from './delivery.ts';
import { EndpointSession } from './endpoint-session.ts';
import type { EventSink } from './event-sink.ts';

/** Requests of one client whose responses are still to come. */
export const MAX_IN_FLIGHT = 64;
/** Bytes of bodies and answers that one client may have waiting here. */
const MAX_HELD_BYTES = 32 << 20;

export class ClientStream {
  readonly id = randomUUID();
  readonly allowance = new Allowance(MAX_HELD_BYTES);
  readonly session: EndpointSession;
  private inFlight = 0;
  private readonly path: string;
  private readonly sink: EventSink;
  private readonly world: RelayWorld;
  private readonly over = new AbortController();

  /** `headers`: of the request that opened the stream. */
  constructor(arrival: Arrival, headers: IncomingHttpHeaders, sink: EventSink, world: RelayWorld) {
    this.path = arrival.paths.mcp;
    this.sink = sink;
    this.world = world;
    this.session = new EndpointSession({
      world,
      path: this.path,
      headers: passedHeaders(headers),
      write: this.write,
      onRefused: () => this.close(),
    });
    // One for each message under way.
    setMaxListeners(0, this.over.signal);
    void sink.closed.then(() => this.close());
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
      { path: this.path, headers: this.session.headers(passedHeaders(headers)), body, awaited },
      {
        front: this.world.front,
        allowance: this.allowance,
        signal,
        write: this.write,
        onHead: (got) => this.session.onHead(got, wasOpen),
        resume: this.session.resumeWith(signal),
      },
    );
    void done.then(() => {
      this.inFlight -= counted;
      // Without its session a client has nothing left to do here: connecting again, it initializes again.
      if (this.session.isOver) this.close();
    });
    return posted;
  }

  /** Ends the stream, the session, and whatever is under way. */
  close(): void {
    if (this.over.signal.aborted) return;
    this.over.abort();
    this.session.end();
    this.sink.end();
  }

  private readonly write = (message: Buffer): Promise<void> =>
    this.over.signal.aborted ? Promise.resolve() : this.sink.write('message', message);
}
