/** One source of a process from its first use to its end: in line, through the breaker, to the client. */
import type { Logger } from '../telemetry/log.ts';
import { Breaker, type Health } from './breaker.ts';
import { Queue } from './queue.ts';
import {
  type Asked,
  type Rendered,
  type SourceAnswer,
  type SourceClient,
  type SourceDefinition,
  SourceError,
} from './source.ts';
import type { SourceHealth } from './sources.ts';
import { within } from './within.ts';

export interface OpenSourceOptions {
  readonly open: (definition: SourceDefinition) => SourceClient;
  readonly log: Logger;
  readonly now: () => number;
  readonly maxWaiting: number;
  /** Nothing is under way any more. */
  readonly onIdle: (source: OpenSource) => void;
}

/** The same key is the same source, configured the same. */
export const keyOf = ({ id, digest }: SourceDefinition): string => `${id} ${digest}`;

export class OpenSource {
  readonly key: string;
  isClosed = false;
  private wasAsked = false;
  /** Why it is not asked. What else was said to one caller, about one's values, is not for the next. */
  private lastIllness: string | undefined;
  private underWay = 0;
  private client: SourceClient | undefined;
  private readonly definition: SourceDefinition;
  private readonly options: OpenSourceOptions;
  private readonly queue: Queue;
  private readonly breaker: Breaker;

  constructor(definition: SourceDefinition, options: OpenSourceOptions) {
    const { name, config } = definition;
    this.key = keyOf(definition);
    this.definition = definition;
    this.options = options;
    this.breaker = new Breaker({ ...config.circuitBreaker, now: options.now });
    this.queue = new Queue({
      maxConcurrent: config.maxConcurrent,
      maxWaiting: options.maxWaiting,
      full: () =>
        new SourceError(
          'busy',
          `the source ${name} is busy: ${config.maxConcurrent} requests are under way and ${options.maxWaiting} wait`,
        ),
    });
  }

  get isIdle(): boolean {
    return this.underWay === 0;
  }

  health(): SourceHealth {
    const { breaker, wasAsked } = this;
    const { tenant, name } = this.definition;
    return {
      tenant,
      name,
      state: breaker.isOpen ? 'open' : breaker.isFailing ? 'failing' : wasAsked ? 'ok' : 'unused',
    };
  }

  /** Settles at the latest when `asked.signal` aborts. Rejects with SourceError, or with the signal's reason. */
  async ask(rendered: Rendered, asked: Asked): Promise<SourceAnswer> {
    const { now } = this.options;
    const giveUpAt = now() + asked.timeoutMs;
    this.wasAsked = true;
    this.refuseWhileOpen();
    this.underWay++;
    const answer = this.queue.run(asked.signal, () =>
      this.send(rendered, {
        signal: asked.signal,
        timeoutMs: Math.max(1, Math.floor(giveUpAt - now())),
        maxRows: asked.maxRows,
        maxBytes: asked.maxBytes,
      }),
    );
    answer.catch(() => {}).finally(() => this.ended());
    return await within(asked.signal, answer);
  }

  async close(): Promise<void> {
    this.isClosed = true;
    const { client } = this;
    this.client = undefined;
    await client?.close().catch((error: Error) => {
      this.options.log.warn({ source: this.definition.name, error: error.message }, 'a source did not close in order');
    });
  }

  private ended(): void {
    this.underWay--;
    if (this.isIdle) this.options.onIdle(this);
  }

  /** Its place in the queue is taken until the client has settled, also where the asker has left long ago. */
  private async send(rendered: Rendered, asked: Asked): Promise<SourceAnswer> {
    this.refuseWhileOpen();
    const pass = this.breaker.begin();
    if (pass === undefined) throw this.closedNow(0);
    const answer = this.put(rendered, asked);
    within(asked.signal, answer).then(
      () => this.breaker.end(pass, 'well'),
      (error) => {
        const health = healthBy(error);
        if (health === 'ill') this.lastIllness = (error as SourceError).message;
        this.breaker.end(pass, health);
      },
    );
    return await answer;
  }

  private async put(rendered: Rendered, asked: Asked): Promise<SourceAnswer> {
    try {
      asked.signal.throwIfAborted();
      if (this.isClosed) throw new SourceError('unavailable', `the source ${this.definition.name} was just closed`);
      this.client ??= this.options.open(this.definition);
      return await this.client.ask(rendered, asked);
    } catch (error) {
      if (error instanceof SourceError) throw error;
      if (asked.signal.aborted) throw asked.signal.reason;
      // A client says what happened by a SourceError; anything else is a fault of its own, which only the log shows.
      const { name } = this.definition;
      this.options.log.error({ source: name, error: (error as Error).stack }, 'a source failed in an unforeseen way');
      throw new SourceError('bad answer', `the source ${name} failed in an unforeseen way`, { cause: error });
    }
  }

  private refuseWhileOpen(): void {
    const { closedForMs } = this.breaker;
    if (closedForMs !== undefined) throw this.closedNow(closedForMs);
  }

  private closedNow(forMs: number): SourceError {
    const again = forMs === 0 ? 'one request is finding out whether it is well again' : `until ${time(forMs)}`;
    return new SourceError(
      'not asked',
      `the source ${this.definition.name} is not asked after failing repeatedly: ${again}. The last failure: ${this.lastIllness ?? 'unknown'}`,
    );
  }
}

const time = (inMs: number): string => new Date(Date.now() + inMs).toISOString().replace(/\.\d+Z$/, 'Z');

const WELL: ReadonlySet<SourceError['kind']> = new Set(['refused', 'bad value', 'too large']);
const ILL: ReadonlySet<SourceError['kind']> = new Set(['unavailable', 'timeout', 'bad answer']);

/** A source that refuses, or says too much, is there. One who left knows nothing. */
function healthBy(error: unknown): Health {
  if (!(error instanceof SourceError)) return 'nothing';
  return WELL.has(error.kind) ? 'well' : ILL.has(error.kind) ? 'ill' : 'nothing';
}
