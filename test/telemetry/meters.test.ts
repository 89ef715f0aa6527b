import t from 'tap';
import type { RuleOutcome } from '../../src/enrichment/rule.ts';
import { createMeters } from '../../src/telemetry/meters.ts';

const outcome = (changes: Partial<RuleOutcome>): RuleOutcome => ({
  rule: 'owner',
  version: 1,
  outcome: 'merged',
  ms: 1,
  ...changes,
});

/** Lines of one metric, without its comments. */
const lines = (text: string, name: string): string[] =>
  text.split('\n').filter((line) => line.startsWith(name) && !line.startsWith('#'));

t.test('rules are counted by outcome, their sources timed, and what was saved is added up', async (t) => {
  const meters = createMeters();
  meters.rule(outcome({ source: 'warehouse', ms: 3 }));
  meters.rule(outcome({ source: 'warehouse', ms: 0.01, cached: true }));
  meters.rule(outcome({ outcome: 'failed', source: 'warehouse', ms: 800 }));
  meters.rule(outcome({ outcome: 'skipped', source: 'warehouse', ms: 0.1 }));
  meters.rule(outcome({ outcome: 'repeated', source: 'warehouse', cached: true, tokensSaved: 120 }));
  meters.rule(outcome({ outcome: 'repeated', source: 'warehouse', cached: true, tokensSaved: 30 }));
  meters.rule(outcome({ rule: 'account', source: 'tool crm__get', ms: 20 }));
  const text = await meters.text();
  t.same(lines(text, 'sallyport_enrichment_total').sort(), [
    'sallyport_enrichment_total{rule="account",outcome="merged"} 1',
    'sallyport_enrichment_total{rule="owner",outcome="failed"} 1',
    'sallyport_enrichment_total{rule="owner",outcome="merged"} 2',
    'sallyport_enrichment_total{rule="owner",outcome="repeated"} 2',
    'sallyport_enrichment_total{rule="owner",outcome="skipped"} 1',
  ]);
  t.same(lines(text, 'sallyport_enrichment_tokens_saved_total'), [
    'sallyport_enrichment_tokens_saved_total{rule="owner"} 150',
  ]);
  t.same(lines(text, 'sallyport_enrichment_duration_ms_count'), [
    'sallyport_enrichment_duration_ms_count{source="warehouse"} 2',
    'sallyport_enrichment_duration_ms_count{source="tool crm__get"} 1',
  ]);
  t.match(text, 'sallyport_enrichment_duration_ms_sum{source="warehouse"} 803');
  t.match(text, 'sallyport_enrichment_duration_ms_bucket{source="warehouse",le="5"} 1');
  t.notMatch(text, 'sallyport_exchange_duration_seconds_count');
});

t.test('gauges have one value or several with labels, read when the metrics are', async (t) => {
  const meters = createMeters();
  let queued = 1;
  meters.gauge('one', 'One value', () => queued);
  let many = [
    { value: 1, labels: { source: 'a' } },
    { value: 3, labels: { source: 'b' } },
  ];
  meters.gauge('many', 'Several', () => many);
  queued = 7;
  const text = await meters.text();
  t.same(lines(text, 'one'), ['one 7']);
  t.same(lines(text, 'many'), ['many{source="a"} 1', 'many{source="b"} 3']);
  many = [{ value: 2, labels: { source: 'b' } }];
  t.same(lines(await meters.text(), 'many'), ['many{source="a"} 0', 'many{source="b"} 2'], 'nothing is remembered');
});

t.test('counting a rule costs next to nothing', (t) => {
  const meters = createMeters();
  const one = outcome({ source: 'warehouse', ms: 3, tokensSaved: 1 });
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 20; round++) {
    const startedAt = performance.now();
    for (let n = 0; n < 10_000; n++) meters.rule(one);
    best = Math.min(best, (performance.now() - startedAt) / 10_000);
  }
  t.comment(`${(best * 1000).toFixed(3)} µs a rule`);
  t.ok(best < 0.002, 'under 2 µs');
  t.end();
});
