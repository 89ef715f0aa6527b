import t from 'tap';
import { onBody, onDelete, onHeaders } from '../../src/data-plane/pipeline.ts';
import type { Exchange } from '../../src/exchange/exchange.ts';

t.test('every step finds what it needs when its turn comes', async (t) => {
  const given = new Set<keyof Exchange>(['head', 'snapshot']);
  for (const step of [...onHeaders]) {
    for (const need of step.needs) t.ok(given.has(need), `${step.name} needs ${need}`);
    for (const gift of step.gives) given.add(gift);
  }
  const deleting = new Set(given);
  for (const step of onDelete) {
    for (const need of step.needs) t.ok(deleting.has(need), `${step.name} needs ${need}`);
    for (const gift of step.gives) deleting.add(gift);
  }
  given.add('body');
  for (const step of onBody) {
    for (const need of step.needs) t.ok(given.has(need), `${step.name} needs ${need}`);
    for (const gift of step.gives) given.add(gift);
  }
});

t.test('what security rests on stands where it must', async (t) => {
  const names = [...onHeaders, ...onBody].map((step) => step.name);
  const order = (first: string, second: string) =>
    t.ok(names.indexOf(first) < names.lastIndexOf(second) && names.includes(first), `${first} before ${second}`);
  order('identify', 'parse envelope');
  order('parse envelope', 'resolve target');
  order('meet client', 'take message');
  order('meet client', 'authorise');
  order('authorise', 'keep wish');
  order('authorise', 'route');
  t.equal(names.at(-1), 'route', 'credentials are touched last');
});
