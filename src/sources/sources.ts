/** The open sources of one process, as the engine sees them. Made by pool.ts. */
import type { Json } from '../mcp/exact-json.ts';
import type { Asked, Rendered, SourceAnswer, SourceDefinition } from './source.ts';

/** `isCached`: it needed no request of its own. */
export type KnownAnswer = SourceAnswer & { readonly isCached: boolean };

export interface Sources {
  /**
   * Asks through queue, circuit breaker and cache. Rejects with SourceError. The same question that is being asked is not
   * asked twice where the answer may be cached (`cacheMs` > 0).
   */
  ask(source: SourceDefinition, rendered: Rendered, asked: Asked & { readonly cacheMs: number }): Promise<KnownAnswer>;
  /** The sources there are now: those that are gone or changed are closed once nothing uses them, none is opened before its first use. */
  update(sources: Iterable<SourceDefinition>): void;
  health(): readonly SourceHealth[];
  close(): Promise<void>;
}

export interface SourceHealth {
  readonly tenant: string;
  readonly name: string;
  readonly state: 'unused' | 'ok' | 'failing' | 'open';
}

/** Calls a tool for a rule, as the caller. Rejects with SourceError: also where the caller may not call it. */
export type CallTool = (
  wireName: string,
  args: Readonly<Record<string, Json>>,
  /** `rule`: its name, for the audit. */
  asked: Asked & { readonly rule: string },
) => Promise<{ readonly answer: Json; readonly bytes: number }>;
