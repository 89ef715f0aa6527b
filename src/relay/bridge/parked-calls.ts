/** Calls that wait for their clients' input, in this process's memory: what an upstream keeps open cannot be moved. */
import { randomUUID } from 'node:crypto';
import { WAIT_MS } from './request-state.ts';
import type { WaitingCall } from './waiting-call.ts';

export interface ParkedCallsOptions {
  readonly waitMs?: number;
  readonly max?: number;
  readonly maxOfOne?: number;
}

interface Parked {
  readonly owner: string;
  readonly call: WaitingCall;
  readonly timer: NodeJS.Timeout;
}

export class ParkedCalls {
  private readonly byId = new Map<string, Parked>();
  private readonly waitMs: number;
  private readonly max: number;
  private readonly maxOfOne: number;

  constructor({ waitMs = WAIT_MS, max = 1000, maxOfOne = 20 }: ParkedCallsOptions = {}) {
    this.waitMs = waitMs;
    this.max = max;
    this.maxOfOne = maxOfOne;
  }

  get size(): number {
    return this.byId.size;
  }

  /**
   * The id under which the call can be taken once. A principal with too many loses its oldest, which its client has most
   * likely given up; undefined: there are too many of all.
   */
  park(call: WaitingCall, owner: string): string | undefined {
    const own = [...this.byId].filter(([, parked]) => parked.owner === owner);
    if (own.length >= this.maxOfOne) this.drop(own[0]?.[0] ?? '', 'too many calls wait for input');
    if (this.byId.size >= this.max) return undefined;
    const id = randomUUID();
    const timer = setTimeout(() => this.drop(id, 'no input came in time'), this.waitMs);
    this.byId.set(id, { owner, call, timer });
    call.isParked = true;
    return id;
  }

  take(id: string): WaitingCall | undefined {
    const parked = this.byId.get(id);
    if (parked === undefined) return undefined;
    clearTimeout(parked.timer);
    this.byId.delete(id);
    parked.call.isParked = false;
    return parked.call;
  }

  /** Ends every call: this process stops. */
  dropAll(reason: string): void {
    for (const id of [...this.byId.keys()]) this.drop(id, reason);
  }

  private drop(id: string, reason: string): void {
    this.take(id)?.cancel(reason);
  }
}
