/**
 * A histogram counted by hand and handed over as OpenTelemetry's when it is read: each recording of an instrument of
 * theirs sorts and hashes its attributes again, which costs a call several microseconds.
 */
import { type Attributes, type HrTime, ValueType } from '@opentelemetry/api';
import {
  AggregationTemporality,
  type CollectionResult,
  type DataPoint,
  DataPointType,
  type Histogram,
  type MetricProducer,
} from '@opentelemetry/sdk-metrics';

/** Upper bounds. */
export const SECONDS: readonly number[] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
export const MILLISECONDS: readonly number[] = [0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000];

/** The durations of one combination of attributes, in the unit of their bounds. */
export class Durations {
  readonly attributes: Attributes;
  private readonly bounds: readonly number[];
  private readonly buckets: Float64Array;
  private sum = 0;

  constructor(attributes: Attributes, bounds: readonly number[]) {
    this.attributes = attributes;
    this.bounds = bounds;
    this.buckets = new Float64Array(bounds.length + 1);
  }

  get count(): number {
    return this.buckets.reduce((total, one) => total + one, 0);
  }

  record(duration: number): void {
    let bucket = 0;
    while (bucket < this.bounds.length && duration > (this.bounds[bucket] as number)) bucket++;
    this.buckets[bucket] = (this.buckets[bucket] as number) + 1;
    this.sum += duration;
  }

  dataPoint(startTime: HrTime, endTime: HrTime): DataPoint<Histogram> {
    const counts = [...this.buckets];
    const value = { buckets: { boundaries: [...this.bounds], counts }, sum: this.sum, count: this.count };
    return { startTime, endTime, attributes: this.attributes, value };
  }
}

/** Gives a reader what `all` holds whenever it asks. */
export function durationsProducer(
  name: string,
  description: string,
  unit: 's' | 'ms',
  all: () => Iterable<Durations>,
): MetricProducer {
  const startTime = now();
  return {
    async collect(): Promise<CollectionResult> {
      const endTime = now();
      const dataPoints = [...all()].map((one) => one.dataPoint(startTime, endTime));
      const descriptor = { name, description, unit, valueType: ValueType.DOUBLE };
      const metric = {
        descriptor,
        aggregationTemporality: AggregationTemporality.CUMULATIVE,
        dataPointType: DataPointType.HISTOGRAM,
        dataPoints,
      } as const;
      const scopeMetrics = [{ scope: { name: 'sallyport' }, metrics: dataPoints.length === 0 ? [] : [metric] }];
      return { resourceMetrics: { resource: NO_RESOURCE, scopeMetrics }, errors: [] };
    },
  };
}

const now = (): HrTime => {
  const ms = Date.now();
  return [Math.floor(ms / 1000), (ms % 1000) * 1e6];
};

/** The reader's own takes its place. */
const NO_RESOURCE = { attributes: {}, merge: () => NO_RESOURCE, getRawAttributes: () => [] } as never;
