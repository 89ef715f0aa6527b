import type { Era } from '../mcp/revision.ts';
import type { Connection } from './snapshot.ts';

/** In which era an upstream is called for a client: in the client's own if it speaks it, else in the only one it has. */
export function eraTowards({ catalog }: Connection, client: Era): Era {
  if (catalog.era === client) return client;
  return client === 'legacy' && catalog.legacyVersion !== undefined ? 'legacy' : catalog.era;
}
