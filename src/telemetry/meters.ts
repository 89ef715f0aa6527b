/** What the data plane counts (OpenTelemetry metrics, read as Prometheus text). Labels stay few and bounded. */
import type { Attributes, Histogram } from '@opentelemetry/api';
import { PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import { AggregationTemporality, MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics';
import type { Verdict } from '../exchange/problem.ts';

export interface Meters {
  exchange(method: string, verdict: Verdict, connection: string | undefined, durationUs: number): void;
  /** Values read when the metrics are, not kept up to date. */
  gauge(name: string, description: string, read: () => number): void;
  /** Prometheus text exposition format. */
  text(): Promise<string>;
}

/** Method names come from clients: only the known ones become a label. */
const METHODS = new Set(['initialize', 'notifications/initialized', 'ping', 'tools/list', 'tools/call']);
const BUCKETS_S = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

export function createMeters(): Meters {
  const reader = new PullReader();
  const provider = new MeterProvider({ readers: [reader] });
  const meter = provider.getMeter('sallyport');
  const series = new Map<string, Series>();
  // Counted by hand: each recording of an instrument sorts and hashes its attributes again.
  meter
    .createObservableCounter('sallyport_exchanges_total', {
      description: 'MCP requests by method, verdict and connection',
    })
    .addCallback((result) => {
      for (const { count, attributes } of series.values()) result.observe(count, attributes);
    });
  const duration: Histogram = meter.createHistogram('sallyport_exchange_duration_seconds', {
    description: 'Time from request headers to the end of the response',
    unit: 's',
    advice: { explicitBucketBoundaries: BUCKETS_S },
  });
  const seriesOf = (method: string, verdict: Verdict, connection: string | undefined): Series => {
    const known = METHODS.has(method) ? method : 'other';
    const key = `${known} ${verdict} ${connection ?? ''}`;
    let one = series.get(key);
    if (one === undefined) {
      one = { count: 0, attributes: { method: known, verdict, connection: connection ?? '' } };
      series.set(key, one);
    }
    return one;
  };
  const serializer = new PrometheusSerializer('', false, undefined, true, true);
  return {
    exchange(method, verdict, connection, durationUs) {
      const one = seriesOf(method, verdict, connection);
      one.count++;
      duration.record(durationUs / 1e6, one.attributes);
    },
    gauge(name, description, read) {
      meter.createObservableGauge(name, { description }).addCallback((result) => result.observe(read()));
    },
    async text() {
      const { resourceMetrics } = await reader.collect();
      return serializer.serialize(resourceMetrics);
    },
  };
}

interface Series {
  count: number;
  readonly attributes: Attributes;
}

/** Collects when asked; Prometheus scrapes, nothing is pushed. */
class PullReader extends MetricReader {
  constructor() {
    super({
      aggregationTemporalitySelector: () => AggregationTemporality.CUMULATIVE,
    });
  }
  protected override async onShutdown(): Promise<void> {}
  protected override async onForceFlush(): Promise<void> {}
}
