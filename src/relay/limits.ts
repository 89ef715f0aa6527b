/** How much one relay holds, and how much of it for one owner. */
import { type Problem, problems } from '../exchange/problem.ts';
import type { RelayWorld } from './world.ts';

/** So many of something for each owner: a count that is forgotten at zero. */
export class Shares {
  private readonly taken = new Map<string, number>();
  private readonly ofOne: number;

  constructor(ofOne: number) {
    this.ofOne = ofOne;
  }

  /** false: this owner has all that it may have. What is taken has to be given back. */
  take(owner: string): boolean {
    const count = this.taken.get(owner) ?? 0;
    if (count >= this.ofOne) return false;
    this.taken.set(owner, count + 1);
    return true;
  }

  give(owner: string): void {
    const count = this.taken.get(owner) ?? 0;
    if (count > 1) this.taken.set(owner, count - 1);
    else this.taken.delete(owner);
  }
}

/** Whose share it is. */
export const ownerOf = ({ tenant, binding }: { readonly tenant: string; readonly binding: string }): string =>
  `${tenant} ${binding}`;

const MAX_STREAMS = 20_000;

export const hasRoom = (world: RelayWorld): boolean => world.pulse.size < MAX_STREAMS;

export const noRoom = (): Problem => ({
  ...problems.starting(),
  code: 'too_many_streams',
  verdict: 'limited',
  message: 'This gateway has no room for another event stream now. Try again later; calls work without one.',
  headers: [['retry-after', '30']],
  reason: `more than ${MAX_STREAMS} streams at one relay`,
});

/** `what`: of the caller's own there is too much. */
export const tooMany = (what: string): Problem => ({
  ...problems.starting(),
  code: 'too_many',
  status: 429,
  rpcCode: -32000,
  verdict: 'limited',
  message: `Too many ${what}.`,
});
