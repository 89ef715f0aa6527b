import { openSource } from './kinds.ts';
import type { SourceClient, SourceDefinition, SourceTest } from './source.ts';

/** Asks a source who it is, by a client of its own: what is tested is the way there, too. Never rejects. */
export async function testSource(definition: SourceDefinition, signal: AbortSignal): Promise<SourceTest> {
  const startedAt = performance.now();
  const took = (): number => Math.round(performance.now() - startedAt);
  if (definition.fault !== undefined) return { ok: false, error: definition.fault, durationMs: took() };
  let client: SourceClient | undefined;
  try {
    client = openSource(definition);
    return { ...(await client.test(signal)), durationMs: took() };
  } catch (error) {
    return { ok: false, error: (error as Error).message, durationMs: took() };
  } finally {
    await client?.close().catch(() => {});
  }
}
