/** What enrichment rules did, counted by hand for the same reason as durations are. */
import type { Attributes, Meter } from '@opentelemetry/api';
import type { MetricProducer } from '@opentelemetry/sdk-metrics';
import type { RuleOutcome } from '../enrichment/rule.ts';
import { Durations, durationsProducer, MILLISECONDS } from './durations.ts';

interface Count {
  readonly attributes: Attributes;
  value: number;
}

/** Series of one rule; names of rules and sources come from the configuration, so there are few. */
interface RuleSeries {
  readonly byOutcome: Map<RuleOutcome['outcome'], Count>;
  readonly tokensSaved: Count;
}

export class RuleCounts {
  private readonly rules = new Map<string, RuleSeries>();
  private readonly sources = new Map<string, Durations>();

  count({ rule, outcome, source, cached, ms, tokensSaved }: RuleOutcome): void {
    let series = this.rules.get(rule);
    if (series === undefined) {
      series = { byOutcome: new Map(), tokensSaved: { attributes: { rule }, value: 0 } };
      this.rules.set(rule, series);
    }
    let count = series.byOutcome.get(outcome);
    if (count === undefined) {
      count = { attributes: { rule, outcome }, value: 0 };
      series.byOutcome.set(outcome, count);
    }
    count.value++;
    if (tokensSaved !== undefined) series.tokensSaved.value += tokensSaved;
    // Only those that really asked tell how fast a source is.
    if (source === undefined || cached === true || outcome === 'skipped' || outcome === 'off') return;
    let durations = this.sources.get(source);
    if (durations === undefined) {
      durations = new Durations({ source }, MILLISECONDS);
      this.sources.set(source, durations);
    }
    durations.record(ms);
  }

  durations(): MetricProducer {
    return durationsProducer(
      'sallyport_enrichment_duration_ms',
      'Time a rule took that asked its source, answers from the cache left out',
      'ms',
      () => this.sources.values(),
    );
  }

  observe(meter: Meter): void {
    meter
      .createObservableCounter('sallyport_enrichment_total', { description: 'What became of rules that fit a call' })
      .addCallback((result) => {
        for (const { byOutcome } of this.rules.values()) {
          for (const { value, attributes } of byOutcome.values()) result.observe(value, attributes);
        }
      });
    meter
      .createObservableCounter('sallyport_enrichment_tokens_saved_total', {
        description: 'Tokens not sent because the session had been told, estimated at four bytes each',
      })
      .addCallback((result) => {
        for (const { tokensSaved } of this.rules.values()) {
          if (tokensSaved.value > 0) result.observe(tokensSaved.value, tokensSaved.attributes);
        }
      });
  }
}
