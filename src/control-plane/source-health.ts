/** How the sources of rules are doing in the processors and relays of this deployment. */
import { scrapeWorkers } from './metrics.ts';

/** From best to worst, as `sallyport_source_state` counts them (sources/pool.ts). */
export const SOURCE_STATES = ['unused', 'ok', 'failing', 'open'] as const;
export type SourceState = (typeof SOURCE_STATES)[number];

const SAMPLE = /^sallyport_source_state\{[^}]*?source="((?:[^"\\]|\\.)*)"[^}]*\} (\d)/gm;

/** The worst that any process says of each source, by name; one that no process has used yet is not there. */
export async function sourceStates(runtimeDir: string, tenant: string): Promise<ReadonlyMap<string, SourceState>> {
  const texts = await scrapeWorkers(runtimeDir);
  return worstStates([...texts.values()], tenant);
}

/** `texts`: Prometheus expositions of processes. Sources of other tenants are called `tenant/name` there. */
export function worstStates(texts: readonly string[], tenant: string): ReadonlyMap<string, SourceState> {
  const worst = new Map<string, number>();
  const prefix = tenant === 'default' ? '' : `${tenant}/`;
  for (const text of texts) {
    for (const [, label = '', value] of text.matchAll(SAMPLE)) {
      if (!label.startsWith(prefix)) continue;
      const name = label.slice(prefix.length);
      if (name.includes('/')) continue;
      worst.set(name, Math.max(worst.get(name) ?? 0, Number(value)));
    }
  }
  return new Map([...worst].map(([name, value]) => [name, SOURCE_STATES[value] ?? 'unused']));
}
