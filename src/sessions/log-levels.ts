/**
 * The log level of each legacy session, for modern upstreams, which are told it with every call. Looked up once and
 * remembered; a change is told to every process (NOTIFY `sallyport_level`).
 */
import { LRUCache } from 'lru-cache';
import type { SessionStore } from './stored-session.ts';

/** For sessions that never said: the specification leaves it to the server (MCP 2025-11-25, logging). */
const DEFAULT_LEVEL = 'info';
const CACHE_SIZE = 20_000;

export interface LogLevels {
  /** Synchronous once it is known. */
  of(sessionId: string): string | Promise<string>;
  /** What a NOTIFY said. */
  changed(sessionId: string, level: string): void;
}

export function createLogLevels(store: Pick<SessionStore, 'logLevel'>): LogLevels {
  const known = new LRUCache<string, string>({ max: CACHE_SIZE });
  return {
    of(sessionId) {
      const level = known.get(sessionId);
      if (level !== undefined) return level;
      return store.logLevel(sessionId).then(
        (stored = DEFAULT_LEVEL) => {
          known.set(sessionId, stored);
          return stored;
        },
        // A log level is no reason to fail a call.
        () => DEFAULT_LEVEL,
      );
    },
    changed: (sessionId, level) => void known.set(sessionId, level),
  };
}
