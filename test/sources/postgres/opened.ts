import type { Test } from 'tap';
import type { PostgresSource } from '../../../src/config/document.ts';
import { openPostgres } from '../../../src/sources/postgres/client.ts';
import { compilePostgres, type PostgresRequest } from '../../../src/sources/postgres/template.ts';
import type { Asked, Bound, SourceAnswer, SourceClient } from '../../../src/sources/source.ts';

/** A source as a snapshot would have it. */
export function source(url: string, over: Partial<PostgresSource> = {}): PostgresSource {
  const circuitBreaker = { consecutiveErrors: 5, openForMs: 1_000 };
  return { type: 'postgres', enabled: true, maxConcurrent: 4, circuitBreaker, url, ...over };
}

export function open(t: Test, url: string, over: Partial<PostgresSource> = {}): SourceClient {
  const client = openPostgres(source(url, over));
  t.teardown(() => client.close());
  return client;
}

export function render(query: string, values: Readonly<Record<string, Bound>> = {}): PostgresRequest {
  const compiled = compilePostgres(query);
  if ('faults' in compiled) throw new Error(compiled.faults.map(({ message }) => message).join('; '));
  return compiled.template.render(new Map(Object.entries(values))) as PostgresRequest;
}

/** A request that no template would make: what is refused when a rule is saved. */
export const unchecked = (text: string): PostgresRequest => ({
  shown: text,
  key: text,
  text,
  values: [],
  name: undefined,
});

export const asked = (over: Partial<Asked> = {}): Asked => ({
  signal: AbortSignal.timeout(20_000),
  timeoutMs: 20_000,
  maxRows: 20,
  maxBytes: 65_536,
  ...over,
});

export const ask = (
  client: SourceClient,
  query: string,
  values: Readonly<Record<string, Bound>> = {},
  over: Partial<Asked> = {},
): Promise<SourceAnswer> => client.ask(render(query, values), asked(over));
