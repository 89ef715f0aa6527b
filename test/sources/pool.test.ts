import t from 'tap';
import { createSources } from '../../src/sources/pool.ts';
import {
  type Asked,
  type SourceAnswer,
  type SourceClient,
  type SourceDefinition,
  SourceError,
} from '../../src/sources/source.ts';
import { createLogger } from '../../src/telemetry/log.ts';

const log = createLogger('test', 'silent');

function definition(
  changes: { digest?: string; name?: string; fault?: string; config?: object } = {},
): SourceDefinition {
  return {
    id: changes.name ?? 'warehouse',
    tenant: 'default',
    name: changes.name ?? 'warehouse',
    digest: changes.digest ?? 'one',
    config: {
      type: 'http',
      url: 'http://127.0.0.1:1/',
      headers: {},
      enabled: true,
      maxConcurrent: 2,
      circuitBreaker: { consecutiveErrors: 2, openForMs: 1000 },
      ...changes.config,
    },
    fault: changes.fault,
  };
}

/** A source whose answers the test gives, one by one. */
class Stage {
  readonly opened: string[] = [];
  readonly closed: string[] = [];
  readonly questions: {
    shown: string;
    asked: Asked;
    answer(rows: SourceAnswer['rows']): void;
    fail(e: unknown): void;
  }[] = [];
  now = 0;
  readonly sources;
  constructor(options: { maxWaiting?: number; cacheBytes?: number } = {}) {
    this.sources = createSources({ open: (one) => this.open(one), log, now: () => this.now, ...options });
  }
  private open({ digest }: SourceDefinition): SourceClient {
    this.opened.push(digest);
    return {
      ask: ({ shown }, asked) =>
        new Promise((resolve, reject) => {
          this.questions.push({ shown, asked, answer: (rows) => resolve({ rows, isTruncated: false }), fail: reject });
          asked.signal.addEventListener('abort', () => reject(asked.signal.reason), { once: true });
        }),
      test: async () => ({ ok: true, server: 'Stage 1' }),
      close: async () => void this.closed.push(digest),
    };
  }
  ask(shown: string, changes: Partial<Asked> & { cacheMs?: number; source?: SourceDefinition } = {}) {
    const { source = SOURCE, ...asked } = changes;
    return this.sources.ask(
      source,
      { shown, key: shown },
      { signal: new AbortController().signal, timeoutMs: 1000, maxRows: 10, maxBytes: 1000, cacheMs: 0, ...asked },
    );
  }
  /** Waits until the source has been asked so often. */
  async question(n: number): Promise<(typeof this.questions)[number]> {
    for (let tries = 0; this.questions.length <= n; tries++) {
      if (tries > 1000) throw new Error(`no question ${n}`);
      await new Promise((resolve) => setImmediate(resolve));
    }
    return this.questions[n] as (typeof this.questions)[number];
  }
}

const SOURCE = definition();
const failed = (kind: SourceError['kind']) => ({ name: 'SourceError', kind });
const down = (): SourceError => new SourceError('unavailable', 'connection refused');
const late = (): SourceError => new SourceError('timeout', 'no answer within 1 s');
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

t.test('opens a source at its first question, and keeps so many waiting', async (t) => {
  const stage = new Stage({ maxWaiting: 1 });
  stage.sources.update([SOURCE]);
  t.same(stage.opened, []);
  t.match(stage.sources.health(), [{ name: 'warehouse', state: 'unused' }]);
  const answers = [stage.ask('a'), stage.ask('b'), stage.ask('c')];
  await t.rejects(stage.ask('d'), { kind: 'busy', message: /warehouse is busy: 2 requests are under way and 1 wait/ });
  await settled();
  t.same(
    stage.questions.map(({ shown }) => shown),
    ['a', 'b'],
  );
  stage.now = 300;
  (await stage.question(0)).answer([1]);
  t.equal((await stage.question(2)).asked.timeoutMs, 700, 'what it waited is off its time');
  (await stage.question(1)).answer([2]);
  (await stage.question(2)).answer([3]);
  t.same(
    (await Promise.all(answers)).map(({ rows, isCached }) => [rows[0], isCached]),
    [
      [1, false],
      [2, false],
      [3, false],
    ],
  );
  t.same(stage.opened, ['one']);
  t.match(stage.sources.health(), [{ state: 'ok' }]);
});

t.test('a source that fails in a row is left alone, then asked by one', async (t) => {
  const stage = new Stage();
  for (const n of [0, 1]) {
    const asked = stage.ask('a');
    (await stage.question(n)).fail(down());
    await t.rejects(asked, { kind: 'unavailable', message: 'connection refused' });
  }
  await t.rejects(stage.ask('a'), {
    kind: 'not asked',
    message: /is not asked after failing repeatedly: until 20..-.*Z\. The last failure: connection refused/,
  });
  t.equal(stage.questions.length, 2);
  t.match(stage.sources.health(), [{ state: 'open' }]);
  stage.now = 1000;
  const probe = stage.ask('a');
  await stage.question(2);
  await t.rejects(stage.ask('b'), { kind: 'not asked', message: /one request is finding out/ });
  (await stage.question(2)).answer([1]);
  t.same((await probe).rows, [1]);
  t.match(stage.sources.health(), [{ state: 'ok' }]);
});

t.test('what was said to one caller about its values is not told to the next', async (t) => {
  const stage = new Stage();
  const answers = ['a', 'b', 'c'].map((shown) => stage.ask(shown).catch((error) => error));
  (await stage.question(0)).fail(down());
  (await stage.question(1)).fail(down());
  (await stage.question(2)).fail(new SourceError('bad value', "'ada@example.com' is no number"));
  await Promise.all(answers);
  const error = await stage.ask('d').catch((failure) => failure);
  t.match(error, { kind: 'not asked', message: /The last failure: connection refused$/ });
});

t.test('who waits when it opens is told at once', async (t) => {
  const stage = new Stage();
  const answers = ['a', 'b', 'c', 'd'].map((shown) => stage.ask(shown).catch((error) => error));
  (await stage.question(0)).fail(down());
  (await stage.question(1)).fail(down());
  // The first failure let `c` through before the second opened it.
  (await stage.question(2)).answer([1]);
  const errors = await Promise.all(answers);
  t.match(errors[3], { kind: 'not asked', message: /not asked after failing repeatedly/ });
  t.equal(stage.questions.length, 3);
});

t.test('refusals, too much and leaving are no sign of ill health; time that is up is', async (t) => {
  const stage = new Stage();
  let n = 0;
  for (const kind of ['refused', 'too large', 'bad value', 'busy'] as const) {
    const asked = stage.ask('a');
    (await stage.question(n++)).fail(new SourceError(kind, 'no'));
    await t.rejects(asked, failed(kind));
  }
  for (const reason of [new Error('the client left'), late(), late()]) {
    const controller = new AbortController();
    const asked = stage.ask('a', { signal: controller.signal });
    await stage.question(n++);
    t.equal(stage.sources.health()[0]?.state, reason.message.startsWith('no') && n === 7 ? 'failing' : 'ok');
    controller.abort(reason);
    await t.rejects(asked, { message: reason.message });
  }
  t.equal(stage.sources.health()[0]?.state, 'open');
});

t.test('a client that throws something else, or does not open, is a fault that tells no details', async (t) => {
  const stage = new Stage();
  const asked = stage.ask('a');
  (await stage.question(0)).fail(new TypeError('secret s3cret'));
  await t.rejects(asked, { kind: 'bad answer', message: 'the source warehouse failed in an unforeseen way' });
  const sources = createSources({
    open() {
      throw new Error('bad certificate');
    },
    log,
  });
  const options = { signal: new AbortController().signal, timeoutMs: 1, maxRows: 1, maxBytes: 1, cacheMs: 0 };
  await t.rejects(sources.ask(SOURCE, { shown: '', key: '' }, options), failed('bad answer'));
});

t.test('a client that does not stop holds its place, not its asker', async (t) => {
  let asked = 0;
  const sources = createSources({
    open: () => ({
      ask: () => {
        asked++;
        return new Promise<never>(() => {});
      },
      test: async () => ({ ok: true }),
      close: async () => {},
    }),
    log,
  });
  const one = definition({ config: { maxConcurrent: 1 } });
  const controller = new AbortController();
  const ask = (signal: AbortSignal) =>
    sources.ask(one, { shown: '', key: '' }, { signal, timeoutMs: 1, maxRows: 1, maxBytes: 1, cacheMs: 0 });
  const first = ask(controller.signal);
  await settled();
  controller.abort(late());
  await t.rejects(first, failed('timeout'));
  t.equal(sources.health()[0]?.state, 'failing');
  const second = new AbortController();
  const waits = ask(second.signal);
  await settled();
  t.equal(asked, 1);
  second.abort(late());
  await t.rejects(waits, failed('timeout'));
});

t.test('an answer is kept for the shorter of what was asked, and frozen', async (t) => {
  const stage = new Stage();
  const first = stage.ask('a', { cacheMs: 100 });
  (await stage.question(0)).answer([{ tier: 'gold', tags: ['x'] }]);
  t.equal((await first).isCached, false);
  stage.now = 60;
  const again = await stage.ask('a', { cacheMs: 1000 });
  t.equal(again.isCached, true);
  t.equal(again, await stage.ask('a', { cacheMs: 1000 }), 'a hit makes nothing anew');
  t.throws(() => Object.assign(again.rows[0] as object, { tier: 'x' }), TypeError);
  t.throws(() => ((again.rows[0] as { tags: string[] }).tags[0] = 'y'), TypeError);
  const impatient = stage.ask('a', { cacheMs: 50 });
  (await stage.question(1)).answer([2]);
  t.same((await impatient).rows, [2], 'too old for one who allows less');
  stage.now = 111;
  const patient = stage.ask('a', { cacheMs: 1000 });
  (await stage.question(2)).answer([3]);
  t.same((await patient).rows, [3], 'and kept for no longer than the one who asked allows');
  const other = stage.ask('a', { cacheMs: 1000, maxRows: 1 });
  (await stage.question(3)).answer([4]);
  t.same((await other).rows, [4], 'other limits, another answer');
  const elsewhere = stage.ask('a', { cacheMs: 1000, source: definition({ digest: 'two' }) });
  (await stage.question(4)).answer([5]);
  t.same((await elsewhere).rows, [5], 'another configuration, another answer');
  const never = stage.ask('a', { cacheMs: 0 });
  (await stage.question(5)).answer([6]);
  t.same((await never).rows, [6]);
  t.equal(stage.questions.length, 6);
});

t.test('failures are shared, not kept', async (t) => {
  const stage = new Stage();
  const both = [stage.ask('a', { cacheMs: 100 }), stage.ask('a', { cacheMs: 100 })];
  (await stage.question(0)).fail(down());
  for (const one of both) await t.rejects(one, failed('unavailable'));
  const third = stage.ask('a', { cacheMs: 100 });
  (await stage.question(1)).answer([1]);
  t.same((await third).rows, [1]);
});

t.test('the same question at once is asked once; who leaves leaves the others their answer', async (t) => {
  const stage = new Stage();
  const controllers = [0, 1, 2].map(() => new AbortController());
  const answers = controllers.map(({ signal }) => stage.ask('a', { cacheMs: 100, signal }).catch((error) => error));
  await stage.question(0);
  controllers[0]?.abort(new Error('the first left'));
  controllers[1]?.abort(late());
  t.equal((await answers[0]).message, 'the first left');
  t.equal((await answers[1]).kind, 'timeout');
  t.equal(stage.questions[0]?.asked.signal.aborted, false);
  const joins = stage.ask('a', { cacheMs: 100 });
  stage.questions[0]?.answer([1]);
  t.match(await answers[2], { rows: [1], isCached: true });
  t.match(await joins, { rows: [1], isCached: true });
  t.equal(stage.questions.length, 1);
});

t.test('a question nobody waits for is given up, and whose time was up counts', async (t) => {
  const stage = new Stage();
  const controllers = [new AbortController(), new AbortController()] as const;
  const answers = controllers.map(({ signal }) => stage.ask('a', { cacheMs: 100, signal }).catch((error) => error));
  const question = await stage.question(0);
  controllers[0].abort(late());
  controllers[1].abort(new Error('left'));
  await Promise.all(answers);
  t.match(question.asked.signal.reason, failed('timeout'));
  await settled();
  t.equal(stage.sources.health()[0]?.state, 'failing');
  const anew = stage.ask('a', { cacheMs: 100 });
  (await stage.question(1)).answer([1]);
  t.same((await anew).rows, [1], 'nobody joins what was given up');
});

t.test('one who has more time asks anew when the first one had less', async (t) => {
  const stage = new Stage();
  const first = stage.ask('a', { cacheMs: 100, timeoutMs: 10 });
  const others = [1, 2].map(() => stage.ask('a', { cacheMs: 100, timeoutMs: 1000 }));
  (await stage.question(0)).fail(late());
  await t.rejects(first, failed('timeout'));
  (await stage.question(1)).answer([1]);
  t.same(
    (await Promise.all(others)).map(({ rows }) => rows),
    [[1], [1]],
  );
  t.equal(stage.questions[1]?.asked.timeoutMs, 1000);
  t.equal(stage.questions.length, 2);
});

t.test('the cache has a bound', async (t) => {
  const stage = new Stage({ cacheBytes: 10_000 });
  for (let n = 0; n < 20; n++) {
    const asked = stage.ask(`q${n}`, { cacheMs: 1e6 });
    (await stage.question(n)).answer(['x'.repeat(500)]);
    await asked;
  }
  t.equal((await stage.ask('q19', { cacheMs: 1e6 })).isCached, true);
  const gone = stage.ask('q0', { cacheMs: 1e6 });
  (await stage.question(20)).answer([1]);
  t.equal((await gone).isCached, false);
  let deep: SourceAnswer['rows'] = [];
  for (let n = 0; n < 100_000; n++) deep = [deep];
  const asked = stage.ask('deep', { cacheMs: 1 });
  (await stage.question(21)).answer(deep);
  t.ok(await asked, 'an answer nested without end is only an answer');
});

t.test('what is gone or changed is closed once nothing uses it', async (t) => {
  const stage = new Stage();
  const old = definition({ digest: 'old' });
  const changed = definition({ digest: 'new' });
  const lasting = stage.ask('a', { source: old });
  await stage.question(0);
  stage.sources.update([changed]);
  t.same(stage.closed, []);
  const alsoOld = stage.ask('b', { source: old });
  await stage.question(1);
  t.same(stage.opened, ['old'], 'a call that began before still uses it');
  stage.questions[0]?.answer([1]);
  stage.questions[1]?.answer([2]);
  await Promise.all([lasting, alsoOld]);
  await settled();
  t.same(stage.closed, ['old']);
  t.match(stage.sources.health(), [{ state: 'unused' }]);
  const veryLate = stage.ask('c', { source: old });
  (await stage.question(2)).answer([3]);
  t.same((await veryLate).rows, [3]);
  await settled();
  t.same(stage.closed, ['old', 'old'], 'opened for one call, closed after it');
  stage.sources.update([]);
  t.same(stage.sources.health(), []);
  await stage.sources.close();
  await t.rejects(stage.ask('d', { source: changed }), failed('not asked'));
});

t.test('what cannot be used says why', async (t) => {
  const stage = new Stage();
  const broken = definition({ name: 'broken', fault: 'its secrets were replaced' });
  const off = definition({ name: 'off', config: { enabled: false } });
  stage.sources.update([broken, off]);
  await t.rejects(stage.ask('a', { source: broken }), {
    kind: 'not asked',
    message: /broken cannot be used: its secrets were replaced/,
  });
  await t.rejects(stage.ask('a', { source: off }), {
    kind: 'not asked',
    message: /off cannot be used: it is switched off/,
  });
});

t.test('a hit costs next to nothing', async (t) => {
  const stage = new Stage();
  const query = `select tier, owner from crm.accounts where id = 4711 ${'and more '.repeat(20)}`;
  const first = stage.ask(query, { cacheMs: 1e6 });
  (await stage.question(0)).answer([{ tier: 'gold' }]);
  await first;
  const asked = { signal: new AbortController().signal, timeoutMs: 1, maxRows: 10, maxBytes: 1000, cacheMs: 1e6 };
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 20; round++) {
    const startedAt = performance.now();
    for (let n = 0; n < 5000; n++) {
      void stage.sources.ask(SOURCE, { shown: query, key: query }, asked);
    }
    best = Math.min(best, (performance.now() - startedAt) / 5000);
  }
  t.comment(`${(best * 1000).toFixed(2)} µs a hit`);
  t.ok(best < 0.003, 'under 3 µs');
});
