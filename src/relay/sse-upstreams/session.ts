/** One session with an HTTP+SSE upstream: its stream, and the callers' requests that wait for what comes on it. */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { startDeadline } from '../../egress/deadline.ts';
import { ownId } from '../../egress/own-id.ts';
import { type Problem, problems } from '../../exchange/problem.ts';
import { type Envelope, idText } from '../../mcp/envelope.ts';
import type { Connection } from '../../snapshot/snapshot.ts';
import { pong } from '../../translate/ask.ts';
import { sendProblem } from '../refusal.ts';
import type { RelayResponse, RelayWorld } from '../world.ts';
import { destinationOf, keyOf } from './destination.ts';
import { Listeners } from './listeners.ts';
import type { SseStream } from './open-stream.ts';
import { busy, cancelled, isBroken, late, lost, problemOf, stopping, unreached } from './upstream-problems.ts';
import { type RequestEnd, WaitingRequest } from './waiting-request.ts';

const MAX_WAITING = 256;
/** Time to answer a ping. */
const PING_MS = 5000;

type Headers = Readonly<Record<string, string>>;

export interface OpeningAnswer {
  /** Of the answer to `initialize`. */
  readonly headers: Headers;
}

export class SseSession {
  readonly id = randomUUID();
  /** As it is now. */
  connection: Connection;
  private readonly stream: SseStream;
  private readonly world: RelayWorld;
  private readonly onEnd: () => void;
  private readonly over = new AbortController();
  /** By key of the id, the oldest first. */
  private readonly waiting = new Map<string, WaitingRequest>();
  private readonly listeners = new Listeners();
  /** The newest of the caller's: what we say ourselves goes with its credential. */
  private headers: Headers;
  /** Milliseconds since the epoch. */
  private usedAt = Date.now();
  private heardAt = Date.now();

  /** `headers`: those the stream was opened with. */
  constructor(connection: Connection, stream: SseStream, headers: Headers, world: RelayWorld, onEnd: () => void) {
    this.connection = connection;
    this.stream = stream;
    this.headers = headers;
    this.world = world;
    this.onEnd = onEnd;
    void this.listen();
  }

  /** Since when nobody has wanted anything of it, milliseconds since the epoch; undefined while somebody does. */
  get idleSince(): number | undefined {
    return this.waiting.size > 0 || this.listeners.size > 0 ? undefined : this.usedAt;
  }

  /** A GET: what the upstream says about no request. */
  follow(response: RelayResponse): void {
    this.touch();
    this.listeners.add(response, this.world.pulse, () => this.touch());
  }

  /** A notification, or a response to a request of the upstream's. */
  async tell(envelope: Envelope, headers: Headers, response: RelayResponse): Promise<void> {
    this.touch(headers);
    const problem = await this.deliver(envelope.bytes, headers);
    if (problem !== undefined) sendProblem(response, problem);
    else if (!response.stream.destroyed) response.writeHead(202).end();
    if (problem === GONE) this.close();
    const { bytes, method, cancels } = envelope;
    if (method !== 'notifications/cancelled' || cancels === undefined) return;
    // An upstream need not answer what was cancelled, and usually does not (MCP cancellation).
    this.waiting.get(keyOf(bytes, cancels) ?? '')?.refuse(cancelled(this.connection));
  }

  /** `opening`: this is the `initialize` of the session, which ends unless it has a result. */
  async request(envelope: Envelope, headers: Headers, response: RelayResponse, opening?: OpeningAnswer): Promise<void> {
    this.touch(headers);
    const id = idText(envelope);
    const { bytes, meta } = envelope;
    const key = envelope.id === undefined ? undefined : keyOf(bytes, envelope.id);
    if (key === undefined || this.waiting.has(key)) {
      sendProblem(response, problems.invalidRequest('a request with this "id" is being answered'), id);
      return;
    }
    if (this.waiting.size >= MAX_WAITING) {
      sendProblem(response, busy('requests wait for this MCP server'), id);
      return;
    }
    const one = new WaitingRequest({
      id,
      token: meta?.progressToken === undefined ? undefined : keyOf(bytes, meta.progressToken),
      response,
      pulse: this.world.pulse,
      timeoutMs: this.connection.timeoutMs,
      headers: opening?.headers,
      onLate: () => this.late(one),
      onEnd: (how) => this.ended(key, how, opening !== undefined),
    });
    this.waiting.set(key, one);
    const problem = await this.deliver(bytes, headers);
    if (problem !== undefined) one.refuse(problem);
    if (problem === GONE) this.close();
  }

  close(): void {
    this.end(lost(this.connection));
  }

  /** The relay stops: nothing new, and what is under way has `graceMs` left. */
  drain(graceMs: number): void {
    this.listeners.end();
    if (this.waiting.size === 0) this.close();
    else setTimeout(() => this.end(stopping(this.connection)), graceMs);
  }

  private async listen(): Promise<void> {
    const { connection, world } = this;
    try {
      for await (const message of this.stream.messages) this.heard(message);
    } catch (error) {
      if (isBroken(error)) world.log.debug({ connection: connection.name, error: String(error) }, 'a stream broke off');
      else world.log.warn({ connection: connection.name, error: String(error) }, 'a stream of an upstream was ended');
    }
    this.close();
  }

  private heard(message: Buffer): void {
    this.heardAt = Date.now();
    const destination = destinationOf(message);
    switch (destination.to) {
      case 'request':
        this.waiting.get(destination.key)?.answer(message, destination.isError);
        break;
      case 'token':
        for (const one of this.waiting.values()) if (one.token === destination.key) one.tell(message);
        break;
      case 'latest':
        if (this.latest?.tell(message) !== true) this.listeners.tell(message);
        break;
      case 'listener':
        this.listeners.tell(message);
        break;
      case 'us':
        void this.say(pong(destination.id));
        break;
      case 'nobody':
        this.world.log.debug({ connection: this.connection.name }, 'a message of an upstream was dropped');
    }
  }

  /** Whom a message about some request is told. Of several callers who share the session, only one who is alone. */
  private get latest(): WaitingRequest | undefined {
    const open = [...this.waiting.values()].filter((one) => one.takesEvents);
    return this.connection.session === 'pooled' && open.length > 1 ? undefined : open.at(-1);
  }

  private ended(key: string, how: RequestEnd, isOpening: boolean): void {
    this.waiting.delete(key);
    this.touch();
    if (isOpening && how !== 'result') this.close();
  }

  private late(one: WaitingRequest): void {
    one.refuse(late(this.connection));
    void this.say(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":${one.id}}}`);
    if (this.heardAt < one.since) void this.doubt();
  }

  /** It said nothing at all for a call's whole time: its stream may be gone without a word, which a ping shows. */
  private async doubt(): Promise<void> {
    const asked = Date.now();
    await this.say(`{"jsonrpc":"2.0","id":"${ownId('ping')}","method":"ping"}`);
    await delay(PING_MS, undefined, { ref: false });
    if (this.heardAt < asked) this.close();
  }

  /** A message of our own, that nobody waits for. */
  private async say(message: string): Promise<void> {
    const problem = await this.deliver(Buffer.from(message), this.headers);
    if (problem !== undefined)
      this.world.log.debug({ connection: this.connection.name, reason: problem.reason }, 'an upstream was not told');
  }

  /** undefined: the upstream has taken it. */
  private async deliver(body: Buffer, headers: Headers): Promise<Problem | undefined> {
    const { connection, stream, over } = this;
    const deadline = startDeadline(connection.timeoutMs, over.signal);
    try {
      const answer = await this.world.egress.send(connection, {
        method: 'POST',
        path: stream.endpoint,
        headers: { ...headers, accept: 'application/json', 'content-type': 'application/json' },
        body,
        signal: deadline.signal,
        raw: true,
      });
      // Whatever it says beside the status: answers come on the stream.
      answer.body.on('error', () => {}).resume();
      if (answer.status !== 404 || answer.localReply !== undefined) return problemOf(connection, answer);
      return GONE;
    } catch (error) {
      if (over.signal.aborted) return lost(connection);
      return deadline.signal.aborted ? late(connection) : unreached(connection, error);
    } finally {
      deadline.release();
    }
  }

  private touch(headers?: Headers): void {
    this.usedAt = Date.now();
    if (headers !== undefined) this.headers = headers;
  }

  private end(problem: Problem): void {
    if (this.over.signal.aborted) return;
    this.over.abort();
    this.stream.close();
    this.onEnd();
    for (const one of [...this.waiting.values()]) one.refuse(problem);
    this.listeners.end();
  }
}

/** Nothing was done, and the caller opens another session. */
const GONE = problems.sessionUnknown('the upstream knows the event stream no more');
