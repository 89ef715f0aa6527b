import fc from 'fast-check';
import t from 'tap';
import { Queue } from '../../src/sources/queue.ts';

/** One piece of work that ends when told to. */
interface Job {
  readonly id: number;
  readonly controller: AbortController;
  finish: (() => void) | undefined;
  state: 'waiting' | 'running' | 'done' | 'left' | 'turned away';
}

/** The queue, and a list that says what should be. */
class Run {
  readonly maxConcurrent: number;
  readonly maxWaiting: number;
  readonly queue: Queue;
  readonly jobs: Job[] = [];
  readonly expected: Job['state'][] = [];
  constructor(maxConcurrent: number, maxWaiting: number) {
    this.maxConcurrent = maxConcurrent;
    this.maxWaiting = maxWaiting;
    this.queue = new Queue({ maxConcurrent, maxWaiting, full: () => new Error('full') });
  }

  enter(): void {
    const job: Job = { id: this.jobs.length, controller: new AbortController(), finish: undefined, state: 'waiting' };
    this.jobs.push(job);
    const running = this.expected.filter((state) => state === 'running').length;
    const waiting = this.expected.filter((state) => state === 'waiting').length;
    this.expected.push(
      running < this.maxConcurrent ? 'running' : waiting < this.maxWaiting ? 'waiting' : 'turned away',
    );
    this.queue
      .run(job.controller.signal, () => {
        job.state = 'running';
        return new Promise<void>((resolve) => {
          job.finish = resolve;
        });
      })
      .then(
        () => {
          job.state = 'done';
        },
        (error: Error) => {
          job.state = error.message === 'full' ? 'turned away' : 'left';
        },
      );
  }

  /** The n-th of those that run. */
  finish(n: number): void {
    const running = this.jobs.filter(({ id }) => this.expected[id] === 'running');
    const job = running[n % running.length];
    if (job === undefined) return;
    job.finish?.();
    this.expected[job.id] = 'done';
    const next = this.expected.indexOf('waiting');
    if (next >= 0) this.expected[next] = 'running';
  }

  /** The n-th of those that wait. */
  leave(n: number): void {
    const waiting = this.jobs.filter(({ id }) => this.expected[id] === 'waiting');
    const job = waiting[n % waiting.length];
    if (job === undefined) return;
    job.controller.abort(new Error('left'));
    this.expected[job.id] = 'left';
  }
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

t.test(
  'whatever comes, ends and leaves in whatever order: never too many at once, first come first served',
  async (t) => {
    const step = fc.oneof(
      fc.constant(['enter', 0] as const),
      fc.tuple(fc.constant('finish' as const), fc.nat(20)),
      fc.tuple(fc.constant('leave' as const), fc.nat(20)),
    );
    const sizes = fc.tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 0, max: 5 }));
    await fc.assert(
      fc.asyncProperty(sizes, fc.array(step, { maxLength: 60 }), async ([maxConcurrent, maxWaiting], steps) => {
        const run = new Run(maxConcurrent, maxWaiting);
        for (const [what, n] of steps) {
          run[what](n);
          await settled();
          const is = run.jobs.map(({ state }) => state);
          if (is.join() !== run.expected.join()) throw new Error(`${is} instead of ${run.expected}`);
        }
      }),
      { numRuns: 1000 },
    );
    t.pass('1,000 runs agree with the model');
  },
);

t.test('who has left already is not let in, and work that fails gives its place back', async (t) => {
  const queue = new Queue({ maxConcurrent: 1, maxWaiting: 1, full: () => new Error('full') });
  await t.rejects(
    queue.run(AbortSignal.abort(new Error('gone')), async () => t.fail('it ran')),
    { message: 'gone' },
  );
  await t.rejects(
    queue.run(new AbortController().signal, async () => {
      throw new Error('broke');
    }),
    { message: 'broke' },
  );
  t.equal(await queue.run(new AbortController().signal, async () => 'ran'), 'ran');
});

t.test('ten thousand in line leave in no time', async (t) => {
  const queue = new Queue({ maxConcurrent: 1, maxWaiting: 10_000, full: () => new Error('full') });
  let end = (): void => {};
  const first = queue.run(
    new AbortController().signal,
    () =>
      new Promise<void>((resolve) => {
        end = resolve;
      }),
  );
  const controllers = Array.from({ length: 10_000 }, () => new AbortController());
  const line = controllers.map(({ signal }) => queue.run(signal, async () => t.fail('it ran')).catch(() => 'left'));
  await t.rejects(
    queue.run(new AbortController().signal, async () => t.fail('it ran')),
    { message: 'full' },
  );
  const startedAt = performance.now();
  for (const controller of controllers.reverse()) controller.abort();
  t.ok(performance.now() - startedAt < 1000, 'without searching the line for each');
  t.equal((await Promise.all(line)).length, 10_000);
  const next = queue.run(new AbortController().signal, async () => 'ran');
  end();
  await first;
  t.equal(await next, 'ran', 'the line is empty');
});
