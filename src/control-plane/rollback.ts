import type { ConfigDocument } from '../config/document.ts';
import type { RevisionDocument } from '../snapshot/revision.ts';

/**
 * A revision's part of one tenant as a document to apply. Secrets are `[REDACTED]` in revisions, so the stored ones
 * are kept; a connection that is gone cannot come back with secrets it no longer has, and applying says so.
 */
export function rollbackDocument(revision: RevisionDocument, tenant: string): ConfigDocument {
  const own = revision.tenants.find(({ id }) => id === tenant);
  return {
    settings: revision.settings,
    connections: Object.fromEntries((own?.connections ?? []).map(({ name, config }) => [name, config])),
    namespaces: byName(own?.namespaces ?? []),
    personas: byName(own?.personas ?? []),
  };
}

function byName<T extends { readonly name: string }>(rows: readonly T[]): Record<string, Omit<T, 'name'>> {
  return Object.fromEntries(rows.map(({ name, ...config }) => [name, config]));
}
