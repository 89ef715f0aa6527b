import type { AdsServer } from '../xds/ads.ts';

const LOOK_MS = 50;
const ANSWER_MS = 5_000;

/** Calls `tell` once, when the first Envoy has everything that was published and refused no listener of it. */
export function announceListening(ads: AdsServer, tell: () => void): { close(): void } {
  let closed = false;
  const wait = async () => {
    while (!closed) {
      const { nodes, rejections } = await ads.acked(ads.state().version ?? '', ANSWER_MS, 1);
      if (nodes.length > 0 && !rejections.some(({ kind }) => kind === 'listeners')) break;
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS).unref());
    }
    if (!closed) tell();
  };
  void wait();
  return {
    close() {
      closed = true;
    },
  };
}
