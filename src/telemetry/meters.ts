/** What the data plane counts (OpenTelemetry metrics, read as Prometheus text). Labels stay few and bounded. */
import { PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import { AggregationTemporality, MeterProvider, type MetricProducer, MetricReader } from '@opentelemetry/sdk-metrics';
import type { RuleOutcome } from '../enrichment/rule.ts';
import type { Verdict } from '../exchange/problem.ts';
import { Durations, durationsProducer, SECONDS } from './durations.ts';
import { RuleCounts } from './rule-counts.ts';

export interface Meters {
  exchange(method: string, verdict: Verdict, connection: string | undefined, durationUs: number): void;
  /** What became of a rule in one call. */
  rule(outcome: RuleOutcome): void;
  /** Values read when the metrics are, not kept up to date. One with labels that is gone reads 0. */
  gauge(name: string, description: string, read: () => number | readonly Labelled[]): void;
  /** Prometheus text exposition format. */
  text(): Promise<string>;
}

/** One of several values under one name. */
export interface Labelled {
  readonly value: number;
  readonly labels: Readonly<Record<string, string>>;
}

/** Method names come from clients: only the known ones become a label. */
const METHODS = new Set([
  'initialize',
  'notifications/initialized',
  'notifications/cancelled',
  'ping',
  'server/discover',
  'tools/list',
  'tools/call',
  'prompts/list',
  'prompts/get',
  'resources/list',
  'resources/templates/list',
  'resources/read',
  'resources/subscribe',
  'resources/unsubscribe',
  'completion/complete',
  'logging/setLevel',
  'subscriptions/listen',
  'tasks/get',
  'tasks/result',
  'tasks/update',
  'tasks/cancel',
]);

export function createMeters(): Meters {
  const series = new Map<string, Durations>();
  const rules = new RuleCounts();
  const reader = new PullReader([
    durationsProducer(
      'sallyport_exchange_duration_seconds',
      'Time from request headers to the end of the response',
      's',
      () => series.values(),
    ),
    rules.durations(),
  ]);
  const provider = new MeterProvider({ readers: [reader] });
  const meter = provider.getMeter('sallyport');
  meter
    .createObservableCounter('sallyport_exchanges_total', {
      description: 'MCP requests by method, verdict and connection',
    })
    .addCallback((result) => {
      for (const { count, attributes } of series.values()) result.observe(count, attributes);
    });
  const seriesOf = (method: string, verdict: Verdict, connection: string | undefined): Durations => {
    const known = METHODS.has(method) ? method : 'other';
    const key = `${known} ${verdict} ${connection ?? ''}`;
    let one = series.get(key);
    if (one === undefined) {
      one = new Durations({ method: known, verdict, connection: connection ?? '' }, SECONDS);
      series.set(key, one);
    }
    return one;
  };
  rules.observe(meter);
  const serializer = new PrometheusSerializer('', false, undefined, true, true);
  return {
    exchange(method, verdict, connection, durationUs) {
      seriesOf(method, verdict, connection).record(durationUs / 1e6);
    },
    rule: (outcome) => rules.count(outcome),
    gauge(name, description, read) {
      const seen = new Map<string, Labelled['labels']>();
      meter.createObservableGauge(name, { description }).addCallback((result) => {
        const values = read();
        if (typeof values === 'number') {
          result.observe(values);
          return;
        }
        // What is not observed any more would keep its last value for ever.
        for (const labels of seen.values()) result.observe(0, labels);
        for (const { value, labels } of values) {
          seen.set(JSON.stringify(labels), labels);
          result.observe(value, labels);
        }
      });
    },
    async text() {
      const { resourceMetrics } = await reader.collect();
      return serializer.serialize(resourceMetrics);
    },
  };
}

/** Collects when asked; Prometheus scrapes, nothing is pushed. */
class PullReader extends MetricReader {
  constructor(metricProducers: MetricProducer[]) {
    super({
      metricProducers,
      aggregationTemporalitySelector: () => AggregationTemporality.CUMULATIVE,
    });
  }
  protected override async onShutdown(): Promise<void> {}
  protected override async onForceFlush(): Promise<void> {}
}
