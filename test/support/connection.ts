import type { ConnectionConfig } from '../../src/config/document.ts';

/** A connection as validation leaves one of which only the URL was written. */
export const connectionConfig = (url: string, more: Partial<ConnectionConfig> = {}): ConnectionConfig => ({
  enabled: true,
  url,
  auth: { type: 'none' },
  headers: {},
  forward: [],
  session: 'auto',
  timeoutMs: 30_000,
  refreshMs: 60_000,
  limits: {},
  ...more,
});
