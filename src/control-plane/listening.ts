import type { AdsServer } from '../xds/ads.ts';

const LOOK_MS = 50;
const ANSWER_MS = 5_000;

/**
 * Resolves when the first Envoy has everything that was published and refused no listener of it; rejects with the
 * signal's reason when it aborts first.
 */
export async function envoyListens(ads: AdsServer, signal: AbortSignal): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    const { version } = ads.state();
    if (version !== undefined) {
      const { nodes, rejections } = await ads.acked(version, ANSWER_MS, 1);
      if (nodes.length > 0 && !rejections.some(({ kind }) => kind === 'listeners')) return;
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}
