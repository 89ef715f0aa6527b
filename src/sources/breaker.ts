/**
 * A circuit breaker: a source that failed several times in a row is left alone for a while; then one request at a time
 * finds out whether it is well again.
 */
export interface BreakerOptions {
  readonly consecutiveErrors: number;
  /** Milliseconds. */
  readonly openForMs: number;
  /** Milliseconds that only grow. */
  readonly now: () => number;
}

/** One request's leave to be sent; hand it back with what became of it, once. */
export interface Pass {
  readonly period: number;
}

/** `nothing`: it says neither (the caller left before there was an answer). */
export type Health = 'well' | 'ill' | 'nothing';

export class Breaker {
  private readonly options: BreakerOptions;
  private failures = 0;
  private openUntil: number | undefined;
  private isProbing = false;
  /** Grows each time it opens: what was sent before says nothing about the source after. */
  private period = 0;

  constructor(options: BreakerOptions) {
    this.options = options;
  }

  /** Until a request gets through again. */
  get isOpen(): boolean {
    return this.openUntil !== undefined;
  }

  /** The last request that said anything failed. */
  get isFailing(): boolean {
    return this.failures > 0;
  }

  /** How long nobody may ask, milliseconds; 0: until the one who is asking now knows more; undefined: ask. */
  get closedForMs(): number | undefined {
    if (this.openUntil === undefined) return undefined;
    const left = this.openUntil - this.options.now();
    if (left > 0) return left;
    return this.isProbing ? 0 : undefined;
  }

  /** undefined: not now. */
  begin(): Pass | undefined {
    if (this.closedForMs !== undefined) return undefined;
    if (this.isOpen) this.isProbing = true;
    return { period: this.period };
  }

  end(pass: Pass, health: Health): void {
    if (pass.period !== this.period) return;
    this.isProbing = false;
    if (health === 'well') {
      this.failures = 0;
      this.openUntil = undefined;
    } else if (health === 'ill') {
      this.failures++;
      if (!this.isOpen && this.failures < this.options.consecutiveErrors) return;
      this.openUntil = this.options.now() + this.options.openForMs;
      this.period++;
    }
  }
}
