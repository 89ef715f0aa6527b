import type { AdsServer, Rejection } from '../xds/ads.ts';
import { LISTENER_SECRETS } from '../xds/compile.ts';

const LOOK_MS = 50;
const ANSWER_MS = 5_000;

/**
 * Resolves when the first Envoy has everything that was published and refused no listener of it, nor what a listener
 * needs; rejects with the signal's reason when it aborts first. `onRefused` hears what keeps it from listening, in
 * Envoy's words, whenever that changes.
 */
export async function envoyListens(
  ads: AdsServer,
  signal: AbortSignal,
  onRefused: (reason: string) => void,
): Promise<void> {
  let told = '';
  for (;;) {
    signal.throwIfAborted();
    const { version } = ads.state();
    if (version !== undefined) {
      const { nodes, rejections } = await ads.acked(version, ANSWER_MS, 1);
      const inTheWay = rejections.filter(isOfListener);
      if (nodes.length > 0 && inTheWay.length === 0) return;
      const reason = inTheWay.map(({ resource, error }) => `${resource}: ${error.trim()}`).join('; ');
      if (reason !== '' && reason !== told) onRefused(reason);
      told = reason;
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

const isOfListener = ({ kind, resource }: Rejection): boolean =>
  kind === 'listeners' || (kind === 'secrets' && LISTENER_SECRETS.has(resource));
