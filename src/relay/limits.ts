/** How much one relay holds. */
import { type Problem, problems } from '../exchange/problem.ts';
import type { RelayWorld } from './world.ts';

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
