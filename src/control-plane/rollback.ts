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
    connections: configs(own?.connections ?? []),
    namespaces: byName(own?.namespaces ?? []),
    personas: byName(own?.personas ?? []),
    sources: configs(own?.sources ?? []),
    rules: configs(own?.rules ?? []),
  };
}

function configs<C>(rows: readonly { readonly name: string; readonly config: C }[]): Record<string, C> {
  return Object.fromEntries(rows.map(({ name, config }) => [name, config]));
}

function byName<T extends { readonly name: string }>(rows: readonly T[]): Record<string, Omit<T, 'name'>> {
  return Object.fromEntries(rows.map(({ name, ...config }) => [name, config]));
}
