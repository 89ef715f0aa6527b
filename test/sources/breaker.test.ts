import fc from 'fast-check';
import t from 'tap';
import { Breaker, type Health, type Pass } from '../../src/sources/breaker.ts';

t.test('opens after failures in a row, lets one through afterwards, and closes when that one is well', (t) => {
  let now = 0;
  const breaker = new Breaker({ consecutiveErrors: 2, openForMs: 100, now: () => now });
  const ask = (health: Health): void => breaker.end(breaker.begin() as Pass, health);
  ask('ill');
  ask('well');
  ask('ill');
  t.equal(breaker.closedForMs, undefined, 'not in a row');
  t.ok(breaker.isFailing);
  ask('ill');
  t.equal(breaker.closedForMs, 100);
  t.equal(breaker.begin(), undefined);
  now = 100;
  const probe = breaker.begin() as Pass;
  t.ok(probe, 'the one that finds out');
  t.equal(breaker.begin(), undefined, 'no second one meanwhile');
  t.equal(breaker.closedForMs, 0);
  breaker.end(probe, 'nothing');
  const another = breaker.begin() as Pass;
  t.ok(another, 'it left without knowing: the next one finds out');
  breaker.end(another, 'ill');
  t.equal(breaker.closedForMs, 100, 'open for as long again');
  now = 250;
  ask('well');
  t.notOk(breaker.isOpen);
  t.notOk(breaker.isFailing);
  t.end();
});

t.test('what was sent before it opened says nothing afterwards', (t) => {
  let now = 0;
  const breaker = new Breaker({ consecutiveErrors: 1, openForMs: 100, now: () => now });
  const early = breaker.begin() as Pass;
  const alsoEarly = breaker.begin() as Pass;
  breaker.end(breaker.begin() as Pass, 'ill');
  now = 50;
  breaker.end(early, 'ill');
  t.equal(breaker.closedForMs, 50, 'a late failure does not prolong it');
  breaker.end(alsoEarly, 'well');
  t.equal(breaker.closedForMs, 50, 'a late success does not end it');
  t.end();
});

t.test('whatever happens: it agrees with the plain rules', (t) => {
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.constant(['begin', 0] as const) },
    { weight: 2, arbitrary: fc.tuple(fc.constantFrom('well' as const, 'ill' as const, 'nothing' as const), fc.nat(9)) },
    { weight: 1, arbitrary: fc.tuple(fc.constant('wait' as const), fc.integer({ min: 1, max: 150 })) },
  );
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), fc.array(step, { maxLength: 80 }), (consecutiveErrors, steps) => {
      let now = 0;
      const breaker = new Breaker({ consecutiveErrors, openForMs: 100, now: () => now });
      // The model: the outcomes that count since it last closed, and when it opened.
      let counted: Health[] = [];
      let openedAt: number | undefined;
      let probe: Pass | undefined;
      let out: { pass: Pass; counts: boolean }[] = [];
      for (const [what, n] of steps) {
        if (what === 'wait') now += n;
        else if (what === 'begin') {
          const may = openedAt === undefined || (now - openedAt >= 100 && probe === undefined);
          const pass = breaker.begin();
          if ((pass !== undefined) !== may) throw new Error(`let through: ${pass !== undefined}, should: ${may}`);
          if (pass === undefined) continue;
          if (openedAt !== undefined) probe = pass;
          out.push({ pass, counts: true });
        } else {
          const one = out[n % out.length];
          if (one === undefined) continue;
          out = out.filter((other) => other !== one);
          breaker.end(one.pass, what);
          if (one.counts) {
            const wasProbe = one.pass === probe;
            if (wasProbe) probe = undefined;
            if (what === 'well') {
              counted = [];
              if (wasProbe) openedAt = undefined;
            } else if (what === 'ill') {
              counted.push(what);
              if (wasProbe || counted.length >= consecutiveErrors) {
                openedAt = now;
                out = out.map(({ pass }) => ({ pass, counts: false }));
              }
            }
          }
        }
        if (breaker.isOpen !== (openedAt !== undefined)) throw new Error('open or not');
        const left = openedAt === undefined ? undefined : Math.max(0, openedAt + 100 - now);
        const closed = left === 0 && probe === undefined ? undefined : left;
        if (breaker.closedForMs !== closed) throw new Error(`closed for ${breaker.closedForMs}, not ${closed}`);
      }
    }),
    { numRuns: 5000 },
  );
  t.pass('5,000 runs agree with the model');
  t.end();
});
