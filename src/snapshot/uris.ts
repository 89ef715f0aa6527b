import type { Connection, UriSpace } from './snapshot.ts';
import type { Prefixing } from './wire-names.ts';

/** The URI space of a namespace. */
export function uriSpace(connections: readonly Connection[], _prefixing: Prefixing): UriSpace {
  const only = connections.length === 1 ? connections[0] : undefined;
  return {
    isIdentity: true,
    toWire: (_connection, uri) => uri,
    fromWire: (uri) => (only === undefined ? undefined : { connection: only, uri }),
  };
}
