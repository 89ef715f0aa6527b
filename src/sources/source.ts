/** What all kinds of sources have in common. A kind is a template compiler, which is pure, and a client. */
import type { SourceConfig } from '../config/document.ts';
import type { Json } from '../mcp/exact-json.ts';

/** What is wrong with a rule, told when it is saved. */
export interface TemplateFault {
  /** Within the rule: `source.query`, `source.bind.id`. */
  readonly path: string;
  /** Says what to do; with line and column of the offence where there is a text: `line 1, column 15: …`. */
  readonly message: string;
}

/** A value for a name of a template: one scalar, or several where the template takes a list. */
export type Bound = Json | readonly Json[];

/** A value that must not or cannot stand where it is bound: a NUL, an array for a scalar. The rule is skipped. */
export class ValueError extends Error {
  override readonly name = 'ValueError';
}

/** One request, ready to be sent. Each kind has members of its own besides. */
export interface Rendered {
  /** With every value in its place, for people. Never a credential. */
  readonly shown: string;
  /** Requests with the same key have the same answer (for the same source, within the cache's time). */
  readonly key: string;
}

/** A rule's request, compiled once. */
export interface Template {
  /** Names that it takes, and whether several values may stand there. */
  readonly names: ReadonlyMap<string, 'one' | 'list'>;
  /** May change something, so that a dry run must not send it (an HTTP POST). */
  readonly mayWrite: boolean;
  /** Throws ValueError. */
  render(values: ReadonlyMap<string, Bound>): Rendered;
}

/** What compiling a rule's request gives. */
export type Compiled = { readonly template: Template } | { readonly faults: readonly TemplateFault[] };

export interface Asked {
  /** Aborts at the rule's timeout or when the call's time is up; its reason is a SourceError or the client's leaving. */
  readonly signal: AbortSignal;
  /** Milliseconds that are left, for limits that the source enforces by itself (statement_timeout). */
  readonly timeoutMs: number;
  readonly maxRows: number;
  readonly maxBytes: number;
}

export interface SourceAnswer {
  /** At most `maxRows`; a row is usually an object by column. */
  readonly rows: readonly Json[];
  /** There were more rows, or more bytes, than allowed. */
  readonly isTruncated: boolean;
}

/** The source did not answer as it should. `message` is for the agent and the audit: no secret, no stack. */
export class SourceError extends Error {
  override readonly name = 'SourceError';
  /**
   * `refused`: the source understood and said no (a bad statement, no permission): no sign of ill health. `bad value`: it
   * said no to a value of the call (`invalid input syntax for type uuid`), or to the caller, which is no fault of the rule:
   * whoever calls could otherwise switch it off. `busy`: it, or the line before it, takes no more just now. `not asked`: its
   * circuit is open, it is off, or its secrets cannot be read. `not sent`: a dry run, or there is no way to ask.
   */
  readonly kind:
    | 'unavailable'
    | 'timeout'
    | 'refused'
    | 'bad value'
    | 'too large'
    | 'bad answer'
    | 'busy'
    | 'not asked'
    | 'not sent';
  constructor(kind: SourceError['kind'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

export interface SourceTest {
  readonly ok: boolean;
  readonly error?: string;
  /** What answered: `Trino 476`, `PostgreSQL 18.4`. */
  readonly server?: string;
  /** Warnings an operator should know: a user that may write. */
  readonly notes?: readonly string[];
  /** Milliseconds. */
  readonly durationMs: number;
}

/** One open source. Does its own pooling of sockets; breaker, queue and cache are around it (pool.ts). */
export interface SourceClient {
  /** `rendered` was made by a template of the same kind. Rejects with SourceError. */
  ask(rendered: Rendered, asked: Asked): Promise<SourceAnswer>;
  test(signal: AbortSignal): Promise<Omit<SourceTest, 'durationMs'>>;
  close(): Promise<void>;
}

/** A source as a snapshot holds it: secrets resolved. Never logged, never serialised. */
export interface SourceDefinition {
  readonly id: string;
  readonly tenant: string;
  readonly name: string;
  /** The same digest is the same configuration, secrets included. */
  readonly digest: string;
  /** Secrets are plain strings here. */
  readonly config: SourceConfig;
  /** Why it cannot be used. */
  readonly fault: string | undefined;
}
