/** What the data plane counts (OpenTelemetry metrics, read as Prometheus text). Labels stay few and bounded. */
import type { Attributes, Counter, Histogram } from '@opentelemetry/api';
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
  const calls: Counter = meter.createCounter('sallyport_exchanges_total', {
    description: 'MCP requests by method, verdict and connection',
  });
  const duration: Histogram = meter.createHistogram('sallyport_exchange_duration_seconds', {
    description: 'Time from request headers to the end of the response',
    unit: 's',
    advice: { explicitBucketBoundaries: BUCKETS_S },
  });
  const attributes = new Map<string, Attributes>();
  const labels = (method: string, verdict: Verdict, connection: string | undefined): Attributes => {
    const known = METHODS.has(method) ? method : 'other';
    const key = `${known} ${verdict} ${connection ?? ''}`;
    let made = attributes.get(key);
    if (made === undefined) {
      made = { method: known, verdict, connection: connection ?? '' };
      attributes.set(key, made);
    }
    return made;
  };
  const serializer = new PrometheusSerializer('', false);
  return {
    exchange(method, verdict, connection, durationUs) {
      const attrs = labels(method, verdict, connection);
      calls.add(1, attrs);
      duration.record(durationUs / 1e6, attrs);
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
